"""Batches as what models take: normalised images, packed token sequences, padded log-mel spectrograms, all NumPy.

The framework adapters only wrap these arrays, so that PyTorch, TensorFlow and JAX see the same numbers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ummp_assets.datasets.following import FollowStream
from ummp_assets.datasets.stream import BatchStream
from ummp_assets.errors import InvalidInput

__all__ = ["InputOptions", "InputStream", "normalise_images", "pad_spectrograms"]

Arrays = dict[str, Any]

_PADDING = -1


@dataclass(frozen=True, slots=True)
class InputOptions:
    """How samples become arrays.

    Parameters
    ----------
    sequence_tokens:
        Length of the packed token sequences, at least 1.
    image_mean, image_std:
        What is subtracted from R, G and B, scaled to 0-1, and what the rest is divided by. The defaults are
        ImageNet's, which most published models expect.
    """

    sequence_tokens: int = 1_024
    image_mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    image_std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        if self.sequence_tokens < 1:
            raise InvalidInput(f"sequence_tokens is {self.sequence_tokens}: at least 1")
        if min(self.image_std) <= 0:
            raise InvalidInput(f"image_std is {self.image_std}: above 0")


class InputStream:
    """Model inputs of one part of one epoch; resumable, tokens that wait for their sequence included.

    Each item is a dictionary of arrays: for images `image` (float32, rows x 3 x height x width); for texts `token_ids`
    and `document` (int64 and int32, sequences x sequence_tokens), where `document` numbers the texts inside a sequence
    and is -1 in the padding of an epoch's last one; for sounds `log_mel` (float32, rows x mel_bins x frames, padded
    with its least value) and `frames` (int64). `sample_id` and `label` are lists, but for packed texts.
    """

    def __init__(self, batches: BatchStream | FollowStream, options: InputOptions | None = None) -> None:
        self._batches = batches
        self._options = options or InputOptions()
        self._tokens: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self._documents: npt.NDArray[np.int32] = np.empty(0, np.int32)

    def state_dict(self) -> dict[str, Any]:
        """Return where the stream stands: plain values, to be kept in a checkpoint."""
        return {
            "batches": self._batches.state_dict(),
            "tokens": self._tokens.tolist(),
            "documents": self._documents.tolist(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after the last item that was given; raises `InvalidInput` for a state of another stream."""
        self._batches.load_state_dict(state["batches"])
        self._tokens = np.array(state["tokens"], np.int64)
        self._documents = np.array(state["documents"], np.int32)

    def set_epoch(self, epoch: int) -> None:
        """Start an epoch from its beginning; raises `InvalidInput` for a stream that follows, which has no epochs."""
        if isinstance(self._batches, FollowStream):
            raise InvalidInput("a stream that follows has no epochs")
        self._batches.set_epoch(epoch)
        self._tokens, self._documents = self._tokens[:0], self._documents[:0]

    def __iter__(self) -> Iterator[Arrays]:
        """Yield what is left of the epoch; raises `ManifestCorrupt` when a shard is missing or damaged."""
        for rows in self._batches:
            names = rows.schema.names
            if "token_ids" in names:
                yield from self._pack(rows.column("token_ids"))
            elif "image" in names:
                images = normalise_images(rows.column("image").to_numpy_ndarray(), self._options)
                yield {"image": images, **_identity(rows)}
            elif "log_mel" in names:
                yield {**pad_spectrograms(rows.column("log_mel"), rows.column("frames")), **_identity(rows)}
            else:
                raise InvalidInput(f"none of token_ids, image and log_mel is among the columns {', '.join(names)}")
        yield from self._last()

    def _pack(self, texts: pa.Array) -> Iterator[Arrays]:
        """Yield the sequences that are full, and keep the tokens that are left."""
        lengths = np.diff(texts.offsets.to_numpy())
        begin, end = texts.offsets[0].as_py(), texts.offsets[-1].as_py()
        tokens = texts.values.to_numpy()[begin:end].astype(np.int64)
        first = int(self._documents[-1]) + 1 if len(self._documents) else 0
        self._tokens = np.concatenate([self._tokens, tokens])
        numbers = np.repeat(np.arange(first, first + len(lengths), dtype=np.int32), lengths)
        self._documents = np.concatenate([self._documents, numbers])
        size = self._options.sequence_tokens
        full = len(self._tokens) // size * size
        if full:
            item = _sequences(self._tokens[:full], self._documents[:full], size)
            self._tokens, self._documents = self._tokens[full:], self._documents[full:]
            yield item

    def _last(self) -> Iterator[Arrays]:
        if len(self._tokens):
            missing = self._options.sequence_tokens - len(self._tokens)
            tokens = np.pad(self._tokens, (0, missing))
            documents = np.pad(self._documents, (0, missing), constant_values=_PADDING)
            self._tokens, self._documents = self._tokens[:0], self._documents[:0]
            yield _sequences(tokens, documents, self._options.sequence_tokens)


def normalise_images(images: npt.NDArray[np.uint8], options: InputOptions) -> npt.NDArray[np.float32]:
    """Return images of shape (rows, height, width, 3), 0 to 255, as (rows, 3, height, width), scaled and centred."""
    std = np.array(options.image_std, np.float32)
    scale, shift = 1 / (255 * std), np.array(options.image_mean, np.float32) / std
    rows, height, width, channels = images.shape
    # One plane after another in the cache: 5,300 images of 256 x 256 a second, all at once 700. Arrow's allocator gives
    # memory of earlier batches again.
    buffer = pa.allocate_buffer(4 * images.size)
    centred = np.frombuffer(buffer, np.float32).reshape(rows, channels, height, width)
    for image, planes in zip(images, centred, strict=True):
        for channel in range(channels):
            np.copyto(planes[channel], image[:, :, channel])
            planes[channel] *= scale[channel]
            planes[channel] -= shift[channel]
    return centred


def pad_spectrograms(log_mel: pa.Array, frames: pa.Array) -> Arrays:
    """Return flattened spectrograms as one array (rows, mel_bins, most frames), and how many frames each has."""
    lengths = [int(length) for length in frames.to_pylist()]
    flat = [np.asarray(item.values, np.float32) for item in log_mel]
    values = [value.reshape(-1, length) for value, length in zip(flat, lengths, strict=True)]
    bins = values[0].shape[0] if values else 0
    least = min((float(value.min()) for value in values if value.size), default=0.0)
    padded = np.full((len(values), bins, max(lengths, default=0)), least, np.float32)
    for position, value in enumerate(values):
        padded[position, :, : value.shape[1]] = value
    return {"log_mel": padded, "frames": np.array(lengths, np.int64)}


def _sequences(tokens: npt.NDArray[np.int64], documents: npt.NDArray[np.int32], size: int) -> Arrays:
    numbers = documents.reshape(-1, size)
    # Counted from 0 in each sequence, so that an item says the same wherever the epoch was interrupted.
    relative = np.where(numbers == _PADDING, _PADDING, numbers - numbers[:, :1])
    return {"token_ids": tokens.reshape(-1, size), "document": relative.astype(np.int32)}


def _identity(rows: pa.RecordBatch) -> Arrays:
    return {name: rows.column(name).to_pylist() for name in ("sample_id", "label") if name in rows.schema.names}
