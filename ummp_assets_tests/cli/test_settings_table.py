"""The table of settings: complete, bounded, without secrets, and the same in the README."""

from pathlib import Path

import pytest

from ummp_assets.cli.settings_table import describe_settings, hide_secrets, settings_table
from ummp_assets.settings import load_settings


def test_table_has_a_row_with_a_description_for_every_setting() -> None:
    rows = {row.variable: row for row in describe_settings()}
    assert rows["UMMP_TOPIC_PARTITIONS"].bounds == ">= 1, <= 10,000"
    assert rows["UMMP_TOPIC_PARTITIONS"].default == "4"
    assert rows["UMMP_KAFKA_BOOTSTRAP_SERVERS"].default == "not set"
    assert rows["UMMP_CLEAN__IMAGE__SIDE_PIXELS"].value == "256"
    assert [row.variable for row in rows.values() if not row.description] == []


def test_table_says_what_the_environment_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UMMP_FETCH__MAX_REDIRECTS", "2")
    monkeypatch.setenv("UMMP_INDEX", "postgresql://reader:hunter2@db/ummp")
    rows = {row.variable: row for row in describe_settings(load_settings())}
    assert (rows["UMMP_FETCH__MAX_REDIRECTS"].value, rows["UMMP_FETCH__MAX_REDIRECTS"].is_set) == ("2", True)
    assert (rows["UMMP_FETCH__MAX_ATTEMPTS"].value, rows["UMMP_FETCH__MAX_ATTEMPTS"].is_set) == ("4", False)
    assert rows["UMMP_INDEX"].value == "postgresql://reader:***@db/ummp"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"sasl_plain_password": "x", "ssl_cafile": "ca.pem"}, {"sasl_plain_password": "***", "ssl_cafile": "ca.pem"}),
        ({"archive": "mysql://u:p@h/d"}, {"archive": "mysql://u:***@h/d"}),
        ({"h": {"token": "x", "authorization": "Bearer x"}}, {"h": {"token": "***", "authorization": "***"}}),
        ("s3://bucket/prefix", "s3://bucket/prefix"),
        (["s3://key:secret@bucket"], ["s3://key:***@bucket"]),
    ],
)
def test_secrets_are_hidden_wherever_they_stand(value: object, shown: object) -> None:
    assert hide_secrets(value) == shown


def test_readme_holds_the_table_of_this_version() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    _, begin, rest = readme.partition("<!-- settings:begin -->\n")
    table, end, _ = rest.partition("<!-- settings:end -->")
    assert begin
    assert end
    assert table.strip() == settings_table().strip(), "put what settings_table() returns between the README's markers"
