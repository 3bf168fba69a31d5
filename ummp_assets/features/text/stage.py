"""The stage `text_features`: token ids of the clean texts of one batch, in their order, and packed sequences."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ummp_assets.errors import AccountingMismatch, InvalidSettings
from ummp_assets.features.text.sequences import SequencePacker, TokenSequence
from ummp_assets.features.text.tokenizers import Tokenizer, load_tokenizer
from ummp_assets.parallel.child_process import MAX_CHILDREN, child_pool
from ummp_assets.parallel.cores import available_cores
from ummp_assets.parallel.ordered_map import map_in_order
from ummp_assets.records import TEXT_FEATURE_SCHEMA
from ummp_assets.settings import Settings
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import Manifest, StageWriter, read_manifest, read_table
from ummp_assets.storage.tables import TableLimits

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

_Encode = Callable[[pa.RecordBatch], pa.RecordBatch]

_COLUMNS = ("sample_id", "dataset", "text")
_READ_ROWS = 32
# Or one longer text. Many small texts occupy a core, and a text's ids may take five times its bytes.
_CHUNK_BYTES = 2**20
# Writing a row group takes four times its size, and one text of 8 MB has 20 MB of ids.
_LIMITS = TableLimits(row_group_bytes=8 * 2**20)
# A process takes about two seconds to start and load its vocabulary, as long as tokenising 20 MB on one core.
_MIN_CHARACTERS_FOR_PROCESSES = 64 * 2**20


def text_features(store: ObjectStore, settings: Settings, batch: str) -> Manifest:
    """Tokenise the clean texts of one batch and commit the ids as stage `text_features`.

    Large batches are tokenised in a process for each core, up to eight, for the tokenizer holds the interpreter lock.
    With `sequence_tokens` set, a table `sequences` holds the same ids packed to that length.

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
    tables = {"samples": TEXT_FEATURE_SCHEMA, "sequences": SEQUENCE_SCHEMA}
    rows = tokens = 0
    with (
        StageWriter(store, STAGE, batch, tables, _LIMITS) as writer,
        _encoder(store, clean, name) as (encode, executor),
    ):
        texts = _chunks(read_table(store, clean, "samples", columns=_COLUMNS, batch_rows=_READ_ROWS))
        for features in map_in_order(encode, texts, executor, 2 * min(available_cores(), MAX_CHILDREN)):
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
        sample_ids, datasets = (features.column(name).to_pylist() for name in ("sample_id", "dataset"))
        for sample_id, dataset, token_ids in zip(sample_ids, datasets, features.column("token_ids"), strict=True):
            if dataset not in self._packers:
                self._packers[dataset] = SequencePacker(self._length, self._end_of_text)
            sequences = self._packers[dataset].add(sample_id, token_ids.values.to_numpy())
            filled += [(dataset, sequence) for sequence in sequences]
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
def _encoder(store: ObjectStore, clean: Manifest, tokenizer_name: str) -> Iterator[tuple[_Encode, Executor | None]]:
    """Give what encodes a chunk, and the threads that call it at the same time, if any."""
    encode = partial(_encode_chunk, tokenizer_name)
    characters = 0
    for rows in read_table(store, clean, "samples", columns=["characters"], batch_rows=65_536):
        characters += pc.sum(rows.column("characters")).as_py() or 0
    cores = min(available_cores(), MAX_CHILDREN)
    if cores == 1 or characters < _MIN_CHARACTERS_FOR_PROCESSES:
        yield encode, None
        return
    prepare = partial(_load_vocabulary, tokenizer_name)
    with ThreadPoolExecutor(cores, thread_name_prefix=STAGE) as threads, child_pool(encode, prepare) as in_children:
        yield in_children, threads


def _load_vocabulary(tokenizer_name: str) -> None:
    load_tokenizer(tokenizer_name).encode("words")


def _chunks(reads: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the rows in runs of limited size."""
    for rows in reads:
        start = byte_count = 0
        for position, size in enumerate(pc.binary_length(rows.column("text")).to_pylist()):
            if position > start and byte_count + size > _CHUNK_BYTES:
                yield _copied(rows.slice(start, position - start))
                start, byte_count = position, 0
            byte_count += size
        yield _copied(rows.slice(start))


def _copied(rows: pa.RecordBatch) -> pa.RecordBatch:
    # Of a slice all that it is a slice of would be sent to the other process.
    return pa.concat_batches([rows])


def _encode_chunk(tokenizer_name: str, chunk: pa.RecordBatch) -> pa.RecordBatch:
    tokenizer = load_tokenizer(tokenizer_name)
    ids = [tokenizer.encode(text.as_py()) for text in chunk.column("text")]
    offsets = np.cumsum([0, *map(len, ids)], dtype=np.int32)
    columns = [
        chunk.column("sample_id"),
        chunk.column("dataset"),
        pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate(ids))),
        pa.array(np.diff(offsets)),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=TEXT_FEATURE_SCHEMA)
