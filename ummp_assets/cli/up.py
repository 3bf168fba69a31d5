"""`ummp up`: everything on this machine, until it is stopped."""

import time
from typing import TYPE_CHECKING

import click

from ummp_assets.cli.terminal import Stopped, answers, json_option, notes, print_json, stop_signals

if TYPE_CHECKING:
    from ummp_assets.cli.stack.stack import Stack

__all__ = ["up_command"]

_CHECK_SECONDS = 1.0


@click.command("up")
@click.option("--port", type=click.IntRange(1, 65_535), help="Port of the web UI. Default: that of last time, or 3000.")
@json_option
def up_command(port: int | None, as_json: bool) -> None:
    """Run everything on this machine: broker, Dagster's daemon with the sensors, and web UI.

    Everything is kept in the home folder (UMMP_HOME, ~/.ummp by default) and goes on where it was at the next start.
    With UMMP_KAFKA_BOOTSTRAP_SERVERS set, that Kafka is used instead of the embedded broker. Ctrl-C ends it.
    """
    from ummp_assets.cli.stack.stack import run_stack
    from ummp_assets.settings import load_settings

    settings = load_settings()
    console = notes()

    try:
        with (
            stop_signals(),
            console.status("") as status,
            run_stack(settings, ui_port=port, say=status.update) as stack,
        ):
            status.stop()
            _announce(stack, as_json)
            while True:
                time.sleep(_CHECK_SECONDS)
                stack.check()
    except Stopped:
        console.print("Stopped. What was under way goes on at the next `ummp up`.")


def _announce(stack: "Stack", as_json: bool) -> None:
    settings = stack.settings
    if as_json:
        addresses = {"ui": stack.ui.url, "kafka": settings.bootstrap_servers, "store": settings.store_url}
        print_json({**addresses, "home": settings.home_path, "recovered_runs": stack.recovered_runs})
        return
    if stack.recovered_runs:
        notes().print(f"{stack.recovered_runs} runs were under way when the last stack ended: they start again.")
    for line in (
        f"Web UI  {stack.ui.url}",
        f"Kafka   {settings.bootstrap_servers}",
        f"Store   {settings.store_url}",
        f"Logs    {settings.home_path / 'logs'}",
        "Now try, in another terminal: ummp submit --dataset mine https://...",
        "Ctrl-C ends this; the data stay.",
    ):
        answers().print(line, soft_wrap=True, markup=False)
