"""`ummp demo`: the whole way on real sample content."""

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import click

from ummp_assets.cli.terminal import Stopped, answers, json_option, notes, print_json, stop_signals

if TYPE_CHECKING:
    from rich.console import Console

    from ummp_assets.cli.demo.server import SampleServer
    from ummp_assets.cli.outcomes import BatchOutcomes
    from ummp_assets.settings import Settings

__all__ = ["demo_command"]

# All messages are there before the sensor first looks.
_BATCH_WAIT_SECONDS = 0.0


@click.command("demo")
@click.option("--once", is_flag=True, help="End when the result is printed instead of leaving the web UI up.")
@click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for everything. Default: a new temporary folder with --once, else ~/.ummp/demo.",
)
@click.option("--timeout", "timeout_seconds", type=click.FloatRange(min=1), default=300.0, show_default=True)
@json_option
def demo_command(once: bool, home: Path | None, timeout_seconds: float, as_json: bool) -> None:
    """Run the whole way on real sample content and show what came out.

    Starts the embedded broker and Dagster, serves documents, photographs and sounds over HTTP on loopback, sends
    requests for them (some must fail), waits until the datasets are committed and announced, and prints what became of
    every message. Exit code 1: something failed, or the outcomes do not add up.
    """
    try:
        with stop_signals():
            _run(once, _home(once, home), timeout_seconds, as_json)
    except Stopped:
        notes().print("Stopped.")
        raise click.exceptions.Exit(0 if not once else 1) from None


def _home(once: bool, home: Path | None) -> Path:
    return home or (Path(tempfile.mkdtemp(prefix="ummp-demo-")) if once else Path("~/.ummp/demo").expanduser())


def _settings(home: Path) -> "Settings":
    """Return settings that depend on nothing outside the home, whatever the environment says of brokers and stores."""
    from ummp_assets.settings import FetchSettings, IntakeSettings, load_settings

    return load_settings(
        home=home,
        kafka_bootstrap_servers=None,
        kafka_client={},
        store=None,
        index=None,
        intake=IntakeSettings(max_batch_wait_seconds=_BATCH_WAIT_SECONDS),
        fetch=FetchSettings(allowed_addresses=("127.0.0.1/32",)),
    )


def _run(once: bool, home: Path, timeout_seconds: float, as_json: bool) -> None:
    from ummp_assets.cli.demo.report import describe, find_mismatches, print_report
    from ummp_assets.cli.demo.requests import make_input
    from ummp_assets.cli.demo.run import Sent, send, wait_for_outcome
    from ummp_assets.cli.demo.server import serve
    from ummp_assets.cli.stack.stack import run_stack

    started = time.monotonic()
    settings, console = _settings(home), notes()
    given = make_input(settings.intake.max_message_bytes)
    sent: list[Sent] = []
    with (
        serve((sample for samples in given.samples.values() for sample in samples), given.unsteady) as server,
        _Display(console, sum(len(samples) for samples in given.samples.values()), server) as display,
        # Sent while Dagster starts: the first look of the sensor then finds the messages.
        run_stack(settings, say=display.say, on_broker=lambda: sent.append(send(settings, given, server.url))) as stack,
    ):
        display.say(f"collecting {sent[0].messages} messages' content; web UI: {stack.ui.url}")
        outcome = wait_for_outcome(stack, sent[0], display.update, timeout_seconds)
        seconds = time.monotonic() - started
        display.close()
        if as_json:
            print_json(describe(outcome, seconds))
        else:
            print_report(answers(), outcome, stack, seconds)
        mismatches = list(find_mismatches(outcome))
        for mismatch in mismatches:
            console.print(f"does not add up: {mismatch}")
        if not once and not mismatches:
            console.print(f"\nWeb UI: {stack.ui.url} (Ctrl-C ends the demo; the data stay in {home})", soft_wrap=True)
            while True:
                stack.check()
                time.sleep(1)
    if mismatches:
        raise click.exceptions.Exit(1)


class _Display:
    """What is being done, how many samples were asked for, and how many stages have committed."""

    def __init__(self, console: "Console", samples: int, server: "SampleServer") -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._console, self._server = console, server
        self._bars = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._fetched = self._bars.add_task("samples fetched", total=samples)
        self._stages = self._bars.add_task("stages committed", total=None)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def say(self, text: str) -> None:
        self._console.print(text)

    def update(self, batches: "tuple[BatchOutcomes, ...]") -> None:
        from ummp_assets.cli.outcomes import STAGES

        self._bars.update(self._fetched, completed=self._server.served)
        if batches:
            done = sum(len(batch.stages_done) for batch in batches)
            self._bars.update(self._stages, completed=done, total=len(batches) * len(STAGES))

    def close(self) -> None:
        self._bars.stop()
