"""What the demo asks for: the sample content, and requests and messages that must fail in every known way."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ummp_assets.cli.demo.content import Sample, documents, photographs, sounds

__all__ = ["DATASETS", "DemoInput", "make_input"]

DATASETS = {"text": "documents", "image": "photographs", "audio": "sounds"}
"""The demo's dataset of each modality."""

_COPIES = 5
_TINY_PIXELS = 8
_SHORT_SECONDS = 0.02


@dataclass(frozen=True)
class DemoInput:
    """What is served and what is sent.

    Parameters
    ----------
    unsteady:
        Paths of samples that the server refuses at first.
    missing:
        Paths that are asked for and that the server does not have, by modality.
    unreadable:
        Values of messages that are no request.
    """

    samples: Mapping[str, tuple[Sample, ...]]
    unsteady: tuple[str, ...]
    missing: Mapping[str, str]
    unreadable: tuple[bytes | None, ...]

    def requests(self, root: str) -> list[dict[str, Any]]:
        """Return the requests for a server at the URL `root`."""
        return [
            {"uri": root + path, "dataset": DATASETS[modality], "attributes": {"collection": path.split("/")[0]}}
            for modality, samples in self.samples.items()
            for path in (*(sample.path for sample in samples), self.missing[modality])
        ]


def make_input(max_message_bytes: int) -> DemoInput:
    """Collect the sample content; raises `InvalidInput` without the extra `demo`."""
    pages, pictures, recordings = list(documents()), list(photographs()), list(sounds())
    return DemoInput(
        samples={
            "text": (*pages, *_copies(pages), Sample("documents/empty.txt", bytes)),
            "image": (*pictures, *_copies(pictures), _cut(pictures[0], 2_000), _tiny(pictures[0])),
            "audio": (*recordings, *_copies(recordings), _cut(recordings[2], 200), _short(recordings[0])),
        },
        unsteady=(pages[1].path,),
        missing={"text": "documents/gone.html", "image": "photographs/gone.jpg", "audio": "sounds/gone.ogg"},
        unreadable=_unreadable(max_message_bytes),
    )


def _copies(samples: list[Sample]) -> tuple[Sample, ...]:
    """Return the first samples again under other addresses: exact duplicates."""
    return tuple(Sample(sample.path.replace("/", "/copies/", 1), sample.read) for sample in samples[:_COPIES])


def _cut(sample: Sample, byte_count: int) -> Sample:
    """Return a sample of which only the beginning is left."""
    return Sample(sample.path.replace("/", "/cut/", 1), lambda: sample.read()[:byte_count])


def _tiny(photograph: Sample) -> Sample:
    def shrink() -> bytes:
        import cv2
        import numpy as np

        pixels = np.asarray(cv2.imdecode(np.frombuffer(photograph.read(), np.uint8), cv2.IMREAD_COLOR))
        icon = cv2.resize(pixels, (_TINY_PIXELS, _TINY_PIXELS), interpolation=cv2.INTER_AREA)
        return bytes(cv2.imencode(".png", icon)[1])

    return Sample("photographs/icon.png", shrink)


def _short(recording: Sample) -> Sample:
    def shorten() -> bytes:
        import soundfile

        waveform, rate = soundfile.read(io.BytesIO(recording.read()))
        file = io.BytesIO()
        soundfile.write(file, waveform[: int(_SHORT_SECONDS * rate)], rate, format="wav")
        return file.getvalue()

    return Sample("sounds/click.wav", shorten)


def _unreadable(max_message_bytes: int) -> tuple[bytes | None, ...]:
    request = {"schema": "ummp.request/1", "dataset": "documents", "uri": "https://example.org/"}
    return (
        None,
        b"collect https://example.org/ please",
        json.dumps({**request, "schema": "ummp.request/9"}).encode(),
        json.dumps({**request, "dataset": "Not A Name!"}).encode(),
        json.dumps({name: value for name, value in request.items() if name != "uri"}).encode(),
        json.dumps({**request, "attributes": {"note": "too long " * (max_message_bytes // 9)}}).encode(),
    )
