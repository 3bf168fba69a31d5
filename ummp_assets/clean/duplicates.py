"""Exact duplicates: the first sample of a content owns it, the others are rejected naming their twin."""

from collections import defaultdict

import pyarrow as pa

from ummp_assets.reasons import Reason
from ummp_assets.records import Rejection
from ummp_assets.storage.index import Index

__all__ = ["drop_duplicates"]


def drop_duplicates(rows: pa.RecordBatch, index: Index, kind: str) -> tuple[pa.RecordBatch, list[Rejection]]:
    """Split clean rows into those that own their content and rejections of those that don't.

    Contents are compared within a dataset, over all batches, by the column `content_sha256`. A sample that already
    owns its content is kept, so that a repeated batch gives the same answer.

    Parameters
    ----------
    rows:
        Clean rows with the columns `sample_id`, `dataset`, `uri` and `content_sha256`.
    kind:
        Modality of the rows; contents of different kinds are never compared.

    Returns
    -------
    The rows that are kept, in their order, and one `exact_duplicate` for each other row.

    Raises
    ------
    IndexUnavailable
        The index did not answer.
    """
    sample_ids, datasets, uris, digests = (
        rows.column(name).to_pylist() for name in ("sample_id", "dataset", "uri", "content_sha256")
    )
    positions: dict[str, list[int]] = defaultdict(list)
    for position, dataset in enumerate(datasets):
        positions[dataset].append(position)
    kept: list[int] = []
    rejections: dict[int, Rejection] = {}
    for dataset, members in positions.items():
        owners = index.claim(dataset, kind, [(digests[position], sample_ids[position]) for position in members])
        for position, owner in zip(members, owners, strict=True):
            if owner == sample_ids[position]:
                kept.append(position)
            else:
                rejections[position] = Rejection(
                    sample_id=sample_ids[position],
                    dataset=dataset,
                    modality=kind,
                    uri=uris[position],
                    reason=Reason.EXACT_DUPLICATE,
                    detail=f"the same content as {owner}",
                    twin=owner,
                )
    if not rejections:
        return rows, []
    return rows.take(pa.array(sorted(kept), pa.int64())), [rejections[position] for position in sorted(rejections)]
