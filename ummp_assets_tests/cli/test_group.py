"""The group: what `ummp` offers, how quickly, and its exit codes."""

import json
import math
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from ummp_assets.cli import main
from ummp_assets.cli.terminal import print_json
from ummp_assets_tests.cli.conftest import Ummp

COMMANDS = [
    *("up", "demo", "submit", "status", "datasets", "trace"),
    *("dead", "replay", "takedown", "abandon", "doctor", "broker"),
]


def test_help_imports_no_heavy_library() -> None:
    program = (
        "import sys; from ummp_assets.cli import main; main(['--help'], standalone_mode=False); "
        "print(sorted({'dagster', 'kafka', 'pyarrow', 'pydantic', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_lists_every_command_in_the_order_of_use() -> None:
    lines = CliRunner().invoke(main, ["--help"]).output.partition("Commands:")[2].splitlines()
    assert [line.split()[0] for line in lines if line.startswith("  ")] == COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_command_explains_itself_without_settings(name: str) -> None:
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0
    command = main.get_command(click.Context(main), name)
    assert command is not None
    assert command.name == name
    assert command.help


def test_exit_code_is_2_for_an_unknown_command(ummp: Ummp) -> None:
    answer = ummp("collect")
    assert answer.code == 2
    assert "No such command 'collect'" in answer.err


def test_exit_code_is_2_for_an_impossible_setting(ummp: Ummp) -> None:
    answer = ummp("status", UMMP_TOPIC_PARTITIONS="0")
    assert answer.code == 2
    assert "UMMP_TOPIC_PARTITIONS" in answer.err
    assert "Traceback" not in answer.err


@pytest.mark.parametrize("value", ["Infinity", "inf", "1e999", "nan"])
def test_exit_code_is_2_for_a_threshold_that_is_no_finite_number(ummp: Ummp, value: str) -> None:
    setting = "clean.text.gopher_quality.max_mean_word_length"
    answer = ummp("status", "--json", "--threshold", f"{setting}={value}")
    assert answer.code == 2
    assert "UMMP_CLEAN__TEXT__GOPHER_QUALITY__MAX_MEAN_WORD_LENGTH: Input should be" in answer.err
    assert not answer.out


def test_json_has_null_for_numbers_that_are_not_finite(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"level": -math.inf, "share": math.nan, "names": ["NaN", 0.5]})
    assert json.loads(capsys.readouterr().out, parse_constant=lambda name: f"not JSON: {name}") == {
        "level": None,
        "share": None,
        "names": ["NaN", 0.5],
    }


def test_version_is_that_of_the_package(ummp: Ummp) -> None:
    assert ummp("--version").out == "ummp, version 0.1.0\n"
