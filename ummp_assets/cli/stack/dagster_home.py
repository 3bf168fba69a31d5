"""The Dagster instance below a home folder: its files, its database, and the runs that a lost machine left behind."""

import json
import socket
from collections.abc import Mapping
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ummp_assets.errors import StoreUnavailable
from ummp_assets.settings import Settings
from ummp_assets.storage.objects import open_store

if TYPE_CHECKING:
    from dagster import DagsterInstance

__all__ = ["dagster_home", "prepare_instance", "write_dagster_files"]

# The tag by which Dagster's default launcher finds the code server that hosts a run's worker.
_SERVER_TAG = ".dagster/grpc_info"
_CONNECT_SECONDS = 1.0


def dagster_home(home: Path) -> Path:
    """Return the folder that DAGSTER_HOME names for this home."""
    return home / "dagster"


def write_dagster_files(home: Path, code_server_socket: Path) -> Path:
    """Write dagster.yaml, unless there is one already, and the workspace; return the workspace's path.

    A user's own changes to <home>/dagster/dagster.yaml (PostgreSQL, another launcher) are kept.
    """
    folder = dagster_home(home)
    workspace = folder / "workspace.yaml"
    server = {"grpc_server": {"socket": str(code_server_socket), "location_name": "ummp_assets"}}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "dagster.yaml").exists():
            template = files("ummp_assets.cli.stack").joinpath("dagster.yaml").read_text(encoding="utf-8")
            (folder / "dagster.yaml").write_text(template, encoding="utf-8")
        # JSON is YAML.
        workspace.write_text(json.dumps({"load_from": [server]}, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise StoreUnavailable(str(folder), error) from error
    return workspace


def prepare_instance(settings: Settings) -> int:
    """Create the instance's database and report the runs whose worker is gone as failed, so that they are retried.

    The daemon, the web server and the code server would race for creating the database. The default launcher has no
    health check: after a power cut its runs would stay STARTED until `max_runtime_seconds`.

    Returns
    -------
    The number of runs that were reported.

    Raises
    ------
    InvalidSettings
        The instance has run batches for another store.
    """
    from dagster import DagsterInstance

    from ummp_assets.defs.same_store import require_same_store

    with DagsterInstance.from_config(str(dagster_home(settings.home_path))) as instance:
        # The schedule storage is opened by nothing below, and made by the first who opens it.
        instance.all_instigator_state()
        # A store that does not answer now is looked at again by each sensor.
        with suppress(StoreUnavailable):
            require_same_store(instance, open_store(settings), settings)
        return _report_lost_runs(instance)


def _report_lost_runs(instance: "DagsterInstance") -> int:
    from dagster import DagsterRunStatus, RunsFilter

    unfinished = [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]
    lost = [run for run in instance.get_runs(RunsFilter(statuses=unfinished)) if _server_is_gone(run.tags)]
    for run in lost:
        if run.status is DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run, "The worker was gone when the stack was started again.")
        else:
            instance.report_run_failed(run, "The worker was gone when the stack was started again.")
    return len(lost)


def _server_is_gone(tags: Mapping[str, str]) -> bool:
    if _SERVER_TAG not in tags:
        # Another launcher's run, or one on the command line: no server of ours to ask.
        return False
    server: dict[str, Any] = json.loads(tags[_SERVER_TAG])
    try:
        if "socket" in server:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(_CONNECT_SECONDS)
                connection.connect(server["socket"])
        else:
            socket.create_connection((server["host"], server["port"]), _CONNECT_SECONDS).close()
    except OSError:
        return True
    return False
