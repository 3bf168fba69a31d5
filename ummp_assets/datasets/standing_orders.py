"""Which samples the orders of takedowns name, by the index and in the files of a batch that the index did not know."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, replace
from typing import Any

from ummp_assets.datasets.stage_contents import stored_sample_ids
from ummp_assets.reasons import Reason
from ummp_assets.storage.index import Index, SampleEntry
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import Manifest, find_manifest, read_table
from ummp_assets.storage.takedown_index import TakedownEntry, TakedownIndex, taken_down
from ummp_assets.storage.twin_index import TwinIndex

__all__ = [
    "ForbiddenSamples",
    "fallen_samples",
    "forbid_contents",
    "forbid_downloads",
    "orders_naming",
    "record_takedowns",
    "samples_named_by",
]


@dataclass(frozen=True, slots=True)
class ForbiddenSamples:
    """What orders name of a batch.

    Parameters
    ----------
    own:
        Those samples of the batch that an order names itself, as the batch holds them.
    samples:
        What is to go everywhere: those and all that have the same content, in whatever batch and dataset, as the index
        has them; without what was taken down before.
    """

    own: Sequence[SampleEntry]
    samples: Sequence[SampleEntry]


def record_takedowns(index: Index, rows: Iterable[Mapping[str, Any]]) -> list[TakedownEntry]:
    """Keep orders, so that what they name is refused from now on, and return them.

    Parameters
    ----------
    rows:
        Rows of `TAKEDOWN_SCHEMA`.
    """
    orders = [TakedownEntry(**row) for row in rows]
    TakedownIndex(index).record(orders)
    return orders


def samples_named_by(index: Index, order: TakedownEntry) -> list[SampleEntry]:
    """Return every sample that an order names or that has the same content, in order of their ids."""
    return _with_same_content(index, TwinIndex(index).named_by(order))


def forbid_contents(
    index: Index, order: TakedownEntry, samples: Iterable[SampleEntry], downloaded: Iterable[str] = ()
) -> None:
    """Refuse the contents of samples from now on, on the strength of an order that names one of them.

    Parameters
    ----------
    downloaded:
        Hashes of raw bytes of the samples that the index may not know.
    """
    entries = list(samples)
    owned = TwinIndex(index).contents_of(entry.sample_id for entry in entries)
    digests = {entry.sha256 for entry in entries if entry.sha256} | owned | set(downloaded)
    record_takedowns(index, ({**asdict(order), "kind": "sha256", "target": digest} for digest in sorted(digests)))


def forbid_downloads(
    store: ObjectStore, index: Index, batch: str, rows: AbstractSet[str] = frozenset()
) -> ForbiddenSamples:
    """Return what orders name of the samples that a batch downloaded, and refuse those contents from now on.

    An order that came while the batch was on its way found nothing of it in the index: neither its samples nor whose
    content they have. Most of them are in no shard, since a sample that the clean stages reject has raw bytes all the
    same. To be called once the batch's samples are in the index.

    Parameters
    ----------
    rows:
        Ids of samples of the batch that an order names by what its downloads do not tell.
    """
    own: dict[str, SampleEntry] = {}
    found: dict[str, SampleEntry] = {}
    downloads = None if TakedownIndex(index).is_empty() else find_manifest(store, "downloads", batch)
    for order, digests in (_named_downloads(store, index, downloads) if downloads else {}).items():
        known = index.find_samples(sample_ids=sorted(digests))
        # Of a replay, the index may know the bytes that an earlier batch stored: an order for others is none for those.
        seeds = {entry.sample_id for entry in known if order.kind != "sha256" or entry.sha256 == order.target}
        entries = _with_same_content(index, seeds)
        forbid_contents(index, order, entries, digests.values())
        found |= {entry.sample_id: entry for entry in entries}
        own |= {entry.sample_id: replace(entry, batch=batch, sha256=digests[entry.sample_id]) for entry in known}
    if rows:
        found |= {entry.sample_id: entry for entry in _with_same_content(index, rows)}
        own |= {name: found[name] for name in rows}
    fallen = Reason.TAKEDOWN.value
    new = (found[name] for name in sorted(found) if name in own or found[name].reason != fallen)
    return ForbiddenSamples([own[name] for name in sorted(own)], list(new))


def _with_same_content(index: Index, sample_ids: Iterable[str]) -> list[SampleEntry]:
    return index.find_samples(sample_ids=sorted(TwinIndex(index).with_same_content(sample_ids)))


def fallen_samples(store: ObjectStore, index: Index, manifests: Iterable[Manifest]) -> list[SampleEntry]:
    """Return the samples of a batch that were taken down and of which its stages still hold contents, as far as the
    index knows them.

    Raises
    ------
    ManifestCorrupt
        A file that a manifest names is missing or damaged.
    """
    if TakedownIndex(index).is_empty():
        return []
    named: set[str] = set()
    stored: set[str] = set()
    for manifest in manifests:
        stored |= stored_sample_ids(store, manifest)
        if manifest.stage == "downloads":
            named.update(name for digests in _named_downloads(store, index, manifest).values() for name in digests)
    entries = index.find_samples(sample_ids=sorted(stored))
    orders = taken_down(
        index,
        uris=[entry.uri for entry in entries],
        sha256s=[entry.sha256 for entry in entries if entry.sha256],
        sample_ids=[entry.sample_id for entry in entries],
    )
    return [
        entry
        for entry in entries
        if entry.sample_id in named
        or entry.reason == Reason.TAKEDOWN
        or orders.keys() & {entry.sample_id, entry.uri, entry.sha256}
    ]


def orders_naming(index: Index, samples: Iterable[SampleEntry]) -> list[TakedownEntry]:
    """Return the orders that name any of the samples, or one of their contents."""
    entries = list(samples)
    owned = TwinIndex(index).contents_of(entry.sample_id for entry in entries)
    named = taken_down(
        index,
        uris=[entry.uri for entry in entries],
        sha256s=[*(entry.sha256 for entry in entries if entry.sha256), *sorted(owned)],
        sample_ids=[entry.sample_id for entry in entries],
    )
    return sorted(set(named.values()), key=lambda order: (order.topic, order.partition, order.offset, order.target))


def _named_downloads(store: ObjectStore, index: Index, downloads: Manifest) -> dict[TakedownEntry, dict[str, str]]:
    """Return by order the raw hashes, by sample id, of the downloaded samples that it names."""
    named: dict[TakedownEntry, dict[str, str]] = defaultdict(dict)
    for rows in read_table(store, downloads, "samples", columns=["sample_id", "uri", "sha256"]):
        ids, uris, digests = (rows.column(name).to_pylist() for name in ("sample_id", "uri", "sha256"))
        orders = taken_down(index, uris=uris, sha256s=digests, sample_ids=ids)
        for sample_id, uri, digest in zip(ids, uris, digests, strict=True):
            # By its hash last: an order of that kind says least of the sample that an earlier batch stored.
            order = orders.get(sample_id) or orders.get(uri) or orders.get(digest)
            if order is not None:
                named[order][sample_id] = digest
    return named
