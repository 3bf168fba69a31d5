"""Without `ummp`: a planned batch materialized from Dagster's own command line."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg
import yaml

from ummp_assets.cli.demo.server import SampleServer
from ummp_assets.definitions import defs
from ummp_assets.messages.topics import topic_names
from ummp_assets_tests.flow.batches import send_everything, tick
from ummp_assets_tests.flow.conftest import Place


def test_planned_batch_is_materialized_from_the_command_line(
    place: Place, instance: dg.DagsterInstance, site: SampleServer
) -> None:
    send_everything(place.settings, site)
    tick(instance)
    key = f"{topic_names(place.settings).requests_normal}~00000001"

    dagster = str(Path(sys.executable).with_name("dagster"))
    selection = "key:requests+ and not key:training_datasets"
    command = [dagster, "asset", "materialize", "-m", "ummp_assets.definitions", "--select", selection]
    done = subprocess.run(
        [*command, "--partition", key], env={**os.environ, **place.environment}, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    assert place.store.exists(f"stages/dataset_commits/{key}/manifest.json")
    assert instance.get_materialized_partitions(dg.AssetKey("training_shards")) == {key}


def test_short_selection_of_one_layer_can_run_by_itself() -> None:
    selected = dg.AssetSelection.from_coercible(["requests+"]).resolve(defs().get_repository_def().asset_graph)
    assert selected == {dg.AssetKey("requests"), dg.AssetKey("downloads")}


def test_workspace_and_instance_files_at_the_root_are_valid(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    shutil.copy(root / "dagster.yaml", tmp_path)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert instance.run_retries_enabled
        assert instance.run_monitoring_enabled
        assert not instance.telemetry_enabled
    workspace = yaml.safe_load((root / "workspace.yaml").read_text())
    assert workspace["load_from"][0]["python_module"]["module_name"] == "ummp_assets.definitions"
