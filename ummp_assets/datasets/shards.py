"""Stage `training_shards`: clean rows joined with their features, as shards that dataset versions can hold as they
are."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.compute as pc

from ummp_assets.datasets.shard_files import ShardKey, ShardWriter, scan_batch_rows
from ummp_assets.datasets.splits import split_of, split_rule
from ummp_assets.errors import AccountingMismatch
from ummp_assets.records import Modality
from ummp_assets.settings import Settings
from ummp_assets.storage.accounting import CLEAN_STAGES, FEATURE_STAGES
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import FileEntry, Manifest, read_manifest, read_table, stage_path

__all__ = ["CODE_VERSION", "STAGE", "shard_key", "write_shards"]

STAGE = "training_shards"
CODE_VERSION = "2"

_IDENTITY = ("sample_id", "dataset")


def write_shards(store: ObjectStore, settings: Settings, batch: str) -> Manifest:
    """Join a batch's clean rows with their features and write them as shards.

    Columns are those of the clean table, then those of the feature table, `modality` and `split`; rows keep their
    order. The table of a dataset and modality is named `<dataset>~<modality>`; each of its files holds one split.

    Raises
    ------
    ManifestMissing
        A clean or feature stage has not committed the batch.
    AccountingMismatch
        Features were computed from other clean rows, or the two are not the same samples in the same order.
    StoreUnavailable
        The store did not take the files.
    """
    inputs = []
    rows = dict.fromkeys(Modality, 0)
    with ExitStack() as stack:
        scratch = TemporaryDirectory(dir=store.scratch_directory(), ignore_cleanup_errors=True)
        folder = Path(stack.enter_context(scratch))
        writer = ShardWriter(store, folder, stage_path(STAGE, batch, "")[:-1], settings.datasets.target_shard_bytes)
        for modality in Modality:
            clean = read_manifest(store, CLEAN_STAGES[modality], batch)
            features = read_manifest(store, FEATURE_STAGES[modality], batch)
            inputs += [clean, features]
            for joined in _join(store, clean, features, modality):
                rows[modality] += joined.num_rows
                _write(writer, joined, modality, settings)
        shards = writer.finish()
    manifest = _manifest(batch, inputs, shards, rows, settings)
    store.write(stage_path(STAGE, batch), manifest.to_json())
    return manifest


def shard_key(table: str, entry: FileEntry) -> ShardKey:
    """Return what the rows of a file of the stage have in common, from its names."""
    dataset, modality = table.split("~")
    return ShardKey(dataset, modality, PurePosixPath(entry.path).name.split("~")[2].split("-")[0])


def _manifest(
    batch: str,
    inputs: list[Manifest],
    shards: dict[ShardKey, list[FileEntry]],
    rows: dict[Modality, int],
    settings: Settings,
) -> Manifest:
    tables: dict[str, list[FileEntry]] = {}
    for key, entries in shards.items():
        tables.setdefault(f"{key.dataset}~{key.modality}", []).extend(entries)
    files = [entry for entries in tables.values() for entry in entries]
    return Manifest(
        stage=STAGE,
        batch=batch,
        code_version=CODE_VERSION,
        rules={"split": split_rule(settings.datasets)},
        inputs={item.stage: item.sha256 for item in inputs},
        tables={name: tuple(entries) for name, entries in tables.items()},
        numbers={
            **{f"{modality}_rows": count for modality, count in rows.items()},
            "rows": sum(rows.values()),
            "shards": len(files),
            "shard_bytes": sum(entry.byte_count for entry in files),
        },
    )


def _join(store: ObjectStore, clean: Manifest, features: Manifest, modality: Modality) -> Iterator[pa.RecordBatch]:
    if features.inputs.get(clean.stage) != clean.sha256:
        raise AccountingMismatch(
            f"{features.stage} {features.batch} was computed from another run of {clean.stage}: materialize "
            f"{features.stage} again"
        )
    if clean.rows("samples") != features.rows("samples"):
        raise AccountingMismatch(
            f"{clean.stage} {clean.batch} has {clean.rows('samples')} rows, {features.stage} "
            f"{features.rows('samples')}: materialize {features.stage} again"
        )
    size = scan_batch_rows([*clean.tables.get("samples", ()), *features.tables.get("samples", ())])
    right_rows = _Rows(read_table(store, features, "samples", batch_rows=size))
    for left in read_table(store, clean, "samples", batch_rows=size):
        right = right_rows.take(left.num_rows)
        if not left.column("sample_id").equals(right.column("sample_id")):
            raise AccountingMismatch(
                f"{clean.stage} and {features.stage} of {clean.batch} hold different samples: materialize "
                f"{features.stage} again"
            )
        added = [name for name in right.schema.names if name not in _IDENTITY]
        fields = [*left.schema, *(right.schema.field(name) for name in added)]
        yield pa.RecordBatch.from_arrays(
            [*left.columns, *(right.column(name) for name in added), pa.repeat(modality.value, left.num_rows)],
            schema=pa.schema([*fields, pa.field("modality", pa.string(), nullable=False)]),
        )


class _Rows:
    """Takes any number of rows at once from a stream of record batches."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self._left: pa.RecordBatch | None = None

    def take(self, count: int) -> pa.RecordBatch:
        pieces: list[pa.RecordBatch] = []
        while count:
            if self._left is None or not self._left.num_rows:
                self._left = next(self._batches)
            pieces.append(self._left.slice(0, count))
            self._left = self._left.slice(pieces[-1].num_rows)
            count -= pieces[-1].num_rows
        return pieces[0] if len(pieces) == 1 else pa.concat_batches(pieces)


def _write(writer: ShardWriter, rows: pa.RecordBatch, modality: Modality, settings: Settings) -> None:
    splits = pa.array([split_of(digest, settings.datasets) for digest in rows.column("content_sha256").to_pylist()])
    rows = rows.append_column(pa.field("split", pa.string(), nullable=False), splits)
    datasets = rows.column("dataset")
    for dataset in pc.unique(datasets).to_pylist():
        for split in pc.unique(splits).to_pylist():
            chosen = pc.and_(pc.equal(datasets, dataset), pc.equal(splits, split))
            writer.write(ShardKey(dataset, modality.value, split), rows.filter(chosen))
