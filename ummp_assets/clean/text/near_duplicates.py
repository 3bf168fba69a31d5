"""Near duplicates of texts: the first of a content stays, later ones are rejected naming it."""

from collections import defaultdict

import numpy as np
import pyarrow as pa

from ummp_assets.reasons import Reason
from ummp_assets.records import Modality, Rejection
from ummp_assets.storage.near_duplicates import SIGNATURE_VALUES, SignatureIndex, SignedTexts, SimilarTwin

__all__ = ["SIGNATURE_FIELD", "drop_near_duplicates"]

SIGNATURE_FIELD = pa.field("signature", pa.binary(2 * SIGNATURE_VALUES))
"""Column that travels from cleaning to this step: 112 uint16, or null for a text too short to have a signature."""


def drop_near_duplicates(
    rows: pa.RecordBatch, index: SignatureIndex, min_similarity: float
) -> tuple[pa.RecordBatch, list[Rejection]]:
    """Split clean texts into those that own their content and rejections of those that don't.

    Texts are compared within a dataset, over all batches.

    Parameters
    ----------
    rows:
        Clean rows with the columns `sample_id`, `dataset`, `uri` and `signature`; texts without one are kept.

    Returns
    -------
    The rows that are kept, in their order, and one `near_duplicate` for each other row, with the similarity.
    """
    sample_ids, datasets, uris, signatures = (
        rows.column(name).to_pylist() for name in ("sample_id", "dataset", "uri", SIGNATURE_FIELD.name)
    )
    positions: dict[str, list[int]] = defaultdict(list)
    for position, (dataset, signature) in enumerate(zip(datasets, signatures, strict=True)):
        if signature is not None:
            positions[dataset].append(position)
    twins: dict[int, SimilarTwin] = {}
    for dataset, members in positions.items():
        values = np.frombuffer(b"".join(signatures[position] for position in members), np.uint16)
        texts = SignedTexts(
            [sample_ids[position] for position in members], values.reshape(len(members), SIGNATURE_VALUES)
        )
        found = index.claim(dataset, texts, min_similarity)
        twins |= {position: twin for position, twin in zip(members, found, strict=True) if twin is not None}
    if not twins:
        return rows, []
    kept = [position for position in range(rows.num_rows) if position not in twins]
    rejections = [
        Rejection(
            sample_id=sample_ids[position],
            dataset=datasets[position],
            modality=Modality.TEXT.value,
            uri=uris[position],
            reason=Reason.NEAR_DUPLICATE,
            detail=f"{twin.similarity:.0%} of its signature is that of {twin.sample_id}",
            measured=twin.similarity,
            twin=twin.sample_id,
        )
        for position, twin in sorted(twins.items())
    ]
    return rows.take(pa.array(kept, pa.int64())), rejections
