"""Real photographs and sounds that packages of the `demo` extra ship, read as files."""

from importlib.util import find_spec
from pathlib import Path

__all__ = ["photograph", "picture_paths", "sound", "sound_paths"]


def photograph(name: str) -> bytes:
    """Return a file of scikit-image's data folder, e.g. `astronaut.png`, `rocket.jpg`."""
    return (_package("skimage") / "data" / name).read_bytes()


def sound(name: str) -> bytes:
    """Return a file of pygame-ce's examples, e.g. `house_lo.ogg`."""
    return (_package("pygame") / "examples" / "data" / name).read_bytes()


def picture_paths() -> list[Path]:
    """Return the pictures of both packages, in order of their names."""
    folders = [_package("skimage") / "data", _package("pygame") / "examples" / "data"]
    return sorted(
        path for folder in folders for path in folder.iterdir() if path.suffix in (".png", ".jpg", ".gif", ".tif")
    )


def sound_paths() -> list[Path]:
    """Return pygame-ce's example sounds, in order of their names."""
    folder = _package("pygame") / "examples" / "data"
    return sorted(path for path in folder.iterdir() if path.suffix in (".wav", ".ogg", ".mp3"))


def _package(name: str) -> Path:
    found = find_spec(name)
    assert found is not None, f"{name} is not installed: it comes with the extra `demo`"
    assert found.origin is not None
    return Path(found.origin).parent
