"""`ummp submit`: requests from the command line."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from ummp_assets.cli.interrupting import interruptible
from ummp_assets.cli.sources import FORMATS, open_source, parse_json_or_text
from ummp_assets.cli.terminal import answers, json_option, notes, print_json

if TYPE_CHECKING:
    from ummp_assets.messages.submitting import Priority, Submission

__all__ = ["submit_command"]

_MODALITIES = ("auto", "text", "image", "audio", "archive", "table")
_PRIORITIES = ("high", "normal", "low")
_SHOWN_REFUSALS = 10


@click.command("submit")
@click.argument("uris", nargs=-1, metavar="[URI]...")
@click.option("-f", "--file", "path", metavar="FILE", help="Take the URIs from a file; - is standard input.")
@click.option(
    "--format",
    "format_name",
    type=click.Choice(FORMATS),
    help="Of the file; by default what its name ends in, else text. text: a URI a line. csv, parquet: a column `uri`, "
    "and if you like dataset, modality, id, sha256, label, attributes, deadline; other columns become attributes.",
)
@click.option("-d", "--dataset", help="Dataset of the requests that name none: [a-z0-9][a-z0-9_-]{0,63}.")
@click.option("-m", "--modality", type=click.Choice(_MODALITIES), help="Of the requests that name none. Default: auto.")
@click.option(
    "-p", "--priority", type=click.Choice(_PRIORITIES), default="normal", show_default=True, help="Topic to send to."
)
@click.option("-l", "--label", help="Label of the requests that have none: JSON, or else plain text.")
@click.option(
    "-a", "--attribute", "attributes", multiple=True, metavar="NAME=VALUE", help="Kept with the sample; repeatable."
)
@json_option
def submit_command(
    uris: tuple[str, ...],
    path: str | None,
    format_name: str | None,
    dataset: str | None,
    modality: str | None,
    priority: "Priority",
    label: str | None,
    attributes: tuple[str, ...],
    as_json: bool,
) -> None:
    """Request URIs: they are downloaded, cleaned and added to a dataset.

    \b
    ummp submit --dataset cats https://example.org/1.jpg https://example.org/2.jpg
    ummp submit --dataset cats --file uris.txt
    ummp submit --file requests.csv --priority low
    find /data -name '*.flac' -printf 'file://%p\\n' | ummp submit -d sounds -f -

    Reports only what the broker has acknowledged. Exit code 1: some were refused, the broker was lost, or Ctrl-C
    ended it early.
    """
    if bool(uris) == bool(path):
        raise click.UsageError("name URIs or a --file (- is standard input), one of both")
    source = open_source(uris, path, format_name)
    if not dataset and not source.has_dataset:
        raise click.UsageError("--dataset is required: the requests name none themselves")
    defaults = {
        "modality": modality,
        "label": None if label is None else parse_json_or_text(label),
        "attributes": dict(_split(item) for item in attributes) or None,
    }
    started = time.monotonic()
    with interruptible(source.requests) as requests:
        submission = _submit(requests, source.total, dataset, priority, defaults)
    _report(submission, time.monotonic() - started, as_json)
    if requests.interrupted:
        notes().print("Interrupted: what came after these requests was not sent.")
    if submission.refused or requests.interrupted:
        raise click.exceptions.Exit(1)


def _split(attribute: str) -> tuple[str, str]:
    name, equals, value = attribute.partition("=")
    if not equals or not name:
        raise click.UsageError(f"--attribute {attribute!r} is not of the form NAME=VALUE")
    return name, value


def _submit(
    requests: Iterator[Mapping[str, Any]],
    total: int | None,
    dataset: str | None,
    priority: "Priority",
    defaults: dict[str, Any],
) -> "Submission":
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from ummp_assets.messages.submitting import submit

    columns = (TextColumn("acknowledged"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = notes()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=total)
        return submit(
            requests,
            dataset=dataset,
            priority=priority,
            defaults=defaults,
            on_acknowledged=lambda count: progress.update(task, completed=count),
        )


def _report(submission: "Submission", seconds: float, as_json: bool) -> None:
    if as_json:
        print_json({**asdict(submission), "seconds": round(seconds, 3)})
        return
    answers().print(f"{submission.acknowledged:,} requests acknowledged on {submission.topic} in {seconds:.1f} s")
    console = notes()
    for refusal in submission.refusals[:_SHOWN_REFUSALS]:
        console.print(f"refused: request {refusal.position} ({refusal.uri or 'no URI'}): {refusal.cause}", markup=False)
    if submission.refused > _SHOWN_REFUSALS:
        console.print(f"... and {submission.refused - _SHOWN_REFUSALS:,} more refused")
