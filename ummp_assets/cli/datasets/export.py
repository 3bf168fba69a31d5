"""`ummp datasets export`: a version as Parquet, WebDataset, MDS, JSON Lines or with a Croissant description."""

from pathlib import Path
from typing import Any

import click

from ummp_assets.cli.datasets.options import version_option
from ummp_assets.cli.terminal import answers, json_option, print_json, progress_bar

__all__ = ["export_command"]

_FORMATS = ("parquet", "webdataset", "mds", "jsonl", "croissant")
_SPLITS = ("train", "validation", "test")


@click.command("export")
@click.argument("name")
@version_option
@click.option(
    "--format",
    "format_name",
    type=click.Choice(_FORMATS),
    required=True,
    help="parquet: Hugging Face `datasets` loads it. webdataset: tars. mds: MosaicML Streaming. jsonl: a line a "
    "sample. croissant: Parquet and its description.",
)
@click.option("--to", "folder", type=click.Path(path_type=Path), required=True, help="A new folder, or an empty one.")
@click.option("--split", "splits", type=click.Choice(_SPLITS), multiple=True, help="Repeatable. Default: all.")
@click.option("--modality", type=click.Choice(("text", "image", "audio")), help="Default: all; each gets a folder.")
@click.option("--license", "license_url", metavar="URL", help="Licence of the samples, for croissant.")
@json_option
def export_command(
    name: str,
    version: int | None,
    format_name: str,
    folder: Path,
    splits: tuple[str, ...],
    modality: str | None,
    license_url: str | None,
    as_json: bool,
) -> None:
    """Write a version in another format, all its splits in one folder.

    \b
    ummp datasets export cats --format webdataset --to cats-v3 --version 3
    ummp datasets export cats --format croissant --license https://creativecommons.org/licenses/by/4.0/ --to cats

    The folder appears once everything is written; into an empty one, "." say, the finished files are moved.
    """
    from ummp_assets.datasets.exports.exporting import export_version
    from ummp_assets.datasets.reader import open_dataset

    if format_name == "croissant" and not license_url:
        raise click.UsageError("croissant needs --license, the address of the licence of the samples")
    first = open_dataset(name, version)
    kinds = [modality] if modality else sorted(first.version.columns)
    datasets = [
        open_dataset(name, first.version.version, split, modality=kind) for kind in kinds for split in splits or _SPLITS
    ]
    total = sum(len(dataset) for dataset in datasets)
    with progress_bar("rows") as on_progress:
        done = 0

        def add(rows: int) -> None:
            nonlocal done
            done += rows
            on_progress(done, total)

        files = export_version(datasets, format_name, folder, license_url=license_url, on_rows=add)
    report = {
        "name": name,
        "version": first.version.version,
        "format": format_name,
        "rows": total,
        "bytes": sum(path.stat().st_size for path in files),
        "files": [str(path) for path in files],
    }
    _print(report, folder, as_json)


def _print(report: dict[str, Any], folder: Path, as_json: bool) -> None:
    if as_json:
        print_json(report)
        return
    size = f"{report['bytes'] / 1e6:,.1f} MB in {len(report['files']):,} files"
    title = f"{report['name']} v{report['version']}"
    answers().print(f"{title}: {report['rows']:,} rows, {size} in {folder}", soft_wrap=True, markup=False)
