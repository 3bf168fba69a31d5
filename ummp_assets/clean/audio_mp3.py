"""Counts the frames of MP3s of a variable bit rate that do not say how many they have: of these, libsndfile takes the
number from the bit rate of the first frame, and reads no further."""

import re
from collections.abc import Iterator

__all__ = ["frame_count_header"]

_ID3_BYTES = 10
# In kbit/s, of layer III of MPEG 1, and of MPEG 2 and 2.5 (ISO/IEC 11172-3, 2.4.2.3; 13818-3, 2.4.2.3).
_BIT_RATES = {
    3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_COUNTS = (b"Xing", b"Info", b"VBRI")
_MONO, _HAS_FRAMES = 3, 1
# 128 or 80 kbit/s: long enough for a header of any version and rate.
_HEADER_BIT_RATE = 9
_SYNC = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb]")
# More than that, and it is hardly sound.
_MAX_GAPS = 1_000


def frame_count_header(data: bytes | memoryview) -> tuple[bytes, int]:
    """Return a frame that tells how many follow, as Xing's and LAME's encoders write it, and where the first of them
    begins; no bytes and 0 where there is one already, or where all frames have the same bit rate."""
    start = _first_frame(data)
    first = bytes(data[start : start + 4])
    length = _frame_bytes(first)
    if not length or any(name in bytes(data[start : start + length]) for name in _COUNTS):
        return b"", 0
    bit_rates, count = set(), 0
    for header in _frames(data, start):
        bit_rates.add(header[2] >> 4)
        count += 1
    if len(bit_rates) < 2:
        return b"", 0
    version, is_mono = first[1] >> 3 & 3, first[3] >> 6 == _MONO
    side_bytes = (17 if is_mono else 32) if version == 3 else (9 if is_mono else 17)
    # Without a checksum and padding.
    header = bytes([first[0], first[1] | 1, _HEADER_BIT_RATE << 4 | first[2] & 0x0C, first[3]])
    told = b"Xing" + _HAS_FRAMES.to_bytes(4) + count.to_bytes(4)
    return (header + bytes(side_bytes) + told).ljust(_frame_bytes(header), b"\0"), start


def _first_frame(data: bytes | memoryview) -> int:
    """Return where the sound begins, behind a tag (ID3v2.4.0, section 3.1) if there is one."""
    if data[:3] != b"ID3" or len(data) < _ID3_BYTES:
        return 0
    size = data[6] << 21 | data[7] << 14 | data[8] << 7 | data[9]
    return _ID3_BYTES + size + (_ID3_BYTES if data[5] & 0x10 else 0)


def _frames(data: bytes | memoryview, position: int) -> Iterator[bytes]:
    """Yield the four bytes that each frame begins with; what is damaged in between is passed over."""
    gaps = 0
    while gaps < _MAX_GAPS and position < len(data):
        header = bytes(data[position : position + 4])
        if length := _frame_bytes(header):
            yield header
            position += length
            continue
        gaps += 1
        found = _SYNC.search(data, position + 1)
        position = found.start() if found else len(data)


def _frame_bytes(header: bytes) -> int:
    """Return the length of a frame of layer III, 0 for other bytes."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:
        return 0
    version, bit_rate, rate = header[1] >> 3 & 3, header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or not 0 < bit_rate < 15 or rate == 3:
        return 0
    bits = 144_000 if version == 3 else 72_000
    return bits * _BIT_RATES[version or 2][bit_rate] // _RATES_HZ[version][rate] + (header[2] >> 1 & 1)
