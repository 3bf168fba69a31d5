"""Near duplicates of images: the first of a look stays, later ones are rejected naming it."""

from collections import defaultdict

import pyarrow as pa

from ummp_assets.reasons import Reason
from ummp_assets.records import Modality, Rejection
from ummp_assets.storage.perceptual_index import HashedImage, NearTwin, PerceptualIndex

__all__ = ["HASH_COLUMN", "drop_near_duplicates"]

HASH_COLUMN = "perceptual_hash"


def drop_near_duplicates(
    rows: pa.RecordBatch, index: PerceptualIndex, max_distance_bits: int
) -> tuple[pa.RecordBatch, list[Rejection]]:
    """Split clean images into those that own their look and rejections of those that don't.

    Looks are compared within a dataset, over all batches.

    Parameters
    ----------
    rows:
        Clean rows with the columns `sample_id`, `dataset`, `uri` and `perceptual_hash`, which is null for images
        without a look of their own: those are kept.

    Returns
    -------
    The rows that are kept, in their order, and one `near_duplicate` for each other row, with the distance in bits.
    """
    sample_ids, datasets, uris, hashes = (
        rows.column(name).to_pylist() for name in ("sample_id", "dataset", "uri", HASH_COLUMN)
    )
    positions: dict[str, list[int]] = defaultdict(list)
    for position, (dataset, value) in enumerate(zip(datasets, hashes, strict=True)):
        if value is not None:
            positions[dataset].append(position)
    twins: dict[int, NearTwin] = {}
    for dataset, members in positions.items():
        images = [HashedImage(sample_ids[position], hashes[position]) for position in members]
        found = index.claim(dataset, images, max_distance_bits)
        twins |= {position: twin for position, twin in zip(members, found, strict=True) if twin is not None}
    if not twins:
        return rows, []
    kept = [position for position in range(rows.num_rows) if position not in twins]
    rejections = [
        Rejection(
            sample_id=sample_ids[position],
            dataset=datasets[position],
            modality=Modality.IMAGE.value,
            uri=uris[position],
            reason=Reason.NEAR_DUPLICATE,
            detail=f"its look differs in {twins[position].distance_bits} of 64 bits from {twins[position].sample_id}",
            measured=twins[position].distance_bits,
            twin=twins[position].sample_id,
        )
        for position in sorted(twins)
    ]
    return rows.take(pa.array(kept, pa.int64())), rejections
