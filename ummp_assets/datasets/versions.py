"""A dataset version: the immutable manifest `datasets/<name>/v<version>/manifest.json`, and how it is found and read.

Versions are numbered from 1 without gaps, so that the newest is found with a logarithmic number of look-ups. A
manifest's size does not grow with the number of batches: full shards move to shard lists, files of many entries that
later versions share, as in Apache Iceberg's manifest lists.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Self

from ummp_assets.errors import DatasetNotFound, ManifestCorrupt, ObjectNotFound, UnsupportedFormat
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import OutcomeCount

__all__ = [
    "Column",
    "DatasetVersion",
    "Shard",
    "ShardList",
    "SplitCount",
    "create_version",
    "dataset_path",
    "latest_version",
    "list_datasets",
    "read_shard_list",
    "read_shards",
    "read_version",
    "remember_latest",
    "version_path",
    "write_shard_list",
]

FORMAT = 1
_NAMES = "dataset-names"
_REPAIR = "`ummp datasets scrub --repair` restores it from a replica."


@dataclass(frozen=True, slots=True)
class Shard:
    """One Parquet file of a version, relative to the store's root; all its rows are of one modality and split.

    `level` counts how often its rows were compacted.
    """

    path: str
    modality: str
    split: str
    rows: int
    byte_count: int
    sha256: str
    footer_sha256: str
    level: int = 0


@dataclass(frozen=True, slots=True)
class ShardList:
    """A file of shard entries that versions share."""

    path: str
    shards: int
    rows: int
    byte_count: int
    sha256: str


@dataclass(frozen=True, slots=True, order=True)
class SplitCount:
    """How much of a version is in one split of one modality."""

    modality: str
    split: str
    rows: int
    byte_count: int


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a modality: its name and type, e.g. `uint8[256,256,3]`, and whether a value may be missing."""

    name: str
    type: str
    nullable: bool


@dataclass(frozen=True)
class DatasetVersion:
    """An immutable commit of a dataset.

    Parameters
    ----------
    parent, parent_sha256:
        The version that this one was built on; None for the first.
    cause:
        What made it: `batch`, `labels`, `takedown`, `promotion` (of a duplicate whose owner was taken down or lost with
        a batch that was given up) or `compaction`.
    added_batches:
        Keys of the batches whose rows, labels or takedowns this version added to its parent.
    added_shards:
        By path, where the rows of each new shard come from: paths of shards of the parent, keys of added batches.
    removed_shards:
        Paths of the parent's shards that are not in this version.
    columns:
        Schema by modality.
    counts:
        Rows and bytes by modality and split.
    outcomes:
        What became of all samples of the version's batches, the stored ones included.
    rules, code_versions:
        All versions, by stage and rule, that rows of this version went through.
    watermark:
        Next offset by topic and partition after the newest messages that are in the version.
    shard_lists, shards:
        The version's shards: entries in shared files, then entries that stand here.
    """

    dataset: str
    version: int
    parent: int | None
    parent_sha256: str | None
    cause: str
    added_batches: Sequence[str]
    added_shards: Mapping[str, Sequence[str]] = field(default_factory=dict)
    removed_shards: Sequence[str] = ()
    columns: Mapping[str, Sequence[Column]] = field(default_factory=dict)
    counts: Sequence[SplitCount] = ()
    outcomes: Sequence[OutcomeCount] = ()
    rules: Mapping[str, Sequence[str]] = field(default_factory=dict)
    code_versions: Mapping[str, Sequence[str]] = field(default_factory=dict)
    watermark: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    shard_lists: Sequence[ShardList] = ()
    shards: Sequence[Shard] = ()
    format: int = FORMAT

    @property
    def path(self) -> str:
        """The manifest's path in the store."""
        return version_path(self.dataset, self.version)

    @property
    def rows(self) -> int:
        return sum(count.rows for count in self.counts)

    @property
    def byte_count(self) -> int:
        return sum(count.byte_count for count in self.counts)

    @cached_property
    def sha256(self) -> str:
        """sha256 over all other fields as compact JSON with sorted keys, each shard's sha256 among them; the manifest
        holds it, too."""
        # Without indentation Python's JSON is written in C, 5 times as fast.
        compact = json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(compact.encode()).hexdigest()

    def to_json(self) -> bytes:
        """Return the canonical bytes: the same version gives the same bytes."""
        return _canonical({**asdict(self), "sha256": self.sha256})

    @classmethod
    def from_json(cls, data: bytes, address: str) -> Self:
        """Parse a manifest; raises `UnsupportedFormat` for a newer one, `ManifestCorrupt` when its sha256 or anything
        else is wrong."""
        try:
            fields: dict[str, Any] = json.loads(data)
            if fields["format"] > FORMAT:
                raise UnsupportedFormat(
                    f"{address} has format {fields['format']}, this UMMP reads up to {FORMAT}: upgrade it"
                )
            digest = fields.pop("sha256")
            fields["columns"] = {
                modality: tuple(Column(**item) for item in items) for modality, items in fields["columns"].items()
            }
            for name, record in _RECORDS.items():
                fields[name] = tuple(record(**item) for item in fields[name])
            for name in ("added_batches", "removed_shards"):
                fields[name] = tuple(fields[name])
            for name in ("added_shards", "rules", "code_versions"):
                fields[name] = {key: tuple(values) for key, values in fields[name].items()}
            version = cls(**fields)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ManifestCorrupt(f"{address} is no manifest of a dataset version: {error}. {_REPAIR}") from error
        if version.sha256 != digest:
            raise ManifestCorrupt(f"{address} was changed after it was written: its sha256 is not {digest}. {_REPAIR}")
        return version


