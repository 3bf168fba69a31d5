"""JSON Lines: one object a sample; pictures as base64 of PNG, other arrays as lists of numbers."""

import base64
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ummp_assets.datasets.exports.samples import OnRows, iter_samples
from ummp_assets.datasets.reader import Dataset

__all__ = ["export_jsonl"]


def export_jsonl(dataset: Dataset, folder: Path, *, on_rows: OnRows | None = None) -> list[Path]:
    """Write `<split>.jsonl` and return it; labels and attributes stand as JSON, not as strings of it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{dataset.split}.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for sample in iter_samples(dataset, on_rows=on_rows):
            file.write(json.dumps({name: _plain(name, value) for name, value in sample.items()}, ensure_ascii=False))
            file.write("\n")
    return [path]


def _plain(name: str, value: Any) -> Any:
    if name == "image":
        return base64.b64encode(cv2.imencode(".png", value[:, :, ::-1])[1].tobytes()).decode()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if name in ("label", "attributes") and value is not None:
        return json.loads(value)
    return value
