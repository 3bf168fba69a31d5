"""Reading a dataset version in a training process, without Dagster and without pandas unless it is asked for."""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, overload

import pyarrow as pa

from ummp_assets.datasets.following import FollowStream
from ummp_assets.datasets.frameworks import to_hf, to_tf, to_torch
from ummp_assets.datasets.model_inputs import InputOptions
from ummp_assets.datasets.packing import unpacked_schema
from ummp_assets.datasets.reading_order import Part
from ummp_assets.datasets.schemas import find_schema
from ummp_assets.datasets.splits import SPLITS
from ummp_assets.datasets.stream import BatchStream
from ummp_assets.datasets.versions import DatasetVersion, Shard, latest_version, read_shards, read_version
from ummp_assets.datasets.withdrawals import is_withdrawn
from ummp_assets.errors import DatasetNotFound, InvalidInput
from ummp_assets.settings import Settings, load_settings
from ummp_assets.storage.objects import ObjectStore, open_store

if TYPE_CHECKING:
    import pandas as pd

    from ummp_assets.datasets.additions import View

__all__ = ["Dataset", "open_dataset"]


class Dataset:
    """One split of one dataset version, read as a stream; later versions do not change it.

    Attributes
    ----------
    version:
        The version's manifest: counts, columns, watermark, hashes.
    split:
        `train`, `validation` or `test`.
    modality:
        The one modality whose rows are read, or None for all that the version has.
    """

    def __init__(
        self,
        store: ObjectStore,
        version: DatasetVersion,
        *,
        split: str,
        modality: str | None = None,
        columns: Sequence[str] | None = None,
        settings: Settings | None = None,
    ) -> None:
        self._store = store
        self._settings = settings
        self.version = version
        self.split = split
        self.modality = modality
        self._columns = columns
        if split not in SPLITS:
            raise InvalidInput(f"there is no split {split!r}: a dataset has {', '.join(SPLITS)}")
        if modality is not None and modality not in version.columns:
            raise InvalidInput(
                f"version {version.version} of {version.dataset} has no {modality} samples, only "
                f"{', '.join(sorted(version.columns))}"
            )
        if columns is not None:
            self._check_columns(columns)

    def __len__(self) -> int:
        return sum(count.rows for count in self.version.counts if self._wants(count.modality, count.split))

    @cached_property
    def shards(self) -> list[Shard]:
        """The shards of the split, in the order in which rows are read."""
        return [shard for shard in read_shards(self._store, self.version) if self._wants(shard.modality, shard.split)]

    @cached_property
    def schema(self) -> pa.Schema:
        """Columns of the rows; raises `InvalidInput` when the dataset mixes modalities and none was chosen."""
        return unpacked_schema(self._packed_schema(self._one_modality()))

    @overload
    def iter_batches(
        self,
        batch_rows: int = ...,
        *,
        shuffle_seed: int | None = ...,
        part: Part | None = ...,
        drop_last: bool = ...,
        follow: Literal[False] = ...,
    ) -> BatchStream: ...

    @overload
    def iter_batches(
        self,
        batch_rows: int = ...,
        *,
        shuffle_seed: int | None = ...,
        part: Part | None = ...,
        follow: Literal[True],
        idle_seconds: float | None = ...,
    ) -> FollowStream: ...

    def iter_batches(
        self,
        batch_rows: int = 1_024,
        *,
        shuffle_seed: int | None = None,
        part: Part | None = None,
        drop_last: bool = False,
        follow: bool = False,
        idle_seconds: float | None = None,
    ) -> BatchStream | FollowStream:
        """Return a stream of batches of `batch_rows` rows, each batch of one modality.

        Images come as fixed-shape tensors, waveforms, spectrograms and token ids as lists. The stream can be iterated
        once an epoch, and resumed with `state_dict` and `load_state_dict`.

        Parameters
        ----------
        shuffle_seed:
            Row groups are shuffled as a whole and rows inside a buffer of 8 row groups, anew each epoch; not given,
            rows come in order.
        part:
            The share of this process: every row is in exactly one part, and parts differ by one row at most; of what
            `follow` adds, they are about equal.
        drop_last:
            Leave out a last batch that is not full.
        follow:
            Do not end with this version: go on with the rows that each later one adds, in order, when its ready event
            comes. Every sample comes once, whatever compaction, labels, takedowns and replays do to it later. Without
            a broker, or when it does not answer, the store is asked for new versions instead.
        idle_seconds:
            For `follow`: end when no version has come for this long; not given, never.

        Raises
        ------
        ManifestCorrupt
            While reading: a shard is missing or damaged; the message names it and the command that repairs it.
        """
        modalities = sorted({shard.modality for shard in self.shards})
        what = f"{self.split} {self.modality or 'of all modalities'}"
        batches = BatchStream(
            self._store,
            self.shards,
            {modality: self._packed_schema(modality) for modality in modalities},
            identity=f"{self.version.dataset} v{self.version.version} {self.version.sha256[:16]} {what}",
            batch_rows=batch_rows,
            shuffle_seed=shuffle_seed,
            part=part,
            drop_last=drop_last,
        )
        if not follow:
            return batches
        return FollowStream(
            self._store,
            self.version,
            batches,
            self._view_of,
            identity=f"{self.version.dataset} {what}",
            batch_rows=batch_rows,
            part=part or Part(),
            settings=self._settings,
            idle_seconds=idle_seconds,
        )

    def to_arrow(self) -> pa.Table:
        """Return all rows as one table; raises as `schema` and `iter_batches` do."""
        return pa.Table.from_batches(self.iter_batches(), self.schema)

    def to_pandas(self) -> "pd.DataFrame":
        """Return all rows as a pandas DataFrame; raises as `to_arrow` does."""
        frame: pd.DataFrame = self.to_arrow().to_pandas()
        return frame

    def to_torch(
        self,
        batch_rows: int = 64,
        *,
        shuffle_seed: int | None = None,
        part: Part | None = None,
        options: InputOptions | None = None,
    ) -> Any:
        """Return a `torch.utils.data.IterableDataset` whose items are batches of tensors, as `InputStream` describes.

        Use it with `DataLoader(..., batch_size=None)`: each loader worker reads its own share of the part. Call
        `set_epoch` before each epoch, else workers that are started anew give the first one again. It has `state_dict`
        and `load_state_dict`, so that torchdata's StatefulDataLoader resumes in mid-epoch, with workers, too.

        Raises `InvalidInput` when PyTorch is not installed.
        """
        return to_torch(self, batch_rows, shuffle_seed, part or Part(), options)

    def to_tf(
        self,
        batch_rows: int = 64,
        *,
        shuffle_seed: int | None = None,
        part: Part | None = None,
        options: InputOptions | None = None,
    ) -> Any:
        """Return a `tf.data.Dataset` whose items are batches of tensors, as `InputStream` describes.

        Sample ids and labels are strings, a label that is missing `null`. Each iteration is the next epoch.

        Raises `InvalidInput` when TensorFlow is not installed, or when there is no row.
        """
        return to_tf(self, batch_rows, shuffle_seed, part or Part(), options)

    def to_hf(self) -> Any:
        """Return a Hugging Face `datasets.IterableDataset` of single samples, arrays as NumPy arrays.

        It has a shard for each of this dataset's, up to 64, which `split_dataset_by_node`, `shuffle` and loader workers
        divide among themselves.

        Raises `InvalidInput` when `datasets` is not installed.
        """
        return to_hf(self)

    def _view_of(self, version: DatasetVersion) -> "View":
        later = Dataset(self._store, version, split=self.split, modality=self.modality, columns=self._columns)
        return later.shards, later._packed_schema

    def _wants(self, modality: str, split: str) -> bool:
        return split == self.split and self.modality in (None, modality)

    def _one_modality(self) -> str:
        modalities = [self.modality] if self.modality else sorted(self.version.columns)
        if len(modalities) != 1:
            raise InvalidInput(
                f"dataset {self.version.dataset} holds {', '.join(modalities)} samples, whose columns differ: choose "
                'one, as in open_dataset(..., modality="text")'
            )
        return str(modalities[0])

    def _packed_schema(self, modality: str) -> pa.Schema:
        if modality not in self._schemas:
            wanted = {column.name: column for column in self.version.columns[modality]}
            chosen = wanted if self._columns is None else [name for name in self._columns if name in wanted]
            if not chosen:
                raise InvalidInput(
                    f"dataset {self.version.dataset} holds {modality} samples, too, which have none of the columns "
                    f"{', '.join(self._columns or ())}: choose a modality"
                )
            shards = (shard for shard in read_shards(self._store, self.version) if shard.modality == modality)
            self._schemas[modality] = find_schema(self._store, shards, [wanted[name] for name in chosen])
        return self._schemas[modality]

    @cached_property
    def _schemas(self) -> dict[str, pa.Schema]:
        return {}

    def _check_columns(self, columns: Sequence[str]) -> None:
        modalities = [self.modality] if self.modality else sorted(self.version.columns)
        if isinstance(columns, str) or not columns or len(set(columns)) < len(columns):
            raise InvalidInput(f"columns={columns!r}: name each column once, in a list, or leave columns out for all")
        known = {column.name for modality in modalities for column in self.version.columns[modality]}
        unknown = sorted(set(columns) - known)
        if unknown:
            raise InvalidInput(
                f"dataset {self.version.dataset} has no column {', '.join(unknown)}: it has {', '.join(sorted(known))}"
            )


