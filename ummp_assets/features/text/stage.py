"""The stage `text_features`: token ids of the clean texts of one batch, in their order."""

import pyarrow as pa

from ummp_assets.errors import AccountingMismatch
from ummp_assets.features.text.tokenizers import Tokenizer, load_tokenizer
from ummp_assets.records import TEXT_FEATURE_SCHEMA
from ummp_assets.settings import Settings
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import Manifest, StageWriter, read_manifest, read_table

__all__ = ["CODE_VERSION", "STAGE", "text_features"]

STAGE = "text_features"
CODE_VERSION = "1"

_COLUMNS = ("sample_id", "dataset", "text")
_CHUNK_ROWS = 256


def text_features(store: ObjectStore, settings: Settings, batch: str) -> Manifest:
    """Tokenise the clean texts of one batch and commit the ids.

    The manifest's rule `tokenizer` names the vocabulary.

    Raises
    ------
    ManifestMissing
        The stage `clean_text` has not committed the batch.
    InvalidSettings
        The tokenizer that the settings name can't be had.
    """
    clean = read_manifest(store, "clean_text", batch)
    tokenizer = load_tokenizer(settings.clean.text.tokenizer)
    rows = tokens = 0
    with StageWriter(store, STAGE, batch, {"samples": TEXT_FEATURE_SCHEMA}) as writer:
        for chunk in read_table(store, clean, "samples", columns=_COLUMNS, batch_rows=_CHUNK_ROWS):
            features = _encode_chunk(tokenizer, chunk)
            writer.write("samples", features)
            rows += features.num_rows
            tokens += sum(features.column("tokens").to_pylist())
        if rows != clean.rows("samples"):
            raise AccountingMismatch(f"{STAGE} {batch}: {clean.rows('samples')} samples in, but {rows} out")
        return writer.commit(
            code_version=CODE_VERSION,
            rules={"tokenizer": tokenizer.name},
            inputs=[clean],
            numbers={"samples_in": rows, "samples_out": rows, "tokens": tokens},
        )


def _encode_chunk(tokenizer: Tokenizer, chunk: pa.RecordBatch) -> pa.RecordBatch:
    ids = [tokenizer.encode(text) for text in chunk.column("text").to_pylist()]
    columns = [
        chunk.column("sample_id"),
        chunk.column("dataset"),
        pa.array(ids, pa.list_(pa.int32())),
        pa.array(map(len, ids), pa.int32()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=TEXT_FEATURE_SCHEMA)
