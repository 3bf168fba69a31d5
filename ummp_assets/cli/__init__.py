"""The `ummp` command: one file per command, loaded only when it is called.

`ummp --help` therefore costs an import of click and nothing else. Exit codes: 0 done, 1 the job failed, 2 wrong use.
"""

import logging
from typing import Any

import click

from ummp_assets.cli.lazy_group import LazyCommand, LazyGroup
from ummp_assets.errors import InvalidInput, InvalidSettings, UmmpError

__all__ = ["main"]

_FAILED, _WRONG_USE = 1, 2

_COMMANDS = {
    "up": LazyCommand("up", "up_command", "Run everything on this machine: broker, web UI, sensors."),
    "demo": LazyCommand(
        "demo.command", "demo_command", "Run the whole way on real sample content and show what came out."
    ),
    "submit": LazyCommand("submit", "submit_command", "Request URIs: arguments, a file or stdin."),
    "status": LazyCommand("status", "status_command", "Show lag, batches, outcomes and failures."),
    "datasets": LazyCommand(
        "datasets.group", "datasets_group", "List, compare, export, rebuild and look after datasets."
    ),
    "trace": LazyCommand("trace", "trace_command", "Show where a sample came from and where it went, both ways."),
    "dead": LazyCommand("dead.group", "dead_group", "List, show and send again what could not be used."),
    "replay": LazyCommand("replay", "replay_command", "Process a range of messages once more."),
    "takedown": LazyCommand(
        "takedown", "takedown_command", "Take a URI, content, domain or sample out of every dataset."
    ),
    "abandon": LazyCommand("abandon", "abandon_command", "Give up a batch that will never get through."),
    "doctor": LazyCommand("doctor", "doctor_command", "Check every setting and connection and say what to do."),
    "broker": LazyCommand("broker", "broker_command", "Run the embedded Kafka-compatible broker alone."),
}


class _Main(LazyGroup):
    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error of ours becomes a message and an exit code instead of a traceback."""
        try:
            return super().invoke(ctx)
        except UmmpError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(_WRONG_USE if isinstance(error, InvalidInput | InvalidSettings) else _FAILED)


@click.group(
    cls=_Main,
    lazy_commands=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="ummp-assets", prog_name="ummp")
def main() -> None:
    """UMMP: messages in, versioned training datasets out.

    Settings are UMMP_* environment variables; `ummp doctor` lists every one with its value. Try `ummp demo` first.
    """
    # Its errors reach the user as one message that says what to do, not as a line for each attempt to connect.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
