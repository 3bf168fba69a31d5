"""Archives and tables to samples, and what happens to hostile ones."""

import base64
import gzip
import io
import json
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from ummp_assets.fetch.body import BodyWriter
from ummp_assets.fetch.unpack import BrokenMember, Member, UnpackStopped, unpack
from ummp_assets.settings import FetchSettings, UnpackSettings

FILES = {"a.txt": b"first text", "folder/b.txt": b"second text", "c.png": b"\x89PNG\r\n\x1a\npixels"}

Take = Callable[..., tuple[dict[str, bytes], list[tuple[str, str]], str | None]]


@pytest.fixture
def take(tmp_path: Path) -> Take:
    """Unpack bytes; return contents by name, broken members with their reasons, and why it stopped."""

    def run(
        data: bytes, name: str = "archive", media_type: str | None = None, **rules: Any
    ) -> tuple[dict[str, bytes], list[tuple[str, str]], str | None]:
        settings = FetchSettings(inline_bytes=1_000, max_object_bytes=1_000_000, unpack=UnpackSettings(**rules))
        writer = BodyWriter(tmp_path, 1_000, 1 << 30)
        writer.write(data)
        good: dict[str, bytes] = {}
        broken: list[tuple[str, str]] = []
        try:
            for item in unpack(writer.finish(), name, media_type, tmp_path, settings):
                if isinstance(item, BrokenMember):
                    broken.append((item.name, str(item.reason)))
                else:
                    good[item.name] = item.body.read()
                    item.body.discard()
        except UnpackStopped as stop:
            return good, broken, str(stop.reason)
        return good, broken, None

    return run


def _zip(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, compress_type=method)
    return buffer.getvalue()


def _tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.zip", _zip(FILES)),
        ("a.tar", _tar(FILES)),
        ("a.tar.gz", gzip.compress(_tar(FILES))),
        ("no-extension", gzip.compress(_tar(FILES))),
        ("a.tar.zst", zstandard.compress(_tar(FILES))),
    ],
    ids=["zip", "tar", "tar.gz", "tar.gz without extension", "tar.zst"],
)
def test_archive_gives_its_members(name: str, data: bytes, take: Take) -> None:
    assert take(data, name) == (FILES, [], None)


def test_single_compressed_file_is_one_member(take: Take) -> None:
    assert take(gzip.compress(b"text"), "https://a/page.txt.gz".rpartition("/")[2]) == ({"page.txt": b"text"}, [], None)


ROWS = [{"text": "first", "source": "a", "n": 1}, {"text": "second", "source": "b", "n": 2}]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("t.jsonl", b"\n".join(json.dumps(row).encode() for row in ROWS)),
        ("t.jsonl.gz", gzip.compress(b"\n".join(json.dumps(row).encode() for row in ROWS))),
        ("t.csv", b"text,source,n\r\nfirst,a,1\r\nsecond,b,2\r\n"),
        ("t.parquet", _parquet(ROWS)),
    ],
    ids=["jsonl", "jsonl.gz", "csv", "parquet"],
)
def test_table_gives_its_rows(name: str, data: bytes, take: Take) -> None:
    assert take(data, name) == ({"0": b"first", "1": b"second"}, [], None)


def test_media_type_tells_a_table_without_extension(take: Take) -> None:
    assert take(b'{"text": "x"}\n', "rows", "application/x-ndjson; charset=utf-8")[0] == {"0": b"x"}


def test_row_fields_become_content_label_and_attributes(tmp_path: Path) -> None:
    rows = [
        {"content_base64": base64.b64encode(b"\xff\xd8\xff").decode(), "label": "cat", "uri": "http://a/1", "n": 1},
        {"title": "no content", "n": 2},
        {"image": {"bytes": b"\x89PNG", "path": "x.png"}, "label": 3},
    ]
    writer = BodyWriter(tmp_path, 100_000, 1 << 20)
    writer.write(b"\n".join(json.dumps(row).encode() for row in rows[:2]))
    jpeg, plain = [
        m for m in unpack(writer.finish(), "t.jsonl", None, tmp_path, FetchSettings()) if isinstance(m, Member)
    ]
    assert (jpeg.body.content, jpeg.label, jpeg.uri, jpeg.attributes) == (
        b"\xff\xd8\xff",
        '"cat"',
        "http://a/1",
        '{"n": 1}',
    )
    assert (plain.body.content, plain.label, plain.attributes) == (b'{"title": "no content", "n": 2}', None, None)
    writer = BodyWriter(tmp_path, 100_000, 1 << 20)
    writer.write(_parquet(rows[2:]))
    [image] = unpack(writer.finish(), "t", None, tmp_path, FetchSettings())
    assert isinstance(image, Member)
    assert (image.body.content, image.label) == (b"\x89PNG", "3")


