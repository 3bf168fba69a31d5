"""What `ummp doctor` tries, one function a connection."""

import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal
from urllib.parse import urlsplit

from ummp_assets.errors import InvalidSettings, UmmpError
from ummp_assets.settings import Settings

__all__ = ["Check", "check_all"]


@dataclass(frozen=True, slots=True)
class Check:
    """What was found; `advice` says what to do when not all is well."""

    name: str
    state: Literal["ok", "note", "failed"]
    detail: str
    advice: str = ""


def check_all(settings: Settings | None, problem: InvalidSettings | None) -> Iterator[Check]:
    """Yield the result of every check; without valid settings only their own."""
    if settings is None:
        yield Check("settings", "failed", str(problem), "Nothing else can be checked before this is mended.")
        return
    yield _check_names()
    checks = {**_CHECKS, "openlineage": _check_openlineage} if settings.openlineage_url else _CHECKS
    for name, check in checks.items():
        try:
            yield check(settings)
        except UmmpError as error:
            yield Check(name, "failed", str(error))


def _check_names() -> Check:
    from ummp_assets.cli.settings_table import unknown_variables

    unknown = unknown_variables(os.environ)
    if not unknown:
        return Check("settings", "ok", "all values are within their bounds")
    advice = ", ".join(f"{close} for {name}" for name, close in unknown.items() if close)
    return Check(
        "settings",
        "note",
        f"without effect, as no setting has this name: {', '.join(unknown)}",
        f"Did you mean {advice}?" if advice else "`ummp doctor --all` lists every setting.",
    )


def _check_home(settings: Settings) -> Check:
    home = settings.home_path
    probe = home / f".doctor-{os.getpid()}"
    try:
        home.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"probe")
        probe.unlink()
    except OSError as error:
        return Check("home", "failed", f"{home}: {error}", "Set UMMP_HOME to a folder that can be written.")
    return Check("home", "ok", f"{home} can be written")


def _check_broker(settings: Settings) -> Check:
    from ummp_assets.messages.clients import broker_errors, make_admin
    from ummp_assets.messages.topics import topic_names

    with make_admin(settings) as admin, broker_errors(settings):
        present = set(admin.list_topics())
    missing = [name for name in topic_names(settings).all() if name not in present]
    if missing:
        advice = "`ummp up` and `ummp submit` create them; or create them yourself with the rights that they lack."
        return Check(
            "broker", "note", f"{settings.bootstrap_servers} answers, without topics {', '.join(missing)}", advice
        )
    return Check("broker", "ok", f"{settings.bootstrap_servers} answers and has all topics")


def _check_batches(settings: Settings) -> Check:
    from ummp_assets.cli.attention import exhausted_batches, topic_problem
    from ummp_assets.messages.attempts import explain_exhausted
    from ummp_assets.messages.offset_log import OffsetLog
    from ummp_assets.messages.reading import read_topic_ends
    from ummp_assets.messages.topics import Role, topic_names
    from ummp_assets.storage.objects import open_store

    topics = [topic for role in Role for topic in topic_names(settings).of_role(role)]
    try:
        store = open_store(settings)
        log, ends = OffsetLog(store), read_topic_ends(settings, *topics)
        problems = [topic_problem(topic, log.last(topic), ends.get(topic)) for topic in topics]
        exhausted = exhausted_batches(settings, store)
    except (UmmpError, OSError):
        # Each has a check of its own, which says what to do.
        return Check("batches", "note", "not looked at, as the broker, the store or the web UI does not answer")
    if replaced := [problem for problem in problems if problem]:
        return Check("batches", "failed", " ".join(replaced))
    if exhausted:
        advice = " ".join(explain_exhausted(settings, key) for key in exhausted)
        return Check("batches", "failed", f"{len(exhausted)} batches have used up their attempts", advice)
    return Check("batches", "ok", "every topic is the one that its batches came from, none is out of attempts")


def _check_store(settings: Settings) -> Check:
    from ummp_assets.storage.objects import open_store

    store, path = open_store(settings), f"doctor/{os.getpid()}"
    store.delete(path)
    try:
        if not store.create(path, b"probe") or store.create(path, b"other") or store.read(path) != b"probe":
            return Check(
                "store",
                "failed",
                f"{store.uri()} does not keep put-if-absent: a second writer replaced the first",
                "Dataset versions need it; use a local folder, S3 with conditional writes, GCS, Azure or HDFS.",
            )
    finally:
        store.delete(path)
    return Check("store", "ok", f"{store.uri()} can be written and read")


def _check_index(settings: Settings) -> Check:
    from ummp_assets.cli.settings_table import hide_secrets
    from ummp_assets.storage.index import open_index

    index = open_index(settings)
    try:
        index.ping()
    finally:
        index.close()
    return Check("index", "ok", f"{hide_secrets(settings.index_url)} answers")


def _check_dagster(settings: Settings) -> Check:
    from ummp_assets.cli.stack.home import running_state
    from ummp_assets.cli.stack.web_ui import WebUi

    state = running_state(settings.home_path)
    if state is None:
        detail = f"no `ummp up` runs on {settings.home_path}: messages wait, none is collected"
        return Check("dagster", "note", detail, "Run `ummp up`, unless you run Dagster yourself.")
    ui = WebUi(state.ui_url or "")
    try:
        problem, unhealthy = ui.load_error(), ui.unhealthy_daemons()
    except OSError as error:
        detail = f"the web UI at {ui.url} does not answer: {error}"
        return Check("dagster", "failed", detail, f"See {settings.home_path / 'logs'}, then start `ummp up` again.")
    if problem:
        return Check("dagster", "failed", f"the code cannot be loaded: {problem}", "Mend it and reload it in the UI.")
    if unhealthy:
        detail = f"{ui.url} answers, but these daemons gave no sign of life: {', '.join(unhealthy)}"
        return Check("dagster", "failed", detail, f"See {settings.home_path / 'logs' / 'daemon.log'}.")
    return Check("dagster", "ok", f"{ui.url} answers, all daemons run")


def _check_openlineage(settings: Settings) -> Check:
    url = settings.openlineage_url or ""
    if find_spec("openlineage") is None:
        detail = "UMMP_OPENLINEAGE_URL is set, but the client is not installed: no event is sent"
        return Check("openlineage", "note", detail, "pip install 'ummp-assets[openlineage]'")
    try:
        place = urlsplit(url)
        port = place.port or (443 if place.scheme == "https" else 80)
        with socket.create_connection((place.hostname or "", port), settings.openlineage_timeout_seconds):
            return Check("openlineage", "ok", f"{url} takes connections")
    except (OSError, ValueError) as error:
        detail = f"{url} does not answer: {error}; runs go on, their events are dropped"
        return Check("openlineage", "note", detail, "Check UMMP_OPENLINEAGE_URL.")


_CHECKS: dict[str, Callable[[Settings], Check]] = {
    "home": _check_home,
    "broker": _check_broker,
    "store": _check_store,
    "index": _check_index,
    "dagster": _check_dagster,
    "batches": _check_batches,
}
