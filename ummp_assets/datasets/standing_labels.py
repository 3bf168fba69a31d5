"""Labels that changed no row when they came, for a rebuild: no version of the dataset names their batch.

They named samples that were unknown then, or another label held, or the majority stayed as it was. Yet they hold for
rows that came later, and count with labels that came later.
"""

from ummp_assets.datasets.history import catch_up
from ummp_assets.datasets.labels import STAGE, record_labels
from ummp_assets.messages.offset_log import OffsetLog
from ummp_assets.messages.ranges import batch_key
from ummp_assets.messages.topics import topic_names
from ummp_assets.settings import Settings
from ummp_assets.storage.dataset_index import DatasetIndex
from ummp_assets.storage.index import Index
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import find_manifest, read_manifest, read_table

__all__ = ["StandingLabels"]


class StandingLabels:
    """Gives the labels without a version to another index, in the order of their batches.

    When such a batch was read between two versions is not known. As early as its number allows is right: had it come
    after a row that it changes, it would have a version.

    Parameters
    ----------
    source:
        The index of the store.
    """

    def __init__(self, store: ObjectStore, source: Index, settings: Settings, dataset: str) -> None:
        self._store, self._dataset = store, dataset
        known = DatasetIndex(source)
        catch_up(store, known, dataset)
        topic = topic_names(settings).labels
        last = OffsetLog(store).last(topic)
        keys = [batch_key(topic, number) for number in range(1, last.number + 1 if last else 1)]
        self._left = [(key, known.version_of(dataset, key)) for key in keys if find_manifest(store, STAGE, key)]

    def record_before(self, step: int, index: Index) -> None:
        """Keep those that are due before a version is made; the batches that versions name must have been applied."""
        while self._left:
            batch, version = self._left[0]
            if version is not None and version >= step:
                return
            if version is None:
                parts = read_table(self._store, read_manifest(self._store, "labels", batch), "labels")
                rows = (row for part in parts for row in part.to_pylist())
                record_labels(index, [row for row in rows if row["dataset"] == self._dataset])
            del self._left[0]