def test_broken_row_leaves_the_others(take: Take) -> None:
    data = b'{"text": "a"}\nno json\n[1]\n\n{"text": ""}\n{"text": "b"}\n{"content_base64": "?"}\n'
    good, broken, stopped = take(data, "t.jsonl")
    assert (good, stopped) == ({"0": b"a", "4": b"b"}, None)
    assert broken == [
        ("1", "corrupt_member"),
        ("2", "corrupt_member"),
        ("3", "empty_body"),
        ("5", "corrupt_member"),
    ]


def _warc(*records: tuple[dict[str, str], bytes]) -> bytes:
    data = b""
    for headers, block in records:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        data += f"WARC/1.0\r\n{lines}Content-Length: {len(block)}\r\n\r\n".encode() + block + b"\r\n\r\n"
    return data


def test_warc_gives_the_pages_with_their_addresses(tmp_path: Path) -> None:
    page = b"<html>page</html>"
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nmore\r\n0\r\n\r\n"
    coded = gzip.compress(b"coded page")
    records = _warc(
        ({"WARC-Type": "warcinfo"}, b"software: test\r\n"),
        (
            {"WARC-Type": "response", "WARC-Target-URI": "http://a/1", "WARC-Date": "2020-01-01T00:00:00Z"},
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 17\r\n\r\n" + page,
        ),
        ({"WARC-Type": "response", "WARC-Target-URI": "http://a/2"}, b"HTTP/1.1 404 No\r\n\r\ngone"),
        ({"WARC-Type": "response", "WARC-Target-URI": "http://a/3"}, chunked),
        (
            {"WARC-Type": "response", "WARC-Target-URI": "http://a/4"},
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + coded,
        ),
        ({"WARC-Type": "resource", "WARC-Target-URI": "http://a/5", "Content-Type": "text/plain"}, b"resource"),
    )
    for data in (records, gzip.compress(records)):
        writer = BodyWriter(tmp_path, 100_000, 1 << 20)
        writer.write(data)
        items = list(unpack(writer.finish(), "x.warc.gz", None, tmp_path, FetchSettings()))
        members = [item for item in items if isinstance(item, Member)]
        assert [(m.name, m.uri, m.body.content) for m in members] == [
            ("0", "http://a/1", page),
            ("2", "http://a/3", b"more"),
            ("3", "http://a/4", b"coded page"),
            ("4", "http://a/5", b"resource"),
        ]
        assert members[0].media_type == "text/html"
        assert members[0].attributes == '{"warc-date": "2020-01-01T00:00:00Z"}'
        assert [item.reason for item in items if isinstance(item, BrokenMember)] == ["http_client_error"]


@pytest.mark.parametrize("make", [_zip, _tar])
def test_names_that_lead_out_are_refused_and_nothing_is_written(
    make: Callable[[dict[str, bytes]], bytes], take: Take, tmp_path: Path
) -> None:
    names = ["../evil", "/etc/evil", "a/../../evil", "C:evil", "..\\evil"]
    good, broken, stopped = take(make({**dict.fromkeys(names, b"x"), "good.txt": b"good"}))
    assert (good, stopped) == ({"good.txt": b"good"}, None)
    assert broken == [(name, "unsafe_member") for name in names]
    assert not list(tmp_path.parent.glob("evil"))


def test_links_in_a_tar_are_refused(take: Take) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    assert take(buffer.getvalue()) == ({}, [("link", "unsafe_member")], None)


