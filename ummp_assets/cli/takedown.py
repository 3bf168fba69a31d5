"""`ummp takedown`: take a URI, content, domain or sample out of everything."""

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from ummp_assets.cli.terminal import answers, json_option, notes, print_json

if TYPE_CHECKING:
    from ummp_assets.messages.schemas import TakedownMessage
    from ummp_assets.records import Coordinates
    from ummp_assets.settings import Settings
    from ummp_assets.storage.index import SampleEntry

__all__ = ["takedown_command"]

_KINDS = ("uri", "sha256", "domain", "sample_id")
_SHOWN = 5


@click.command("takedown")
@click.option("--uri", help="Take down what this URI gave.")
@click.option("--sha256", help="Take down these raw bytes, or this content, wherever they came from.")
@click.option("--domain", help="Take down everything from this host and the hosts below it.")
@click.option("--sample-id", help="Take down one sample, or all members of one message's archive.")
@click.option("--reason", help="Why; stands in the receipt and in later refusals. Required, but for --verify.")
@click.option("--requested-by", help="Who asked for it; stands in the receipt.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--no-wait", is_flag=True, help="End once the order is sent, without waiting for the receipt.")
@click.option(
    "--timeout",
    "timeout_seconds",
    type=click.FloatRange(min=0),
    default=900.0,
    show_default=True,
    help="Seconds to wait for the receipt.",
)
@click.option(
    "--verify",
    "receipt",
    metavar="RECEIPT",
    help="Take nothing down, but check a receipt: a file, or the key of its batch in the store.",
)
@json_option
def takedown_command(
    uri: str | None,
    sha256: str | None,
    domain: str | None,
    sample_id: str | None,
    reason: str | None,
    requested_by: str | None,
    yes: bool,
    no_wait: bool,
    timeout_seconds: float,
    receipt: str | None,
    as_json: bool,
) -> None:
    """Take a URI, content, domain or sample out of storage and every dataset, and refuse it from then on.

    \b
    ummp takedown --uri https://example.org/cat.jpg --reason "asked by its author" --requested-by author@example.org

    Shows what it will take away and asks first. Samples with the same content fall, too; near duplicates that were
    left out because of it enter their datasets. Every dataset gets a new version; old versions that hold it are
    withdrawn at once and purged after UMMP_DATASETS__PURGE_DELAY_HOURS. Exit code 1: no receipt came in time; the order
    stands all the same.

    \b
    ummp takedown --verify ummp.takedowns~00000001

    With UMMP_DATASETS__RECEIPT_KEY set, receipts are signed, and one without that signature is refused with exit code
    1; without it, only damage shows.
    """
    from ummp_assets.cli.takedown_waiting import wait_for_receipt
    from ummp_assets.messages.sending import send_takedown
    from ummp_assets.settings import load_settings

    settings = load_settings()
    named = {"uri": uri, "sha256": sha256, "domain": domain, "sample_id": sample_id}
    targets = {kind: value for kind, value in named.items() if value is not None}
    if receipt is not None:
        if targets or reason is not None:
            raise click.UsageError("--verify takes nothing down: leave the names and --reason out")
        _verify(settings, receipt, as_json)
        return
    if reason is None:
        raise click.MissingParameter(param_hint="'--reason'", param_type="option")
    order = _order(targets, reason, requested_by)
    _print_preview(order, _affected(settings, order))
    if not yes:
        click.confirm("Take it down? This cannot be undone.", abort=True, err=True)
    message = send_takedown(settings, order)
    if no_wait:
        _print_sent(message, as_json)
        return
    received = wait_for_receipt(settings, message, timeout_seconds)
    if as_json:
        print_json(received)
    else:
        _print_receipt(received)


def _verify(settings: "Settings", receipt: str, as_json: bool) -> None:
    from ummp_assets.datasets.receipts import check_receipt, load_receipt
    from ummp_assets.storage.objects import open_store

    document = load_receipt(open_store(settings), receipt)
    signed = check_receipt(settings, document)
    if as_json:
        print_json({"batch": document["batch"], "sha256": document["sha256"], "signed": signed})
        return
    told = "signed with UMMP_DATASETS__RECEIPT_KEY" if signed else "whole, which says nothing of who wrote it"
    answers().print(f"The receipt of {document['batch']} is {told}.", soft_wrap=True, markup=False)


def _order(targets: Mapping[str, str], reason: str, requested_by: str | None) -> "TakedownMessage":
    from pydantic import ValidationError

    from ummp_assets.messages.schemas import TakedownMessage

    if len(targets) != 1:
        raise click.UsageError("name exactly one of --uri, --sha256, --domain and --sample-id")
    try:
        return TakedownMessage.model_validate({**targets, "reason": reason, "requested_by": requested_by})
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False)
        named = (f"--{str(item['loc'][0]).replace('_', '-')}: {item['msg']}" for item in problems)
        raise click.UsageError("; ".join(named)) from None


def _affected(settings: "Settings", order: "TakedownMessage") -> "list[SampleEntry]":
    from ummp_assets.datasets.standing_orders import samples_named_by
    from ummp_assets.storage.index import open_index
    from ummp_assets.storage.takedown_index import TakedownEntry

    kind, target = next((kind, str(getattr(order, kind))) for kind in _KINDS if getattr(order, kind) is not None)
    index = open_index(settings)
    try:
        return samples_named_by(index, TakedownEntry("", 0, 0, 0, kind, target, order.reason))
    finally:
        index.close()


def _print_preview(order: "TakedownMessage", samples: "list[SampleEntry]") -> None:
    console = notes()
    if not samples:
        console.print("No sample is known by that name so far; whatever comes under it will be refused.")
        return
    stored = Counter(sample.dataset for sample in samples if sample.outcome == "stored")
    others = len(samples) - stored.total()
    console.print(f"This takes away {len(samples):,} samples, those with the same content included:")
    for dataset, count in sorted(stored.items()):
        console.print(f"  {count:,} rows of dataset {dataset}", markup=False)
    if others:
        console.print(f"  the raw bytes of {others:,} that are in no dataset (duplicates, filtered)")
    for sample in samples[:_SHOWN]:
        console.print(f"  {sample.sample_id}  {sample.uri}", soft_wrap=True, markup=False)
    if len(samples) > _SHOWN:
        console.print(f"  ... and {len(samples) - _SHOWN:,} more")
    console.print(f"Reason: {order.reason}", markup=False)


def _print_sent(message: "Coordinates", as_json: bool) -> None:
    if as_json:
        print_json({"message": message.sample_id})
    else:
        answers().print(f"Ordered by message {message.sample_id}; its receipt follows on the topic of datasets.")


def _print_receipt(receipt: dict[str, Any]) -> None:
    console = answers()
    console.print(f"Taken down: {len(receipt['samples']):,} samples, at {receipt['completed_at']}")
    for dataset, version in receipt["versions_without"].items():
        console.print(f"  {dataset} v{version} is without them", markup=False)
    for item in receipt["withdrawn"]:
        versions = sorted({number for first, end in item["shards"].values() for number in range(first, end)})
        named = ", ".join(f"v{number}" for number in versions)
        console.print(f"  {item['dataset']} {named}: withdrawn, purged after {item['purge_after']}", markup=False)
    for item in receipt["erased"]:
        blobs = f" and {len(item['blobs'])} blobs" if item["blobs"] else ""
        console.print(f"  {item['rows']:,} rows{blobs} erased from {item['stage']} of {item['batch']}", markup=False)
    console.print(f"Receipt: {receipt['uri']}, sha256 {receipt['sha256']}", soft_wrap=True, markup=False)
