"""WebDataset tars: each sample's parts are files `<sample>.<part>` one after another.

The convention: https://github.com/webdataset/webdataset, "The WebDataset Format".
"""

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ummp_assets.datasets.exports.samples import OnRows, iter_samples
from ummp_assets.datasets.reader import Dataset

__all__ = ["export_webdataset", "sample_key"]

_DEFAULT_TAR_BYTES = 256 * 2**20


def export_webdataset(
    dataset: Dataset,
    folder: Path,
    *,
    lossless_images: str = "png",
    tar_bytes: int = _DEFAULT_TAR_BYTES,
    on_rows: OnRows | None = None,
) -> list[Path]:
    """Write `<split>-<n>.tar` files and return them, in order.

    Texts become `txt`, images `png` or `npy`, other arrays `<column>.npy`, and all other columns one `json`.

    Parameters
    ----------
    lossless_images:
        `png`, or `npy` for larger files that need no decoding.
    tar_bytes:
        A tar is complete once it has this size.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    samples = iter_samples(dataset, on_rows=on_rows)
    waiting = next(samples, None)
    while waiting is not None:
        files.append(folder / f"{dataset.split}-{len(files):05d}.tar")
        with tarfile.open(files[-1], "w") as tar:
            while waiting is not None and tar.offset < tar_bytes:
                _add(tar, waiting, lossless_images)
                waiting = next(samples, None)
    return files


def _add(tar: tarfile.TarFile, sample: dict[str, Any], lossless_images: str) -> None:
    for suffix, data in _parts(sample, lossless_images):
        member = tarfile.TarInfo(f"{sample_key(sample['sample_id'])}.{suffix}")
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))


def sample_key(sample_id: str) -> str:
    """Return what the names of a sample's files begin with: everything behind the first dot of one is its part.

    In the name of an archive's member dots and slashes are quoted, so that `a.b` and `a_b` stay two samples.

    >>> sample_key("ummp.requests.normal~0~17~page/2.txt")
    'ummp_requests_normal~0~17~page%2F2%2Etxt'
    """
    topic, partition, offset, *member = sample_id.split("~", 3)
    quoted = [name.replace("%", "%25").replace(".", "%2E").replace("/", "%2F") for name in member]
    return "~".join([topic.replace(".", "_"), partition, offset, *quoted])


def _parts(sample: dict[str, Any], lossless_images: str) -> Iterator[tuple[str, bytes]]:
    rest = {}
    for name, value in sample.items():
        if name == "image" and lossless_images == "png":
            yield "png", cv2.imencode(".png", value[:, :, ::-1])[1].tobytes()
        elif name == "text":
            yield "txt", value.encode()
        elif isinstance(value, np.ndarray) and value.size > 16:
            yield f"{name}.npy", _npy(value)
        else:
            rest[name] = value.tolist() if isinstance(value, np.ndarray) else value
    yield "json", json.dumps(rest, ensure_ascii=False).encode()


def _npy(value: "np.ndarray[Any, Any]") -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, value)
    return buffer.getvalue()
