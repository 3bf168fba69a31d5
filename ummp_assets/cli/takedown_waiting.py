"""Waiting until a takedown is carried out, with its steps on the terminal."""

import time
from typing import Any

from ummp_assets.cli.terminal import notes
from ummp_assets.datasets.receipts import read_receipt, receipt_path
from ummp_assets.errors import WaitTimeout
from ummp_assets.messages.offset_log import OffsetLog
from ummp_assets.records import Coordinates
from ummp_assets.settings import Settings
from ummp_assets.storage.objects import ObjectStore, open_store
from ummp_assets.storage.stages import stage_path

__all__ = ["wait_for_receipt"]

_POLL_SECONDS = 0.25


def wait_for_receipt(settings: Settings, message: Coordinates, timeout_seconds: float) -> dict[str, Any]:
    """Return the receipt of the batch that holds an order, with its address as `uri`.

    Raises
    ------
    WaitTimeout
        It did not come in time; the message says how far the order came.
    """
    store = open_store(settings)
    deadline = time.monotonic() + timeout_seconds
    console = notes()
    with console.status("", spinner="dots") as status:
        while True:
            step, batch = _step(store, message)
            receipt = read_receipt(store, batch) if batch else None
            if batch and receipt is not None:
                return {**receipt, "uri": store.uri(receipt_path(batch))}
            status.update(f"Order {message.sample_id}: {step}")
            if time.monotonic() > deadline:
                raise WaitTimeout(
                    f"no receipt for the order {message.sample_id} after {timeout_seconds:g} s: {step}. The order "
                    "stands: it is carried out as soon as `ummp up` runs, or takedowns_sensor is on in your Dagster. "
                    "`ummp status` shows what it waits for."
                )
            time.sleep(_POLL_SECONDS)


def _step(store: ObjectStore, message: Coordinates) -> tuple[str, str | None]:
    batch = OffsetLog(store).find(message.topic, message.partition, message.offset)
    if batch is None:
        return "sent, waits for the sensor to plan it", None
    if store.exists(stage_path("takedowns", batch.key)):
        return f"read in batch {batch.key}, rewriting what it touches", batch.key
    return f"planned in batch {batch.key}, waits for its run", batch.key
