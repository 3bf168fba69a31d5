"""The pictures for people are small, readable PNG files that show what they should."""

import io
from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from ummp_assets.features.pictures import contact_sheet, spectrogram_picture


def opened(png: bytes) -> npt.NDArray[np.uint8]:
    picture = Image.open(io.BytesIO(png))
    assert picture.format == "PNG"
    return np.asarray(picture.convert("RGB"))


def flat(colour: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    return np.full((256, 256, 3), colour, np.uint8)


def test_images_stand_in_rows_in_their_order() -> None:
    colours = [(25 * number, 255 - 25 * number, 90) for number in range(10)]
    sheet = opened(contact_sheet((flat(colour) for colour in colours), columns=4, side_pixels=32))
    assert sheet.shape == (3 * 34 - 2, 4 * 34 - 2, 3)
    for number, colour in enumerate(colours):
        row, column = divmod(number, 4)
        assert (sheet[row * 34 + 16, column * 34 + 16] == colour).all()
    assert (sheet[2 * 34 + 16, 3 * 34 + 16] == 255).all()


def test_only_four_rows_are_taken() -> None:
    taken = 0

    def images() -> Iterator[npt.NDArray[np.uint8]]:
        nonlocal taken
        while True:
            taken += 1
            yield flat((1, 2, 3))

    sheet = opened(contact_sheet(images(), columns=3, side_pixels=16))
    assert sheet.shape[0] == 4 * 18 - 2
    assert taken == 12


def test_fewer_images_than_columns_make_a_narrow_sheet() -> None:
    assert opened(contact_sheet([flat((9, 9, 9))] * 2)).shape == (96, 194, 3)


def test_a_sheet_of_noise_stays_below_100_kilobytes() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (32, 256, 256, 3), dtype=np.uint8)
    png = contact_sheet(noise)
    assert len(png) < 100_000
    assert opened(png).shape[1] > 100


def test_no_image_makes_no_sheet() -> None:
    with pytest.raises(ValueError, match="at least one image"):
        contact_sheet([])


def test_low_frequencies_are_at_the_bottom_and_loud_is_bright() -> None:
    log_mel = np.full((80, 300), -1.0, np.float32)
    log_mel[:20, 150:] = 1.0
    picture = opened(spectrogram_picture(log_mel))
    assert picture.shape == (160, 300, 3)
    viridis = cv2.applyColorMap(np.array([[0, 255]], np.uint8), cv2.COLORMAP_VIRIDIS)[0, :, ::-1]
    assert (picture[10, 290] == viridis[0]).all()
    assert (picture[150, 10] == viridis[0]).all()
    assert (picture[150, 290] == viridis[1]).all()


@pytest.mark.parametrize("frames", [1, 50, 700, 60_000])
def test_every_length_makes_a_small_picture(frames: int) -> None:
    log_mel = np.random.default_rng(1).random((80, frames), np.float32)
    png = spectrogram_picture(log_mel)
    assert len(png) < 100_000
    assert 160 <= opened(png).shape[1] <= 600


def test_silence_has_one_colour() -> None:
    picture = opened(spectrogram_picture(np.full((80, 100), -1.5, np.float32)))
    assert (picture == picture[0, 0]).all()
