"""What thresholds would have kept of the samples that the rules judge."""

from ummp_assets.clean.distribution import Distribution, distributions
from ummp_assets.clean.image_stage import clean_images
from ummp_assets.clean.text.stage import clean_text
from ummp_assets.records import Modality
from ummp_assets.settings import CleanSettings, Settings
from ummp_assets.storage.index import Index
from ummp_assets.storage.objects import ObjectStore
from ummp_assets_tests.clean.downloads import BATCH, put_downloads, raw_row
from ummp_assets_tests.clean.samples import photograph

# Nothing else is said in it: the whole document is one sequence again and again.
REPETITIVE = "the same five words again. " * 20


def found(store: ObjectStore, modality: Modality, **changes: object) -> dict[str, Distribution]:
    settings = CleanSettings.model_validate({modality.value: changes})
    return {item.reason: item for item in distributions(store, [BATCH], settings, [modality])}


def test_samples_that_a_rule_does_not_judge_are_not_counted(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    texts = [REPETITIVE, REPETITIVE[:60] + "!", "a text of its own, short and whole."]
    put_downloads(store, [raw_row(number, text.encode()) for number, text in enumerate(texts)])
    clean_text(store, index, settings, BATCH)

    judged = found(store, Modality.TEXT)["gopher_top_2_gram"]
    assert judged.gate == "clean.text.gopher_repetition.min_words"
    assert (judged.samples, judged.kept) == (1, 0)

    all_judged = found(store, Modality.TEXT, gopher_repetition={"min_words": 0})["gopher_top_2_gram"]
    assert (all_judged.samples, all_judged.kept) == (3, 1)


def test_sentences_beyond_those_counted_are_undecided(store: ObjectStore, index: Index, settings: Settings) -> None:
    texts = ["\n".join(f"This is line number {n} of the {count} lines." for n in range(count)) for count in (8, 12)]
    put_downloads(store, [raw_row(number, text.encode()) for number, text in enumerate(texts)])
    clean_text(store, index, settings, BATCH)

    within = found(store, Modality.TEXT, c4={"min_sentences": 9})["c4_too_few_sentences"]
    assert (within.kept, within.undecided) == (1, 0)
    beyond = found(store, Modality.TEXT, c4={"min_sentences": 20})["c4_too_few_sentences"]
    assert (beyond.kept, beyond.undecided) == (0, 1)


def test_a_value_at_its_threshold_is_kept(store: ObjectStore, index: Index, settings: Settings) -> None:
    # 600 x 400 pixels.
    put_downloads(store, [raw_row(1, photograph("coffee.png"), modality="image")])
    clean_images(store, index, settings, BATCH)
    for ratio, kept in ((1.5, 1), (1.499, 0)):
        assert found(store, Modality.IMAGE, max_aspect_ratio=ratio)["image_too_elongated"].kept == kept
    for pixels, kept in ((400, 1), (401, 0)):
        assert found(store, Modality.IMAGE, min_side_pixels=pixels)["image_too_small"].kept == kept
