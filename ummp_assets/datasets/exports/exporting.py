"""A whole version in another format: all its splits and modalities in one folder, there when it is complete."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

from ummp_assets.datasets.exports.croissant import describe_export
from ummp_assets.datasets.exports.jsonl import export_jsonl
from ummp_assets.datasets.exports.mds import export_mds
from ummp_assets.datasets.exports.parquet import export_parquet
from ummp_assets.datasets.exports.samples import OnRows
from ummp_assets.datasets.exports.webdataset import export_webdataset
from ummp_assets.datasets.reader import Dataset
from ummp_assets.errors import InvalidInput, StoreUnavailable

__all__ = ["export_version"]

_PARTIAL = ".partial"


def export_version(
    datasets: Sequence[Dataset],
    format_name: str,
    folder: Path,
    *,
    license_url: str | None = None,
    on_rows: OnRows | None = None,
) -> list[Path]:
    """Write splits of one version and return the files.

    Where they hold several modalities, each has a folder of its own; MDS, whose index is one for a folder, has one for
    each split. `croissant` is Parquet with its description.

    Parameters
    ----------
    datasets:
        Splits of one version, each of one modality.
    folder:
        It is made, and appears once all is written: nothing half-written is ever taken for an export. Into one that
        exists and is empty the finished files are moved.
    license_url:
        Address of the licence under which the samples may be used; Croissant needs it.

    Raises
    ------
    InvalidInput
        The folder is not empty, before or by the time that all is written; there is no row to write, a value does not
        fit the format, or Croissant is given no licence.
    StoreUnavailable
        The disk does not take the files.
    ManifestCorrupt
        A shard is missing or damaged.
    """
    if format_name == "croissant" and license_url is None:
        raise InvalidInput("a Croissant description names the licence of the samples: give its address")
    _require_empty(folder)
    chosen = [dataset for dataset in datasets if len(dataset)]
    if not chosen:
        raise InvalidInput("there is no row to export")
    # Inside a folder that is there: it may be a mount, or where somebody's shell stands. A name of its own for each
    # call, since two may write at once.
    beside = folder if folder.exists() else folder.resolve().parent
    partial = beside / f".{folder.resolve().name}-{uuid4().hex[:12]}{_PARTIAL}"
    try:
        partial.mkdir(parents=True)
        files = _write(chosen, format_name, partial, license_url, on_rows)
        _require_empty(folder)
        if folder.exists():
            for path in sorted(partial.iterdir()):
                path.rename(folder / path.name)
        else:
            partial.rename(folder)
    except OSError as error:
        raise StoreUnavailable(str(folder), error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return [folder / path.relative_to(partial) for path in files]


def _require_empty(folder: Path) -> None:
    """Raise `InvalidInput` when there is anything but what other exports are writing, or left when they were killed."""
    if folder.exists() and (not folder.is_dir() or any(not path.name.endswith(_PARTIAL) for path in folder.iterdir())):
        raise InvalidInput(f"{folder} exists and is not empty: name a new folder")


def _write(
    datasets: Sequence[Dataset], format_name: str, folder: Path, license_url: str | None, on_rows: OnRows | None
) -> list[Path]:
    modalities = sorted({str(dataset.modality) for dataset in datasets})
    files: list[Path] = []
    for modality in modalities:
        target = folder / modality if len(modalities) > 1 else folder
        mine = [dataset for dataset in datasets if dataset.modality == modality]
        parts = [(dataset, _write_split(dataset, format_name, target, on_rows)) for dataset in mine]
        files += [path for _, paths in parts for path in paths]
        if license_url is not None and format_name == "croissant":
            files.append(describe_export(parts, target, license_url=license_url))
    return files


def _write_split(dataset: Dataset, format_name: str, folder: Path, on_rows: OnRows | None) -> list[Path]:
    if format_name in ("parquet", "croissant"):
        return export_parquet(dataset, folder, on_rows=on_rows)
    if format_name == "webdataset":
        return export_webdataset(dataset, folder, on_rows=on_rows)
    if format_name == "mds":
        return export_mds(dataset, folder / dataset.split, on_rows=on_rows)
    if format_name == "jsonl":
        return export_jsonl(dataset, folder, on_rows=on_rows)
    raise InvalidInput(f"there is no format {format_name!r}: choose parquet, webdataset, mds, jsonl or croissant")
