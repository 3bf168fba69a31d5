"""Questions to Dagster's web server, asked through its GraphQL API."""

import http.client
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

__all__ = ["FailedRun", "RunCount", "WebUi"]

_LOCATIONS = """{ workspaceOrError { ... on Workspace { locationEntries {
  loadStatus locationOrLoadError { __typename ... on PythonError { message } } } } } }"""
_DAEMONS = "{ instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } } }"
_FAILED = """query ($limit: Int!) { runsOrError(filter: {statuses: [FAILURE]}, limit: $limit) { ... on Runs { results {
  runId endTime tags { key value } } } } }"""
_BATCHES_A_QUERY = 50
_STATUSES = {"queued": ["QUEUED"], "running": ["STARTING", "STARTED"], "failed": ["FAILURE"], "succeeded": ["SUCCESS"]}


@dataclass(frozen=True, slots=True)
class FailedRun:
    """A failed run as the web UI knows it; `batch` is its partition."""

    run_id: str
    batch: str | None
    ended_seconds: float | None
    will_retry: bool


@dataclass(frozen=True, slots=True)
class RunCount:
    """Runs of one batch."""

    failed: int
    all: int


class WebUi:
    """A running Dagster web server. Every method raises `OSError` when it does not answer."""

    def __init__(self, url: str, timeout_seconds: float = 10.0) -> None:
        self.url = url
        self._address = urlsplit(url)
        self._timeout_seconds = timeout_seconds

    def load_error(self) -> str | None:
        """Return why the code location could not be loaded, "" while it loads, or None when all is well."""
        entries = self._ask(_LOCATIONS)["workspaceOrError"].get("locationEntries", [])
        if not entries or any(entry["loadStatus"] == "LOADING" for entry in entries):
            return ""
        errors = [
            entry["locationOrLoadError"]["message"]
            for entry in entries
            if (entry["locationOrLoadError"] or {}).get("__typename") == "PythonError"
        ]
        return errors[0] if errors else None

    def unhealthy_daemons(self) -> list[str]:
        """Return the names of the required daemons that gave no sign of life lately."""
        statuses = self._ask(_DAEMONS)["instance"]["daemonHealth"]["allDaemonStatuses"]
        return [item["daemonType"] for item in statuses if item["required"] and not item["healthy"]]

    def count_runs(self) -> dict[str, int]:
        """Return the numbers of runs that are queued, running, failed and succeeded."""
        fields = " ".join(
            f"{name}: runsOrError(filter: {{statuses: [{', '.join(statuses)}]}}) {{ ... on Runs {{ count }} }}"
            for name, statuses in _STATUSES.items()
        )
        answer = self._ask(f"{{ {fields} }}")
        return {name: answer[name]["count"] for name in _STATUSES}

    def count_runs_of(self, batches: Sequence[str]) -> dict[str, RunCount]:
        """Return the number of runs of each batch."""
        found = {}
        for start in range(0, len(batches), _BATCHES_A_QUERY):
            part = batches[start : start + _BATCHES_A_QUERY]
            answer = self._ask("{ " + " ".join(_count_of(number, key) for number, key in enumerate(part)) + " }")
            for number, key in enumerate(part):
                found[key] = RunCount(answer[f"failed{number}"]["count"], answer[f"all{number}"]["count"])
        return found

    def failed_runs(self, limit: int = 10) -> list[FailedRun]:
        """Return the latest failed runs, the newest first."""
        found = []
        for run in self._ask(_FAILED, {"limit": limit})["runsOrError"]["results"]:
            tags = {tag["key"]: tag["value"] for tag in run["tags"]}
            found.append(
                FailedRun(
                    run["runId"],
                    tags.get("dagster/partition"),
                    run["endTime"],
                    tags.get("dagster/will_retry") == "true",
                )
            )
        return found

    def _ask(self, query: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables or {}})
        # http.client rather than a library that would send loopback requests through a proxy from the environment.
        connection = http.client.HTTPConnection(
            self._address.hostname or "127.0.0.1", self._address.port, timeout=self._timeout_seconds
        )
        try:
            connection.request("POST", "/graphql", body, {"Content-Type": "application/json"})
            answer = json.loads(connection.getresponse().read())
        except (http.client.HTTPException, ValueError) as error:
            raise OSError(f"{self.url} gave no usable answer: {error}") from error
        finally:
            connection.close()
        data: dict[str, Any] | None = answer.get("data")
        if data is None:
            raise OSError(f"{self.url} refused a query: {answer.get('errors')}")
        return data


def _count_of(number: int, batch: str) -> str:
    tags = f'tags: [{{key: "dagster/partition", value: {json.dumps(batch)}}}]'
    counted = "{ ... on Runs { count } }"
    return (
        f"failed{number}: runsOrError(filter: {{{tags}, statuses: [FAILURE]}}) {counted} "
        f"all{number}: runsOrError(filter: {{{tags}}}) {counted}"
    )
