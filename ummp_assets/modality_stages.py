"""The clean and feature stages one after another, for whoever repeats them: rebuilds and promotions."""

from ummp_assets.clean.audio_stage import clean_audio
from ummp_assets.clean.image_stage import clean_images
from ummp_assets.clean.text.stage import clean_text
from ummp_assets.datasets.promote import RunStages
from ummp_assets.features.audio_stage import audio_features
from ummp_assets.features.image_stage import image_features
from ummp_assets.features.text.stage import text_features
from ummp_assets.settings import Settings
from ummp_assets.storage.index import Index
from ummp_assets.storage.objects import ObjectStore

__all__ = ["modality_stages"]


def modality_stages(settings: Settings) -> RunStages:
    """Return a function that runs all six stages of a batch whose `downloads` are committed."""

    def run(store: ObjectStore, index: Index, batch: str) -> None:
        for clean in (clean_text, clean_images, clean_audio):
            clean(store, index, settings, batch)
        for features in (text_features, image_features, audio_features):
            features(store, settings, batch)

    return run
