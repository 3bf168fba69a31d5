"""`ummp demo --json`, and what a person sees of it in the web UI, in headless Chromium.

With `--once`, as a script calls it, `.ci/run` runs it.
"""

import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support import expected_conditions
from selenium.webdriver.support.wait import WebDriverWait

from ummp_assets.cli.demo.requests import make_input
from ummp_assets.cli.stack.home import running_state
from ummp_assets_tests.cli.conftest import TIMEOUT_SECONDS, Ummp, running

_BATCH = "ummp.requests.normal~00000001"
_PAGE_SECONDS = 45.0
_FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --window-size=1700,1200"
)


@dataclass(frozen=True)
class Demo:
    """What a finished demo printed, and its web UI."""

    document: dict[str, Any]
    ui: str


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    home = tmp_path_factory.mktemp("demo") / "home"
    # What the user has configured must not matter.
    ummp = Ummp(home, {"UMMP_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"})
    with running(ummp, "demo", "--home", str(home)) as (process, document):
        state = running_state(home)
        assert state is not None
        assert state.ui_url is not None
        yield Demo(document, state.ui_url.rstrip("/"))
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT_SECONDS) == 0


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        assert os.environ.get("CI") != "true", "CI must have Debian's packages chromium and chromium-driver"
        pytest.skip("needs Debian's packages chromium and chromium-driver")
    options = Options()
    options.binary_location = chromium
    for flag in [*_FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    with webdriver.Chrome(options=options, service=Service(driver)) as started:
        yield started


def _wait_for(browser: webdriver.Chrome, text: str) -> WebElement:
    place = (By.XPATH, f"//*[normalize-space(text())={text!r}]")
    return WebDriverWait(browser, _PAGE_SECONDS).until(
        expected_conditions.presence_of_element_located(place), f"{text!r} is not on {browser.current_url}"
    )


def _metadata(browser: webdriver.Chrome, awaited: str) -> dict[str, str]:
    """Return the rows of the metadata table on a partition's page once the awaited one is there."""
    _wait_for(browser, awaited)
    rows = browser.find_elements(By.XPATH, "//table//tr[td]")
    cells = [row.find_elements(By.XPATH, "./td") for row in rows]
    return {row[0].text: row[1].text for row in cells if len(row) >= 2}


def test_demo_accounts_for_every_message_and_leaves_the_web_ui_up(demo: Demo) -> None:
    document = demo.document
    assert document.keys() == {"seconds", "modalities", "unreadable_messages", "datasets", "ready_events"}
    given = make_input(1_000_000)
    assert document["unreadable_messages"] == len(given.unreadable)
    for modality, counts in document["modalities"].items():
        assert counts["messages"] == len(given.samples[modality]) + 1
        assert counts["messages"] == sum(counts[name] for name in ("stored", "duplicate", "filtered", "dead"))
        assert counts["duplicate"] >= 5
        # One is missing; one is empty or cut.
        assert counts["dead"] == 2
        assert counts["bytes"] > 100_000
    stored = [counts["stored"] for counts in document["modalities"].values()]
    assert [(item["name"], item["version"]) for item in document["datasets"]] == [
        ("documents", 1),
        ("photographs", 1),
        ("sounds", 1),
    ]
    assert [item["rows"] for item in document["datasets"]] == stored
    assert all(Path(item["manifest"]).is_file() for item in document["datasets"])
    assert document["ready_events"] == 3
    assert document["seconds"] > 0


def test_asset_graph_shows_the_way_of_the_data_in_groups(demo: Demo, browser: webdriver.Chrome) -> None:
    browser.get(f"{demo.ui}/asset-groups")
    for group in (
        "messages",
        "intake",
        "collection",
        "cleaning",
        "features",
        "datasets",
        "answers",
        "updates",
        "training",
    ):
        _wait_for(browser, group)
    assert "Join the Dagster community" not in browser.page_source


def test_partition_page_shows_numbers_and_the_contact_sheet(demo: Demo, browser: webdriver.Chrome) -> None:
    browser.get(f"{demo.ui}/assets/clean_images?view=partitions&partition={quote(_BATCH)}")
    _wait_for(browser, _BATCH)
    _wait_for(browser, "Materialized")

    numbers = _metadata(browser, "rejections")
    assert int(numbers["dagster/row_count"]) > 50
    assert int(numbers["duplicate samples"]) == 5
    assert float(numbers["items per second"]) > 0
    assert "corrupt_image" in numbers["rejections"]
    assert "image_too_elongated" in numbers["measured values"]
    _wait_for(browser, "[Show Markdown]").click()
    picture = WebDriverWait(browser, _PAGE_SECONDS).until(
        lambda driver: driver.find_element(By.XPATH, "//img[@alt='contact sheet']")
    )
    WebDriverWait(browser, _PAGE_SECONDS).until(lambda _: int(str(picture.get_property("naturalWidth"))) > 500)


def test_dataset_page_shows_a_partition_for_each_dataset(demo: Demo, browser: webdriver.Chrome) -> None:
    browser.get(f"{demo.ui}/assets/training_datasets?view=partitions&partition=photographs")
    for dataset in ("documents", "photographs", "sounds"):
        _wait_for(browser, dataset)
    numbers = _metadata(browser, "load with")
    assert numbers["version"] == "1"
    assert "open_dataset" in numbers["load with"]
    assert _BATCH in numbers["batches"]


def test_column_table_describes_every_column(demo: Demo, browser: webdriver.Chrome) -> None:
    browser.get(f"{demo.ui}/assets/clean_images")
    _wait_for(browser, "Columns")
    _wait_for(browser, "uint8 tensor 256 x 256 x 3")
    _wait_for(browser, "Pixels, uint8, height x width x RGB.")
    # Tildes outside code would strike it through.
    _wait_for(browser, "topic~partition~offset")


def test_sensors_are_running_and_listed_with_their_job(demo: Demo, browser: webdriver.Chrome) -> None:
    browser.get(f"{demo.ui}/automation")
    for role in ("requests", "labels", "takedowns", "training_logs", "parameters"):
        _wait_for(browser, f"{role}_sensor")
