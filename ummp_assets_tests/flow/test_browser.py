"""What a person sees in the web UI after a finished demo, in headless Chromium."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support import expected_conditions
from selenium.webdriver.support.wait import WebDriverWait

_BATCH = "ummp.requests.normal~00000001"
_DEMO_SECONDS = 120.0
_PAGE_SECONDS = 45.0
_FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --window-size=1700,1200"
)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run the demo to its end and leave its web UI up; the UI's address."""
    home = tmp_path_factory.mktemp("demo")
    output = home / "output.txt"
    with output.open("wb") as file:
        command = [str(Path(sys.executable).with_name("ummp")), "demo", "--home", str(home / "home")]
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("UMMP_", "DAGSTER_"))}
        process = subprocess.Popen(command, stdout=file, stderr=file, stdin=subprocess.DEVNULL, env=environment)
    try:
        deadline = time.monotonic() + _DEMO_SECONDS
        while not (found := re.search(r"Web UI: (http://127\.0\.0\.1:\d+)", output.read_text())):
            assert process.poll() is None, output.read_text()
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(0.2)
        yield found[1]
    finally:
        process.terminate()
        process.wait(30)


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


def test_asset_graph_shows_the_way_of_the_data_in_groups(demo: str, browser: webdriver.Chrome) -> None:
    browser.get(f"{demo}/asset-groups")
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


def test_partition_page_shows_numbers_and_the_contact_sheet(demo: str, browser: webdriver.Chrome) -> None:
    browser.get(f"{demo}/assets/clean_images?view=partitions&partition={quote(_BATCH)}")
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


def test_dataset_page_shows_a_partition_for_each_dataset(demo: str, browser: webdriver.Chrome) -> None:
    browser.get(f"{demo}/assets/training_datasets?view=partitions&partition=photographs")
    for dataset in ("documents", "photographs", "sounds"):
        _wait_for(browser, dataset)
    numbers = _metadata(browser, "load with")
    assert numbers["version"] == "1"
    assert "open_dataset" in numbers["load with"]
    assert _BATCH in numbers["batches"]


def test_column_table_describes_every_column(demo: str, browser: webdriver.Chrome) -> None:
    browser.get(f"{demo}/assets/clean_images")
    _wait_for(browser, "Columns")
    _wait_for(browser, "uint8 tensor 256 x 256 x 3")
    _wait_for(browser, "Pixels, uint8, height x width x RGB.")
    # Tildes outside code would strike it through.
    _wait_for(browser, "topic~partition~offset")


def test_sensors_are_running_and_listed_with_their_job(demo: str, browser: webdriver.Chrome) -> None:
    browser.get(f"{demo}/automation")
    for role in ("requests", "labels", "takedowns", "training_logs", "parameters"):
        _wait_for(browser, f"{role}_sensor")