_RECORDS: dict[str, Any] = {
    "counts": SplitCount,
    "outcomes": OutcomeCount,
    "shard_lists": ShardList,
    "shards": Shard,
}


def dataset_path(dataset: str, name: str = "") -> str:
    """Return the store path of something that belongs to a dataset."""
    return f"datasets/{dataset}/{name}" if name else f"datasets/{dataset}"


def version_path(dataset: str, version: int, name: str = "manifest.json") -> str:
    """Return the store path of a version's manifest, or of another of its files."""
    return dataset_path(dataset, f"v{version}/{name}")


def latest_version(store: ObjectStore, dataset: str, hint: int = 0) -> int:
    """Return the number of a dataset's newest version, 0 when there is none.

    Parameters
    ----------
    hint:
        A version that is known to exist; without one, `datasets/<name>/latest` is asked, which may lag behind.
    """
    low = max(hint, _remembered(store, dataset))
    step = 1
    while store.exists(version_path(dataset, low + step)):
        low += step
        step *= 2
    while step > 1:
        step //= 2
        if store.exists(version_path(dataset, low + step)):
            low += step
    return low


def remember_latest(store: ObjectStore, dataset: str, version: int) -> None:
    """Leave a hint for `latest_version`; it may be overwritten by an older one, which costs look-ups only."""
    store.write(dataset_path(dataset, "latest"), b"%d\n" % version)


def read_version(store: ObjectStore, name: str, version: int | None = None) -> DatasetVersion:
    """Return a version of a dataset, the newest when no number is given.

    Raises
    ------
    DatasetNotFound
        There is no such dataset or version; the message names those that there are.
    ManifestCorrupt, UnsupportedFormat
        The manifest is damaged, or written by a newer UMMP.
    """
    wanted = latest_version(store, name) if version is None else version
    path = version_path(name, wanted)
    try:
        return DatasetVersion.from_json(store.read(path), store.uri(path))
    except ObjectNotFound:
        raise DatasetNotFound(_missing(store, name, version)) from None


def list_datasets(store: ObjectStore) -> list[str]:
    """Return the names of all datasets that have a version, in order."""
    names = [info.path.removeprefix(f"{_NAMES}/") for info in store.list(_NAMES)]
    return [name for name in names if store.exists(version_path(name, 1))]


def create_version(store: ObjectStore, version: DatasetVersion) -> bool:
    """Put a version unless its number is taken; return whether this call put it."""
    if version.version == 1:
        # Listing names must not cost a walk over every version and shard.
        store.write(f"{_NAMES}/{version.dataset}", b"")
    return store.create(version.path, version.to_json())


def read_shards(store: ObjectStore, version: DatasetVersion) -> Iterator[Shard]:
    """Yield the shards of a version in order; raises `ManifestCorrupt` when a shard list is missing or damaged."""
    for item in version.shard_lists:
        yield from read_shard_list(store, item)
    yield from version.shards


def read_shard_list(store: ObjectStore, item: ShardList) -> list[Shard]:
    """Return the entries of a shard list; raises `ManifestCorrupt`."""
    try:
        data = store.read(item.path)
        if hashlib.sha256(data).hexdigest() != item.sha256:
            raise ManifestCorrupt(f"shard list {store.uri(item.path)} was changed after it was written. {_REPAIR}")
        return [Shard(**entry) for entry in json.loads(data)]
    except ObjectNotFound as error:
        raise ManifestCorrupt(f"{error}, a shard list. {_REPAIR}") from error


def write_shard_list(store: ObjectStore, dataset: str, shards: Sequence[Shard]) -> ShardList:
    """Put shard entries into a file of their own, named by its content."""
    data = _canonical([asdict(shard) for shard in shards])
    digest = hashlib.sha256(data).hexdigest()
    path = dataset_path(dataset, f"shard-lists/{digest[:32]}.json")
    store.write(path, data)
    rows, byte_count = sum(shard.rows for shard in shards), sum(shard.byte_count for shard in shards)
    return ShardList(path, len(shards), rows, byte_count, digest)


def _canonical(document: object) -> bytes:
    return json.dumps(document, sort_keys=True, indent=1, ensure_ascii=False).encode() + b"\n"


def _remembered(store: ObjectStore, dataset: str) -> int:
    try:
        return int(store.read(dataset_path(dataset, "latest")))
    except (ObjectNotFound, ValueError):
        return 0


def _missing(store: ObjectStore, name: str, version: int | None) -> str:
    newest = latest_version(store, name)
    if newest:
        return f"dataset {name} has no version {version}: its versions are 1 to {newest}"
    present = list_datasets(store)
    return f"there is no dataset {name} in {store.uri()}; there are: {', '.join(present) or 'none yet'}"
