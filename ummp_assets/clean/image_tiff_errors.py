"""What libtiff says of damage, which Pillow does not pass on, and which would otherwise go to standard error."""

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from PIL import _imaging

from ummp_assets.clean.refusals import Refusal
from ummp_assets.reasons import Reason

__all__ = ["TiffErrors", "tiff_errors"]

# TIFFErrorHandler of tiffio.h: module, printf format, va_list, which is handed over by its address.
_Handler = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
# These read metadata; a picture without its date or software is whole.
_DIRECTORY_MODULES = (
    b"TIFFFetch",
    b"TIFFReadDirectory",
    b"TIFFReadCustomDirectory",
    b"TIFFCheckDir",
    b"_TIFFVSetField",
)
_NOT_BUILT_IN = "not configured"
_MAX_TEXT_BYTES = 200


class TiffErrors:
    """What was said while one picture was decoded.

    Parameters
    ----------
    refusal:
        Why the picture is not to be used, or None.
    """

    def __init__(self) -> None:
        self.refusal: Refusal | None = None

    def add(self, module: bytes, text: bytes) -> None:
        """Judge one error, by the function of libtiff that it is of and its text."""
        said = text.decode(errors="replace")
        if _NOT_BUILT_IN in said:
            self.refusal = Refusal(Reason.UNSUPPORTED_IMAGE, "the tiff data are compressed in a way that is not read")
        elif self.refusal is None and not module.startswith(_DIRECTORY_MODULES):
            self.refusal = Refusal(Reason.CORRUPT_IMAGE, f"the tiff data cannot be decoded: {said}")


_decoding = threading.local()


@contextmanager
def tiff_errors() -> Iterator[TiffErrors]:
    """Collect what libtiff says to this thread: of damaged YCbCr and fax, Pillow gives out what there is as if it were
    whole. What it raises over other damage goes through; nothing is collected where Pillow lacks libtiff."""
    _install_handler()
    _decoding.errors = errors = TiffErrors()
    try:
        yield errors
    finally:
        _decoding.errors = None


def _handle(module: bytes | None, text_format: bytes | None, values: int | None) -> None:
    errors = getattr(_decoding, "errors", None)
    if errors is not None:
        text = ctypes.create_string_buffer(_MAX_TEXT_BYTES)
        ctypes.pythonapi.PyOS_vsnprintf(text, ctypes.c_size_t(len(text)), text_format or b"", ctypes.c_void_p(values))
        errors.add(module or b"", text.value)


_C_HANDLER = _Handler(_handle)


@lru_cache(maxsize=1)
def _install_handler() -> None:
    """Have libtiff call `_handle`, from now on and in the whole process: others may be decoding at any time."""
    try:
        # Symbols are also looked for in what a library was linked with, wherever that is.
        set_handler = ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler
    except (AttributeError, OSError):
        return
    set_handler.restype = ctypes.c_void_p
    set_handler(_C_HANDLER)