def open_dataset(
    name: str,
    version: int | None = None,
    split: str = "train",
    *,
    modality: str | None = None,
    columns: Sequence[str] | None = None,
    settings: Settings | None = None,
) -> Dataset:
    """Open one split of a dataset for reading.

    Parameters
    ----------
    version:
        A version's number; not given, the newest one at this moment.
    split:
        `train`, `validation` or `test`.
    modality:
        `text`, `image` or `audio`; needed where a dataset holds several and one schema is asked for.
    columns:
        Names of the columns to read, in this order; not given, all.
    settings:
        Where the store is; not given, read from the `UMMP_*` environment variables.

    Raises
    ------
    DatasetNotFound
        There is no such dataset or version, or a takedown withdrew it.
    InvalidInput
        There is no such split, modality or column.

    Example
    -------
    >>> for batch in open_dataset("birds", modality="image").iter_batches():  # doctest: +SKIP
    ...     pixels = batch.column("image").to_numpy_ndarray()  # shape (rows, height, width, 3), uint8
    """
    settings = settings or load_settings()
    store = open_store(settings)
    manifest = read_version(store, name, version)
    _refuse_withdrawn(store, manifest)
    return Dataset(store, manifest, split=split, modality=modality, columns=columns, settings=settings)


def _refuse_withdrawn(store: ObjectStore, version: DatasetVersion) -> None:
    withdrawal = is_withdrawn(store, version.dataset, version.version)
    if withdrawal is not None:
        raise DatasetNotFound(
            f"version {version.version} of {version.dataset} was withdrawn by the takedown {withdrawal.takedown}: "
            f"open version {latest_version(store, version.dataset)}, which holds all other rows"
        )
