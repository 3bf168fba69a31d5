"""A Croissant description of a Parquet export: what the files are, with their hashes, and what their columns mean.

Specification: Croissant Format 1.0, https://docs.mlcommons.org/croissant/docs/croissant-spec.html.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from ummp_assets.datasets.exports.samples import shape_of
from ummp_assets.datasets.reader import Dataset
from ummp_assets.storage.stages import hash_file

__all__ = ["describe_export"]

_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_TYPES = {"string": "sc:Text", "bool": "sc:Boolean", "float": "sc:Float", "double": "sc:Float"}


def describe_export(
    parts: Sequence[tuple[Dataset, Sequence[Path]]],
    folder: Path,
    *,
    license_url: str,
    description: str | None = None,
) -> Path:
    """Write `croissant.json` beside the files of `export_parquet` and return it.

    Parameters
    ----------
    parts:
        Splits of one version, each with what `export_parquet` returned for it, all below `folder`.
    license_url:
        Address of the licence under which the samples may be used.
    """
    version = parts[0][0].version
    files = [path for _, paths in parts for path in paths]
    document = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": version.dataset,
        "description": description or f"Version {version.version} of the training dataset {version.dataset}.",
        "version": f"{version.version}.0.0",
        "license": license_url,
        "url": f"urn:sha256:{version.sha256}",
        "datePublished": _date_of(files),
        "citeAs": f"{version.dataset}, version {version.version}, sha256 {version.sha256}",
        "distribution": [_file(path, folder) for path in files],
        "recordSet": [_records(dataset, path, folder) for dataset, paths in parts for path in paths],
    }
    target = folder / "croissant.json"
    target.write_text(json.dumps(document, indent=1, ensure_ascii=False), encoding="utf-8")
    return target


def _date_of(files: Sequence[Path]) -> str:
    newest = max((path.stat().st_mtime for path in files), default=0.0)
    return datetime.fromtimestamp(newest, UTC).date().isoformat()


def _file(path: Path, folder: Path) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": path.name,
        "name": path.name,
        "contentUrl": path.relative_to(folder).as_posix(),
        "contentSize": f"{path.stat().st_size} B",
        "encodingFormat": "application/x-parquet",
        "sha256": hash_file(path),
    }


def _records(dataset: Dataset, path: Path, folder: Path) -> dict[str, Any]:
    name = path.stem
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": f"Samples of the split {dataset.split} in {path.relative_to(folder).as_posix()}.",
        "field": [_field(name, path.name, field) for field in dataset.schema],
    }


def _field(records: str, file: str, field: pa.Field) -> dict[str, Any]:
    array = shape_of(field)
    kind = _TYPES.get(str(field.type), "sc:Integer")
    if array is not None:
        picture = array[1] is not None and array[1][2:] == (3,)
        kind = "sc:ImageObject" if picture else "sc:Float" if array[0].startswith("float") else "sc:Integer"
    described: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"{records}/{field.name}",
        "name": field.name,
        "description": f"Column {field.name}, {field.type}.",
        "dataType": kind,
        "source": {"fileObject": {"@id": file}, "extract": {"column": field.name}},
    }
    if array is not None and kind != "sc:ImageObject":
        described["repeated"] = True
    return described