@pytest.mark.parametrize(
    "make",
    [_zip, lambda files: gzip.compress(_tar(files)), lambda files: zstandard.compress(_tar(files))],
    ids=["zip", "tar.gz", "tar.zst"],
)
def test_bomb_stops_and_keeps_what_came_before(make: Callable[[dict[str, bytes]], bytes], take: Take) -> None:
    data = make({"good.txt": b"good", "zeros": b"\0" * 50_000_000})
    assert take(data, max_ratio=20) == ({"good.txt": b"good"}, [], "decompression_bomb")


def test_zip_whose_members_share_their_bytes_is_a_bomb(take: Take) -> None:
    """As David Fifield's zip bomb, without recursion: each entry of the directory names the same compressed bytes."""
    data = bytearray(_zip({"0": b"\0" * 900_000}))
    directory = data.rindex(b"PK\x01\x02")
    end = data.rindex(b"PK\x05\x06")
    entry = bytes(data[directory:end])
    count = 500
    struct.pack_into("<HHL", data, end + 8, count, count, len(entry) * count)
    bomb = bytes(data[:directory]) + entry * count + bytes(data[end:])
    good, _, stopped = take(bomb)
    assert stopped == "decompression_bomb"
    assert len(good) <= 10


def test_limits_on_members_bytes_and_depth(take: Take) -> None:
    many = _zip({f"{n:03d}.txt": b"x" for n in range(50)})
    assert take(many, max_members=10) == ({}, [], "archive_too_large")
    good, _, stopped = take(_tar({f"{n:03d}.txt": b"x" for n in range(50)}), max_members=10)
    assert (sorted(good), stopped) == ([f"{n:03d}.txt" for n in range(10)], "archive_too_large")
    _, _, stopped = take(_tar({f"{n}.txt": b"x" * 10_000 for n in range(50)}), max_total_bytes=100_000)
    assert stopped == "archive_too_large"
    inner = _zip({"inner.txt": b"deep"})
    assert take(_zip({"inner.zip": inner}), max_depth=2)[0] == {"inner.zip/inner.txt": b"deep"}
    assert take(_zip({"inner.zip": inner}), max_depth=1)[1] == [("inner.zip", "archive_too_deep")]


def test_member_larger_than_an_object_may_be_is_left_out(take: Take) -> None:
    good, broken, stopped = take(_zip({"large": bytes(range(256)) * 8_000, "small": b"small"}, zipfile.ZIP_STORED))
    assert (good, broken, stopped) == ({"small": b"small"}, [("large", "object_too_large")], None)


def test_broken_archives_are_said(take: Take) -> None:
    good = _zip(FILES)
    assert take(good[:-30])[2] == "corrupt_archive"
    assert take(b"plain text", "a.bin")[2] == "corrupt_archive"
    assert take(b"PAR1 but no more", "a.parquet")[2] == "corrupt_archive"
    assert take(gzip.compress(_tar(FILES))[:-40])[2] == "corrupt_archive"
    assert take(b"a,b\n\xff\xfe,1\n", "a.csv")[2] == "corrupt_archive"
    assert take(_zip({}))[2] == "empty_archive"
    assert take(_warc(({"WARC-Type": "resource"}, b"x" * 100))[:-50])[2] == "corrupt_archive"


def test_damaged_and_encrypted_zip_members_leave_the_others(take: Take) -> None:
    data = bytearray(_zip({"damaged.txt": b"damaged" * 100, "good.txt": b"good"}, zipfile.ZIP_STORED))
    data[data.index(b"damaged" * 2)] ^= 1
    assert take(bytes(data)) == ({"good.txt": b"good"}, [("damaged.txt", "corrupt_member")], None)
    data = bytearray(_zip({"secret.txt": b"secret", "good.txt": b"good"}, zipfile.ZIP_STORED))
    data[data.index(b"PK\x01\x02") + 8] |= 1
    assert take(bytes(data)) == ({"good.txt": b"good"}, [("secret.txt", "corrupt_member")], None)


def test_scratch_folder_is_empty_after_unpacking(take: Take, tmp_path: Path) -> None:
    large = bytes(range(256)) * 1_000
    good, _, _ = take(_zip({"large.bin": large, "inner.zip": _zip({"more.bin": large})}), "a.zip")
    assert good == {"large.bin": large, "inner.zip/more.bin": large}
    assert [path for path in tmp_path.iterdir() if path.stat().st_size == len(large)] == []
