"""Archives and tables that break what reads them: their own samples are dead, the rest of the batch is not."""

import gzip
import io
import json
import lzma
import resource
import struct
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ummp_assets.errors import StoreUnavailable
from ummp_assets.fetch.stage import download
from ummp_assets.settings import Settings, UnpackSettings
from ummp_assets.storage.index import Index
from ummp_assets.storage.objects import ObjectStore
from ummp_assets_tests.fetch.batches import BATCH, commit_requests
from ummp_assets_tests.fetch.conftest import Fetch


def _tar(*entries: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for entry, content in entries:
            entry.size = entry.size or len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _entry(name: str, **fields: object) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(entry, field, value)
    return entry


def _zip(*files: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files:
            archive.writestr(zipfile.ZipInfo(name), content, compress_type=method)
    return buffer.getvalue()


def _parquet(**columns: object) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def _damaged_lzma() -> bytes:
    data = bytearray(_zip(("a.txt", b"hello world " * 50), ("b.txt", b"fine" * 9), method=zipfile.ZIP_LZMA))
    start = data.index(b"a.txt") + len(b"a.txt") + 15
    data[start] ^= 0xFF
    with pytest.raises(lzma.LZMAError):
        zipfile.ZipFile(io.BytesIO(data)).read("a.txt")
    return bytes(data)


def _no_utf8() -> pa.StringArray:
    ends = pa.array([0, 2, 4], pa.int32()).buffers()[1]
    return pa.Array.from_buffers(pa.string(), 2, [None, ends, pa.py_buffer(b"\xff\xfeok")])


TEXTS = ["a", "b"]
LONE = "\\ud800"
# What a file holds -> names and contents of its samples, and the reasons of the others.
HOSTILE: dict[str, tuple[bytes, dict[str, bytes], dict[str, str]]] = {
    "latin1_name.tar": (
        _tar((_entry("caf\udce9.txt"), b"x"), form=tarfile.GNU_FORMAT),
        {"caf\\udce9.txt": b"x"},
        {},
    ),
    "nul_in_name.tar": (
        _tar((_entry("plain", pax_headers={"path": "a\0b.txt"}), b"x")),
        {"a\\x00b.txt": b"x"},
        {},
    ),
    "surrogates.jsonl": (
        f'{{"text": "a", "uri": "http://{LONE}", "label": "{LONE}", "n": "{LONE}"}}\n{{"text": "b"}}'.encode(),
        {"0": b"a", "1": b"b"},
        {},
    ),
    "no_finite_numbers.jsonl": (b'{"text": "a", "n": [NaN, {"m": -Infinity}]}', {"0": b"a"}, {}),
    "nested.jsonl": (
        b'{"text": "a", "n": ' + b"[" * 5_000 + b"]" * 5_000 + b'}\n{"text": "b"}',
        {"1": b"b"},
        {"0": "corrupt_member"},
    ),
    "millions_of_objects.jsonl": (
        b'{"text": "a", "n": [' + b"{}," * 1_000_000 + b'{}]}\n{"text": "b"}',
        {"1": b"b"},
        {"0": "corrupt_member"},
    ),
    "year_150000.parquet": (
        _parquet(text=TEXTS, time=pa.array([2**62, 1], pa.timestamp("us"))),
        {"1": b"b"},
        {"0": "corrupt_member"},
    ),
    "no_time_zone.parquet": (
        _parquet(text=TEXTS, time=pa.array([1, None], pa.timestamp("us", tz="No/Where"))),
        {"1": b"b"},
        {"0": "corrupt_member"},
    ),
    "no_utf8.parquet": (_parquet(text=TEXTS, other=_no_utf8()), {"1": b"b"}, {"0": "corrupt_member"}),
    "no_name.zip": (_zip(("", b"x"), ("b.txt", b"x")), {"": b"x", "b.txt": b"x"}, {}),
    "no_utf8_column.parquet": (
        _parquet(text=TEXTS, éé=TEXTS).replace("\u00e9\u00e9".encode(), b"\xc3\xc3\xc3\xc3"),
        {},
        {"": "corrupt_archive"},
    ),
    "damaged_lzma.zip": (_damaged_lzma(), {"b.txt": b"fine" * 9}, {"a.txt": "corrupt_member"}),
    "endless_length.warc": (
        b"WARC/1.0\r\nWARC-Type: resource\r\nContent-Length: " + b"9" * 5_000 + b"\r\n\r\nx",
        {},
        {"": "corrupt_archive"},
    ),
    "damaged_header.tar": (
        _tar((_entry("a.txt"), b"x"), (_entry("b.txt"), b"x")).replace(b"b.txt", b"c.txt"),
        {"a.txt": b"x"},
        {"": "corrupt_archive"},
    ),
    "cut_off_in_a_header.tar": (
        _tar((_entry("a.txt"), b"x"), (_entry("b.txt"), b"x"))[:1_400],
        {"a.txt": b"x"},
        {"": "corrupt_archive"},
    ),
    "long_header.tar": (
        _tar((_entry("a.txt"), b"x"), (_entry("b.txt", pax_headers={"comment": "x" * 2_000_000}), b"x")),
        {"a.txt": b"x"},
        {"": "corrupt_archive"},
    ),
    "chained_headers.tar": (
        _tar((_entry("a.txt"), b"x"))[:1_024]
        + _tar((_entry("b.txt", pax_headers={"comment": "x"}), b"x"))[:1_024] * 2_000,
        {"a.txt": b"x"},
        {"": "corrupt_archive"},
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file_leaves_the_rest_of_its_batch(name: str, fetch: Fetch, tmp_path: Path) -> None:
    data, good, bad = HOSTILE[name]
    (tmp_path / name).write_bytes(data)
    (tmp_path / "good.txt").write_bytes(b"good")
    uris = [(tmp_path / file).as_uri() for file in (name, "good.txt")]
    samples, outcomes = fetch(*uris, allowed_roots=(str(tmp_path),), inline_bytes=5_000_000)
    assert {row["sample_id"].split("~", 3)[3]: row["content"] for row in samples[:-1]} == good
    assert samples[-1]["content"] == b"good"
    assert {offset.partition("~")[2]: reason for offset, reason in outcomes} == bad
    for row in samples[:-1]:
        json.loads(row["attributes"] or "0", parse_constant=pytest.fail)
        assert "\0" not in row["uri"] + row["sample_id"]


def test_long_names_are_shortened_and_stay_apart(fetch: Fetch, tmp_path: Path) -> None:
    names = ["x" * 5_000 + last for last in ("1.txt", "2.txt")]
    (tmp_path / "a.zip").write_bytes(_zip(*((name, name[-5:].encode()) for name in names)))
    samples, outcomes = fetch((tmp_path / "a.zip").as_uri(), allowed_roots=(str(tmp_path),))
    assert outcomes == []
    assert [row["content"] for row in samples] == [b"1.txt", b"2.txt"]
    assert len({row["sample_id"] for row in samples}) == 2
    assert all(len(row["sample_id"]) < 1_200 for row in samples)


def test_members_of_one_name_get_numbers(fetch: Fetch, tmp_path: Path) -> None:
    files = [("a.txt", b"1"), ("b.txt", b"2"), ("a.txt#2", b"3"), ("c.txt", b"4")]
    data = _zip(*files).replace(b"b.txt", b"a.txt").replace(b"c.txt", b"a.txt")
    (tmp_path / "a.zip").write_bytes(data)
    samples, _ = fetch((tmp_path / "a.zip").as_uri(), allowed_roots=(str(tmp_path),))
    names = {row["sample_id"].split("~", 3)[3]: row["content"] for row in samples}
    assert names == {"a.txt": b"1", "a.txt#2": b"2", "a.txt#2#2": b"3", "a.txt#3": b"4"}


def test_holes_of_a_sparse_member_count_as_bytes(fetch: Fetch, tmp_path: Path) -> None:
    header = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": "s",
        "GNU.sparse.realsize": "3000000",
    }
    map_block = b"1\n0\n0\n".ljust(512, b"\0")
    members = [(_entry(f"s{n}", pax_headers={**header, "GNU.sparse.name": f"s{n}"}), map_block) for n in range(5)]
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(_tar(*members)))
    unpack = UnpackSettings(max_total_bytes=8_000_000, max_ratio=1e9)
    _, outcomes = fetch((tmp_path / "a.tar.gz").as_uri(), allowed_roots=(str(tmp_path),), unpack=unpack)
    assert outcomes[-1] == ("0", "archive_too_large")
    assert len(outcomes) == 3


def test_zip_directory_that_is_longer_than_it_says_is_not_read(fetch: Fetch, tmp_path: Path) -> None:
    data = bytearray(_zip(*((f"{n}.txt", b"x") for n in range(200))))
    struct.pack_into("<HH", data, data.rindex(b"PK\x05\x06") + 8, 1, 1)
    (tmp_path / "a.zip").write_bytes(data)
    rules = UnpackSettings(max_members=100)
    samples, outcomes = fetch((tmp_path / "a.zip").as_uri(), allowed_roots=(str(tmp_path),), unpack=rules)
    assert (samples, outcomes) == ([], [("0", "archive_too_large")])


def test_full_disk_while_a_zip_is_unpacked_fails_the_run_and_not_its_members(
    store: ObjectStore, index: Index, settings: Settings, tmp_path: Path
) -> None:
    """A limit on the size of files stands for the full disk: the same error, at the same call."""
    (tmp_path / "a.zip").write_bytes(_zip(("zeros.bin", b"\0" * 3_000_000), method=zipfile.ZIP_DEFLATED))
    commit_requests(store, [(tmp_path / "a.zip").as_uri()])
    rules = settings.fetch.model_copy(
        update={"allowed_roots": (str(tmp_path),), "unpack": UnpackSettings(max_ratio=1e6)}
    )
    own = settings.model_copy(update={"fetch": rules})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        with pytest.raises(StoreUnavailable):
            download(store, index, own, BATCH)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("bom.csv", b"\xef\xbb\xbftext,n\nfirst,1\nsecond,2\n"),
        ("bom.jsonl", b'\xef\xbb\xbf{"text": "first"}\n{"text": "second"}\n'),
        ("semicolons.csv", b"text;label\nfirst;1\nsecond;2\n"),
        ("tabs.tsv", b"text\tlabel\nfirst\t1\nsecond\t2\n"),
        # Served with Content-Encoding: gzip, and so undone on the way.
        ("undone.jsonl.gz", b'{"text": "first"}\n{"text": "second"}\n'),
        ("garbage.jsonl.gz", gzip.compress(b'{"text": "first"}\n{"text": "second"}\n') + b"garbage"),
    ],
    ids=["csv with BOM", "jsonl with BOM", "semicolons", "tabs", "undone on the way", "garbage behind gzip"],
)
def test_tables_as_they_are_met_give_their_rows(name: str, data: bytes, fetch: Fetch, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    samples, outcomes = fetch((tmp_path / name).as_uri(), allowed_roots=(str(tmp_path),))
    assert outcomes == []
    assert [row["content"] for row in samples] == [b"first", b"second"]


def test_long_fields_of_csv_are_read(fetch: Fetch, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b'text,n\n"' + b"x" * 200_000 + b'",1\nlast,2\n')
    samples, outcomes = fetch((tmp_path / "t.csv").as_uri(), allowed_roots=(str(tmp_path),))
    assert outcomes == []
    assert [row["byte_count"] for row in samples] == [200_000, 4]


def test_records_of_a_web_archive_that_hold_no_page_are_left_out(fetch: Fetch, tmp_path: Path) -> None:
    records = [
        ("response", "dns:example.org", "text/dns", b"20200101 example.org. A 192.0.2.1"),
        ("revisit", "http://a/1", "application/http", b"HTTP/1.1 200 OK\r\n\r\n"),
        ("response", "ftp://a/1", "text/plain", b"from another protocol"),
        (
            "response",
            "http://a/2",
            "application/http; msgtype=response",
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
        ),
    ]
    data = b"".join(
        f"WARC/1.1\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {uri}\r\nContent-Type: {media_type}\r\n"
        f"Content-Length: {len(block)}\r\n\r\n".encode()
        + block
        + b"\r\n\r\n"
        for kind, uri, media_type, block in records
    )
    (tmp_path / "x.warc").write_bytes(data)
    samples, outcomes = fetch((tmp_path / "x.warc").as_uri(), allowed_roots=(str(tmp_path),))
    assert [(row["uri"], row["content"]) for row in samples] == [("ftp://a/1", b"from another protocol")]
    assert outcomes == [("0~1", "corrupt_member")]
