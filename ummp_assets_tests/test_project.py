"""What pyproject.toml, the README and the files at the root promise."""

import subprocess
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]


def test_every_dependency_has_a_lower_and_an_upper_bound() -> None:
    named = [Requirement(item) for items in (PROJECT["dependencies"], *EXTRAS.values()) for item in items]
    bounds = {item.name: {part.operator for part in item.specifier} for item in named}
    assert {name for name, operators in bounds.items() if operators != {">=", "<"}} == set()


def test_tests_use_the_bounds_of_the_extras() -> None:
    own = {Requirement(item).name: item for name, items in EXTRAS.items() if name != "test" for item in items}
    tested = {Requirement(item).name: item for item in EXTRAS["test"]}
    assert {tested[name] for name in own.keys() & tested.keys()} == {own[name] for name in own.keys() & tested.keys()}


def test_project_has_its_command_licence_and_extras() -> None:
    assert PROJECT["scripts"] == {"ummp": "ummp_assets.cli:main"}
    assert PROJECT["license"] == "Apache-2.0"
    assert all((ROOT / file).is_file() for file in [*PROJECT["license-files"], PROJECT["readme"]])
    assert PROJECT["classifiers"]
    assert {"test", "s3", "celery", "postgres", "zookeeper", "torch"} <= EXTRAS.keys()


def test_no_lock_file_is_kept() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    assert [name for name in listed if "lock" in Path(name).suffix] == []
    assert "uv.lock" in (ROOT / ".gitignore").read_text().splitlines()


def test_readme_names_every_folder_of_the_package_with_a_phrase() -> None:
    tree = (ROOT / "README.md").read_text().partition("\nummp_assets/\n")[2].partition("```")[0]
    told = {line.split()[0] for line in tree.splitlines() if len(line.split()) > 2}
    folders = {f"{path.parent.name}/" for path in (ROOT / "ummp_assets").glob("*/__init__.py")}
    assert folders - told == set()
