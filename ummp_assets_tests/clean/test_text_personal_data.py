"""Personal data: what is replaced, what only looks like it, and what is counted."""

import ipaddress
import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ummp_assets.clean.text import clean_text
from ummp_assets.clean.text.personal_data import replace_personal_data
from ummp_assets.settings import Settings, TextSettings, load_settings
from ummp_assets.storage.index import Index
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import read_table
from ummp_assets_tests.clean.downloads import BATCH, put_downloads, raw_row

ALL = TextSettings().personal_data


@pytest.mark.parametrize(
    ("text", "replaced"),
    [
        ("Write to jane.doe+x@mail.example.org.", "Write to <email>."),
        ("jörg@example.de, Jürgen.Weiß@bücher.example.de", "<email>, <email>"),
        ("<mailto:a@b.io>, b@c.co.uk", "<mailto:<email>>, <email>"),
        ("邮箱a@b.cn。电话+86 138 1234 5678来自8.8.8.8", "邮箱<email>。电话<phone>来自<ip_address>"),
        ("Call +49 30 901820 or +1 (212) 555-0123!", "Call <phone> or <phone>!"),
        ("+33 1 23 45 67 89", "<phone>"),
        ("+49 30 901820 24h, +33 1 23 45 67 89 10am", "<phone> 24h, <phone> 10am"),
        ("(212) 555-0123, 212-555-0123", "<phone>, <phone>"),
        ("手机13812345678,或138 1234 5678", "手机<phone>,或<phone>"),
        ("电话010-12345678,或(0755) 8765 4321。", "电话<phone>,或<phone>。"),
        ("电话0755-87654321,或0755 8765 4321。", "电话<phone>,或<phone>。"),
        ("+44 (0)20 7946 0958, 020 7946 0958, 07911 123456", "<phone>, <phone>, <phone>"),
        ("01 23 45 67 89 ou 06.12.34.56.78", "<phone> ou <phone>"),
        ("電話03-1234-5678、090-1234-5678、전화 02-123-4567", "電話<phone>、<phone>、전화 <phone>"),
        ("+7 (495) 123-45-67 или 8 (495) 123-45-67", "<phone> или <phone>"),
        ("(11) 91234-5678, +55 11 91234-5678", "<phone>, <phone>"),
        ("+91 98765 43210, 0412 345 678, (02) 9876 5432", "<phone>, <phone>, <phone>"),
        ("from 8.8.8.8 and 2606:4700:4700::1111.", "from <ip_address> and <ip_address>."),
        ("src:8.8.8.8 [2a00:1450:4001:82a::200e] 2600::", "src:<ip_address> [<ip_address>] <ip_address>"),
        ("2023:8.8.8.8", "2023:<ip_address>"),
        ("card 4111 1111 1111 1111 or 5500-0000-0000-0004", "card <credit_card> or <credit_card>"),
        ("身份证号11010519491231002X。", "身份证号<resident_id>。"),
    ],
)
def test_personal_data_is_replaced_by_its_kind(text: str, replaced: str) -> None:
    assert replace_personal_data(text, ALL)[0] == replaced


@pytest.mark.parametrize(
    "text",
    [
        "user@localhost and @handle",
        "127.0.0.1, 10.1.2.3, 192.168.0.1, 999.1.1.1, 1.2.3.4.5",
        "std::vector, a::b, fe80::1, 12:30:45, 2024:11:25, 2001::std, 2001:db8::1",
        "4111 1111 1111 1112",
        "0000 0000 0000 0000",
        "110105194912310021",
        "In 1995-2008 it was 3.14159265358979; ISBN 978-3-16-148410-0",
        "1234567890123456789012345",
        "+1 is one more",
        "01-02-2003, 0001 0002 0003, U+1FB7 0391 0342 0345, 0123 4567 8901 2345, 01 02 03 04 05 06, EAN 04 123 456",
        "2024-01-02 03:04:05, ISBN 0 306 40615 2, 2026-01-2345-6789, 00-1234-5678, (1999) 1234-5678",
        "sha256 4111111111111111a",
    ],
)
def test_what_only_looks_like_personal_data_stays(text: str) -> None:
    assert replace_personal_data(text, ALL) == (text, {})


PARTS = st.sampled_from(
    (
        *(*"12+-.:@ (ax\n中é", "13", "+49", "(212)", "212-555-0123", "1 (212) 555-0123", "13812345678", "b.co"),
        *("8.8.8.8", "172.16.0.1", "256.1.1.1", "2001:4860::8888", "2001:db8::1", "4111 1111 1111 1111"),
        *("11010519491231002X", "user@example.org"),
    )
)


@given(st.lists(PARTS, max_size=14).map("".join))
def test_rare_numbers_and_addresses_are_found_as_in_a_text_of_nothing_else(text: str) -> None:
    words = " word" * (40 * len(text))

    found, counts = replace_personal_data(text, ALL)

    assert replace_personal_data(text + words, ALL) == (found + words, counts)


def test_addresses_are_public_as_the_registry_says() -> None:
    numbers = {
        0,
        1,
        2,
        8,
        9,
        10,
        15,
        16,
        31,
        32,
        63,
        64,
        99,
        100,
        113,
        127,
        128,
        168,
        169,
        172,
        192,
        198,
        203,
        254,
        255,
    }
    for first, second, third in itertools.product(range(256), sorted(numbers | {18, 19, 20, 51}), (0, 1, 2, 100, 113)):
        address = ipaddress.IPv4Address(f"{first}.{second}.{third}.7")
        # Python counted only part of 192.0.0.0/24 as special up to 3.11.
        is_public = address.is_global and address not in ipaddress.IPv4Network("192.0.0.0/24")
        assert replace_personal_data(str(address), ALL)[0] == ("<ip_address>" if is_public else str(address))


def test_only_the_kinds_asked_for_are_replaced() -> None:
    text = "a@example.org at 8.8.8.8 and b@example.org"

    replaced, counts = replace_personal_data(text, ("email",))

    assert replaced == "<email> at 8.8.8.8 and <email>"
    assert counts == {"email": 2}
    assert replace_personal_data(text, ()) == (text, {})


@pytest.mark.parametrize(
    "part", ["a", "1", "a.", "1.", "1 ", "f:", "+1 ", "a@", "@a.", "1-", "::", "(1", "+" + "1" * 60 + "a"]
)
def test_time_is_linear_on_hostile_text(part: str) -> None:
    began = time.perf_counter()

    replace_personal_data(part * (2_000_000 // len(part)), ALL)

    assert time.perf_counter() - began < 10


def test_stage_counts_what_it_replaced(store: ObjectStore, index: Index, settings: Settings) -> None:
    put_downloads(store, [raw_row(1, b"Mail a@example.org or b@example.org from 8.8.4.4"), raw_row(2, b"Nothing here")])

    manifest = clean_text(store, index, settings, BATCH)

    (rows,) = read_table(store, manifest, "samples")
    assert rows.column("text").to_pylist() == ["Mail <email> or <email> from <ip_address>", "Nothing here"]
    assert manifest.numbers["replaced_email"] == 2
    assert manifest.numbers["replaced_ip_address"] == 1


def test_policy_is_a_setting(store: ObjectStore, index: Index, settings: Settings) -> None:
    put_downloads(store, [raw_row(1, b"Mail a@example.org")])
    keep = load_settings(home=settings.home, clean={"text": {"personal_data": []}})

    manifest = clean_text(store, index, keep, BATCH)

    (rows,) = read_table(store, manifest, "samples")
    assert rows.column("text").to_pylist() == ["Mail a@example.org"]
