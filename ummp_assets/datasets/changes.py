"""A change to a dataset, and the version that it makes of its parent. Pure but for the shard lists that it seals."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ummp_assets.datasets.versions import (
    Column,
    DatasetVersion,
    Shard,
    ShardList,
    SplitCount,
    read_shard_list,
    write_shard_list,
)
from ummp_assets.errors import SchemaConflict
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import OutcomeCount

__all__ = ["Change", "make_version", "merge_columns"]

# A manifest holds fewer than this many full shards itself; a list of them is about 20 kB.
_SHARDS_PER_LIST = 64


@dataclass(frozen=True)
class Change:
    """What a new version does to its parent; see `DatasetVersion` for the fields.

    `added` holds each new shard with the sources of its rows, `removed` paths of the parent's shards.
    """

    cause: str
    batches: Sequence[str] = ()
    added: Sequence[tuple[Shard, Sequence[str]]] = ()
    removed: frozenset[str] = frozenset()
    columns: Mapping[str, Sequence[Column]] = field(default_factory=dict)
    outcomes: Sequence[OutcomeCount] = ()
    rules: Mapping[str, str] = field(default_factory=dict)
    code_versions: Mapping[str, str] = field(default_factory=dict)
    watermark: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


def make_version(
    store: ObjectStore, dataset: str, parent: DatasetVersion | None, change: Change, full_bytes: int
) -> DatasetVersion:
    """Return the version that a change makes of its parent; nothing but shard lists is written.

    Parameters
    ----------
    full_bytes:
        Shards of at least this size are not compacted again, and move to shard lists.

    Raises
    ------
    SchemaConflict
        A column would change its type; both types are named.
    """
    base = parent or DatasetVersion(dataset, 0, None, None, "", ())
    lists, tail, removed = _take_out(store, base, change.removed)
    tail += [shard for shard, _ in change.added]
    lists, tail = _seal(store, dataset, lists, tail, full_bytes)
    return DatasetVersion(
        dataset=dataset,
        version=base.version + 1,
        parent=parent.version if parent else None,
        parent_sha256=parent.sha256 if parent else None,
        cause=change.cause,
        added_batches=tuple(change.batches),
        added_shards={shard.path: tuple(sources) for shard, sources in change.added},
        removed_shards=tuple(sorted(change.removed)),
        columns=merge_columns(dataset, base.columns, change.columns),
        counts=_count(base.counts, [shard for shard, _ in change.added], removed),
        outcomes=_sum_outcomes([*base.outcomes, *change.outcomes]),
        rules=_merge_versions(base.rules, change.rules),
        code_versions=_merge_versions(base.code_versions, change.code_versions),
        watermark=_merge_watermarks(base.watermark, change.watermark),
        shard_lists=tuple(lists),
        shards=tuple(tail),
    )


def _take_out(
    store: ObjectStore, base: DatasetVersion, paths: frozenset[str]
) -> tuple[list[ShardList], list[Shard], list[Shard]]:
    """Return the shard lists and single shards that stay, and the shards at the paths."""
    tail = [shard for shard in base.shards if shard.path not in paths]
    removed = [shard for shard in base.shards if shard.path in paths]
    lists: list[ShardList] = []
    for item in base.shard_lists:
        entries = read_shard_list(store, item) if len(removed) < len(paths) else []
        gone = [shard for shard in entries if shard.path in paths]
        kept = [shard for shard in entries if shard.path not in paths]
        removed += gone
        if not gone:
            lists.append(item)
        elif kept:
            lists.append(write_shard_list(store, base.dataset, kept))
    return lists, tail, removed


def _seal(
    store: ObjectStore, dataset: str, lists: list[ShardList], tail: list[Shard], full_bytes: int
) -> tuple[list[ShardList], list[Shard]]:
    full = [shard for shard in tail if shard.byte_count >= full_bytes]
    if len(full) < _SHARDS_PER_LIST:
        return lists, tail
    return [*lists, write_shard_list(store, dataset, full)], [s for s in tail if s.byte_count < full_bytes]


def merge_columns(
    dataset: str, base: Mapping[str, Sequence[Column]], added: Mapping[str, Sequence[Column]]
) -> dict[str, Sequence[Column]]:
    """Return the schema of a dataset after a change; raises `SchemaConflict` where a column changed its type."""
    merged = dict(base)
    for modality, columns in added.items():
        if modality in base:
            _check_types(dataset, modality, base[modality], columns)
            merged[modality] = _unite(base[modality], columns)
        else:
            merged[modality] = tuple(columns)
    return merged


def _check_types(dataset: str, modality: str, base: Sequence[Column], added: Sequence[Column]) -> None:
    known = {column.name: column.type for column in base}
    for column in added:
        before = known.get(column.name, column.type)
        if before != column.type:
            raise SchemaConflict(
                f"column {column.name} of the {modality} samples of dataset {dataset} has type {before} in its "
                f"versions so far and {column.type} in this batch: collect into another dataset, or undo the setting "
                "that changed it"
            )


def _unite(base: Sequence[Column], added: Sequence[Column]) -> tuple[Column, ...]:
    """Return the columns of either; a column that one side lacks has rows without a value."""
    sides = [{column.name: column for column in side} for side in (base, added)]
    names = list(dict.fromkeys(column.name for column in (*base, *added)))
    united = []
    for name in names:
        present = [side[name] for side in sides if name in side]
        nullable = len(present) < len(sides) or any(column.nullable for column in present)
        united.append(Column(name, present[0].type, nullable))
    return tuple(united)


def _count(base: Sequence[SplitCount], added: Iterable[Shard], removed: Iterable[Shard]) -> tuple[SplitCount, ...]:
    rows: Counter[tuple[str, str]] = Counter({(count.modality, count.split): count.rows for count in base})
    sizes: Counter[tuple[str, str]] = Counter({(count.modality, count.split): count.byte_count for count in base})
    for sign, shards in ((1, added), (-1, removed)):
        for shard in shards:
            rows[shard.modality, shard.split] += sign * shard.rows
            sizes[shard.modality, shard.split] += sign * shard.byte_count
    return tuple(SplitCount(*key, rows[key], sizes[key]) for key in sorted(rows) if rows[key])


def _sum_outcomes(counts: Iterable[OutcomeCount]) -> tuple[OutcomeCount, ...]:
    sums: Counter[tuple[str, str, str, str]] = Counter()
    for item in counts:
        sums[item.dataset, item.modality, item.outcome, item.reason] += item.count
    return tuple(OutcomeCount(*key, count) for key, count in sorted(sums.items()) if count)


def _merge_versions(base: Mapping[str, Sequence[str]], added: Mapping[str, str]) -> dict[str, Sequence[str]]:
    names = base.keys() | added.keys()
    return {
        name: tuple(sorted({*base.get(name, ()), *([added[name]] if name in added else [])})) for name in sorted(names)
    }


def _merge_watermarks(
    base: Mapping[str, Mapping[str, int]], added: Mapping[str, Mapping[str, int]]
) -> dict[str, dict[str, int]]:
    merged = {topic: dict(offsets) for topic, offsets in base.items()}
    for topic, offsets in added.items():
        known = merged.setdefault(topic, {})
        for partition, offset in offsets.items():
            known[partition] = max(offset, known.get(partition, 0))
    return merged
