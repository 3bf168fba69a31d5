"""The sample content: files that installed packages carry, read when they are asked for.

Documents are pages that pydoc makes of the standard library, the manual of pygame-ce, and the read-me and licence texts
of every installed package. Photographs are those of scikit-image, whole and cut into details. Sounds are those of
pygame-ce, whole and as excerpts in several formats. The two packages come with the extra `demo`; neither is imported.
"""

import importlib
import io
import pydoc
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from itertools import islice, product
from pathlib import Path
from typing import Any

from ummp_assets.errors import InvalidInput

__all__ = ["Sample", "documents", "photographs", "sounds"]

_MODULES = (
    "base64 bisect calendar cmath contextlib copy csv difflib fractions functools glob gzip hashlib heapq html "
    "itertools json lzma math mimetypes operator pprint queue random sched secrets shelve shlex shutil statistics "
    "string struct textwrap timeit uuid warnings weakref zlib"
)
_PYDOC_LOCK = threading.Lock()
_MIN_README_CHARACTERS = 800
_MAX_READMES = 80
_MAX_LICENCES = 60
_PHOTOGRAPHS = (
    "astronaut.png brick.png camera.png cell.png chelsea.png clock_motion.png coffee.png coins.png grass.png "
    "gravel.png horse.png hubble_deep_field.jpg ihc.png moon.png motorcycle_left.png motorcycle_right.png "
    "retina.jpg rocket.jpg text.png"
)
_DETAIL_PIXELS = 224
_MAX_DETAILS = 4
_SOUNDS = (
    "boom.wav car_door.wav house_lo.flac house_lo.mp3 house_lo.ogg house_lo.wav punch.wav secosmic_lo.wav whiff.wav"
)
_EXCERPTED = "house_lo.wav secosmic_lo.wav boom.wav"
_EXCERPT_SECONDS = (0.5, 0.8)
_EXCERPT_FORMATS = ("wav", "flac", "ogg")
_MEDIA_TYPES = {
    ".flac": "audio/flac",
    ".html": "text/html; charset=utf-8",
    ".jpg": "image/jpeg",
    ".md": "text/markdown; charset=utf-8",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
    ".png": "image/png",
    ".txt": "text/plain; charset=utf-8",
    ".wav": "audio/wav",
}


@dataclass(frozen=True, slots=True)
class Sample:
    """A file to be served; `path` is relative to the server's root."""

    path: str
    read: Callable[[], bytes]

    @property
    def media_type(self) -> str:
        return _MEDIA_TYPES[Path(self.path).suffix]


def documents() -> Iterator[Sample]:
    """Yield documents in HTML, Markdown and plain text; raises `InvalidInput` without the extra `demo`."""
    for name in _MODULES.split():
        yield Sample(f"documents/python/{name}.html", partial(_pydoc_page, name))
    manual = _package_folder("pygame") / "docs" / "generated"
    for file in sorted(manual.rglob("*.html")):
        yield Sample(f"documents/manual/{file.relative_to(manual).as_posix()}", file.read_bytes)
    packages = sorted(metadata.distributions(), key=lambda package: package.name.lower())
    yield from islice((sample for package in packages for sample in _readme(package)), _MAX_READMES)
    yield from islice((sample for package in packages for sample in _licences(package)), _MAX_LICENCES)


def photographs() -> Iterator[Sample]:
    """Yield photographs and details of them; raises `InvalidInput` without the extra `demo`."""
    folder = _package_folder("skimage") / "data"
    for name in _PHOTOGRAPHS.split():
        yield Sample(f"photographs/{name}", (folder / name).read_bytes)
        yield from _details(folder / name)


def sounds() -> Iterator[Sample]:
    """Yield recordings and excerpts of them; raises `InvalidInput` without the extra `demo`."""
    folder = _package_folder("pygame") / "examples" / "data"
    for name in _SOUNDS.split():
        yield Sample(f"sounds/{name}", (folder / name).read_bytes)
    for name in _EXCERPTED.split():
        yield from _excerpts(folder / name)


def _package_folder(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise InvalidInput("the sample content is not installed: pip install 'ummp-assets[demo]'")
    return Path(spec.submodule_search_locations[0])


def _pydoc_page(module: str) -> bytes:
    html = pydoc.HTMLDoc()
    # pydoc parses source code, which Python 3.11 cannot do in several threads at once.
    with _PYDOC_LOCK:
        return html.page(module, html.document(importlib.import_module(module), module)).encode()


def _readme(package: metadata.Distribution) -> Iterator[Sample]:
    text = package.metadata.json.get("description") or ""
    if isinstance(text, str) and len(text) >= _MIN_README_CHARACTERS:
        yield Sample(f"documents/readme/{package.name}.md", partial(text.encode, "utf-8", "replace"))


def _licences(package: metadata.Distribution) -> Iterator[Sample]:
    for file in package.files or ():
        path = Path(str(file.locate()))
        if "licen" in file.name.lower() and file.suffix in ("", ".txt", ".md") and path.is_file():
            name = "-".join([package.name, *file.parent.parts[1:], file.stem])
            yield Sample(f"documents/licence/{name}.txt", path.read_bytes)


def _details(file: Path) -> Iterator[Sample]:
    import cv2

    image = cv2.imread(str(file), cv2.IMREAD_COLOR)
    if image is None:
        raise InvalidInput(f"{file} cannot be decoded: install the extra `demo` again")
    side = _DETAIL_PIXELS
    tops, lefts = (range(0, length - side + 1, side) for length in image.shape[:2])
    for number, (top, left) in enumerate(islice(product(tops, lefts), _MAX_DETAILS), 1):
        detail = image[top : top + side, left : left + side]
        yield Sample(f"photographs/details/{file.stem}-{number}.jpg", partial(_encode_jpeg, detail))


def _encode_jpeg(pixels: Any) -> bytes:
    import cv2

    return bytes(cv2.imencode(".jpg", pixels)[1])


def _excerpts(file: Path) -> Iterator[Sample]:
    import soundfile

    waveform, rate = soundfile.read(file)
    for seconds in _EXCERPT_SECONDS:
        frames = int(seconds * rate)
        for number in range(len(waveform) // frames):
            kind = _EXCERPT_FORMATS[number % len(_EXCERPT_FORMATS)]
            excerpt = waveform[number * frames : (number + 1) * frames]
            path = f"sounds/excerpts/{file.stem}-{seconds}s-{number + 1:02d}.{kind}"
            yield Sample(path, partial(_encode_sound, excerpt, rate, kind))


def _encode_sound(waveform: Any, rate: int, kind: str) -> bytes:
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, waveform, rate, format=kind)
    return file.getvalue()
