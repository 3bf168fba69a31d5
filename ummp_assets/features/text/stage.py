"""The stage `text_features`: token ids of the clean texts of one batch, in their order, and packed sequences."""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from ummp_assets.clean.cores import available_cores
from ummp_assets.clean.runner import map_in_order
from ummp_assets.errors import AccountingMismatch, InvalidSettings
from ummp_assets.features.text.sequences import SequencePacker, TokenSequence
from ummp_assets.features.text.tokenizers import Tokenizer, load_tokenizer
from ummp_assets.records import TEXT_FEATURE_SCHEMA
from ummp_assets.settings import Settings
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import Manifest, StageWriter, read_manifest, read_table

__all__ = ["CODE_VERSION", "SEQUENCE_SCHEMA", "STAGE", "text_features"]

STAGE = "text_features"
CODE_VERSION = "1"

SEQUENCE_SCHEMA = pa.schema(
    [
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("token_ids", pa.list_(pa.int32()), nullable=False),
        pa.field("document_starts", pa.list_(pa.int32()), nullable=False),
        pa.field("sample_ids", pa.list_(pa.string()), nullable=False),
        pa.field("tokens", pa.int32(), nullable=False),
    ]
)
"""Table `sequences`: a `TokenSequence` a row, per dataset; only where `sequence_tokens` is set."""

_COLUMNS = ("sample_id", "dataset", "text")
# Texts may have 16 MB each: few at once keep memory bounded, and small ones are many enough to occupy a core.
_CHUNK_ROWS = 32
# A process takes about two seconds to start and load its vocabulary, as long as tokenising 20 MB on one core.
_MIN_CHARACTERS_FOR_PROCESSES = 64 * 2**20


def text_features(store: ObjectStore, settings: Settings, batch: str) -> Manifest:
    """Tokenise the clean texts of one batch and commit the ids as stage `text_features`.

    Large batches are tokenised in a process for each core, for the tokenizer holds the interpreter lock. With
    `sequence_tokens` set, a table `sequences` holds the same ids packed to that length.

    Returns
    -------
    The manifest; its table `samples` has `TEXT_FEATURE_SCHEMA`, its rule `tokenizer` names the vocabulary.

    Raises
    ------
    ManifestMissing
        The stage `clean_text` has not committed the batch.
    InvalidSettings
        The tokenizer that the settings name can't be had, or cannot separate documents though sequences are asked for.
    """
    clean = read_manifest(store, "clean_text", batch)
    name = settings.clean.text.tokenizer
    tokenizer = load_tokenizer(name)
    packers = _Packers(tokenizer, settings.clean.text.sequence_tokens)
    rows = tokens = 0
    with (
        StageWriter(store, STAGE, batch, {"samples": TEXT_FEATURE_SCHEMA, "sequences": SEQUENCE_SCHEMA}) as writer,
        _executor(store, clean) as executor,
    ):
        texts = read_table(store, clean, "samples", columns=_COLUMNS, batch_rows=_CHUNK_ROWS)
        for features in map_in_order(partial(_encode_chunk, name), texts, executor, 2 * available_cores()):
            writer.write("samples", features)
            writer.write("sequences", packers.add(features))
            rows += features.num_rows
            tokens += pc.sum(features.column("tokens")).as_py() or 0
        writer.write("sequences", packers.finish())
        if rows != clean.rows("samples"):
            raise AccountingMismatch(f"{STAGE} {batch}: {clean.rows('samples')} samples in, but {rows} out")
        return writer.commit(
            code_version=CODE_VERSION,
            rules={"tokenizer": tokenizer.name},
            inputs=[clean],
            numbers={"samples_in": rows, "samples_out": rows, "tokens": tokens},
        )


class _Packers:
    """A packer for each dataset, or none at all where no sequences are asked for."""

    def __init__(self, tokenizer: Tokenizer, length: int | None) -> None:
        if length is not None and tokenizer.end_of_text is None:
            raise InvalidSettings(
                f"UMMP_CLEAN__TEXT__SEQUENCE_TOKENS={length} needs a tokenizer with an end-of-text token, and "
                f"{tokenizer.name} has none"
            )
        self._length, self._end_of_text = length, tokenizer.end_of_text or 0
        self._packers: dict[str, SequencePacker] = {}

    def add(self, features: pa.RecordBatch) -> pa.RecordBatch:
        if self._length is None:
            return _sequence_rows([])
        filled = []
        for row in features.to_pylist():
            if (dataset := row["dataset"]) not in self._packers:
                self._packers[dataset] = SequencePacker(self._length, self._end_of_text)
            filled += [(dataset, found) for found in self._packers[dataset].add(row["sample_id"], row["token_ids"])]
        return _sequence_rows(filled)

    def finish(self) -> pa.RecordBatch:
        return _sequence_rows([(name, last) for name in sorted(self._packers) for last in self._packers[name].finish()])


def _sequence_rows(sequences: list[tuple[str, TokenSequence]]) -> pa.RecordBatch:
    rows = [
        {
            "dataset": dataset,
            "token_ids": sequence.token_ids,
            "document_starts": sequence.document_starts,
            "sample_ids": sequence.sample_ids,
            "tokens": sequence.tokens,
        }
        for dataset, sequence in sequences
    ]
    return pa.RecordBatch.from_pylist(rows, schema=SEQUENCE_SCHEMA)


@contextmanager
def _executor(store: ObjectStore, clean: Manifest) -> Iterator[Executor | None]:
    characters = 0
    for rows in read_table(store, clean, "samples", columns=["characters"], batch_rows=65_536):
        characters += pc.sum(rows.column("characters")).as_py() or 0
    if available_cores() == 1 or characters < _MIN_CHARACTERS_FOR_PROCESSES:
        yield None
        return
    # Forked copies of a process that has threads, as Dagster's have, may hang.
    with ProcessPoolExecutor(available_cores(), multiprocessing.get_context("spawn")) as executor:
        yield executor


def _encode_chunk(tokenizer_name: str, chunk: pa.RecordBatch) -> pa.RecordBatch:
    tokenizer = load_tokenizer(tokenizer_name)
    ids = [tokenizer.encode(text) for text in chunk.column("text").to_pylist()]
    columns = [
        chunk.column("sample_id"),
        chunk.column("dataset"),
        pa.array(ids, pa.list_(pa.int32())),
        pa.array(map(len, ids), pa.int32()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=TEXT_FEATURE_SCHEMA)
