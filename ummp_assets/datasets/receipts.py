"""Receipts of takedowns: what was taken away, where, when and from which versions; sealed, signed, stored, sent.

The seal is the field `sha256`, the hash of all other fields: it shows that a receipt was damaged, but whoever changes
one can seal it anew. With `UMMP_DATASETS__RECEIPT_KEY` set, the field `hmac_sha256` signs the seal (RFC 2104), so that
only who holds the key can have made the receipt, and can tell so: it proves nothing to anybody else.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from ummp_assets.datasets.erase import ErasedStage
from ummp_assets.datasets.withdrawals import Withdrawal
from ummp_assets.errors import InvalidInput, ManifestCorrupt, ObjectNotFound
from ummp_assets.messages.outbox import Record, send_once
from ummp_assets.messages.topics import topic_names
from ummp_assets.reasons import Outcome
from ummp_assets.settings import Settings
from ummp_assets.storage.index import SampleEntry
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.takedown_index import TakedownEntry

__all__ = [
    "SCHEMA",
    "Receipt",
    "check_receipt",
    "erased_blobs",
    "is_whole_receipt",
    "list_receipts",
    "load_receipt",
    "publish_receipt",
    "read_receipt",
    "receipt_path",
    "stored_before",
    "unfinished_samples",
    "write_receipt",
]

SCHEMA = "ummp.takedown-receipt/1"

_FOLDER = "takedowns"
_SEALS = ("sha256", "hmac_sha256")
_LISTS = ("samples", "erased", "withdrawn", "orders")
_SAMPLE_FIELDS = ("sample_id", "dataset", "batch", "uri", "sha256", "outcome", "reason")
# Kafka's own limit is 1,048,588 bytes: the receipt of a domain may name a million samples.
_MAX_SENT_BYTES = 900_000


@dataclass(frozen=True, slots=True)
class Receipt:
    """What one batch of takedowns did, or one of requests that came upon orders when its way ended.

    Parameters
    ----------
    batch:
        Its key.
    samples:
        What was taken down, with what had become of it before.
    versions:
        By dataset, the version without the samples.
    completed_at:
        None as long as it goes on.
    """

    batch: str
    orders: Sequence[TakedownEntry]
    samples: Sequence[SampleEntry]
    versions: Mapping[str, int]
    erased: Sequence[ErasedStage]
    withdrawn: Sequence[Withdrawal]
    completed_at: datetime | None


def write_receipt(store: ObjectStore, settings: Settings, receipt: Receipt) -> None:
    """Seal and store a receipt, and sign it where there is a key; a second run after a crash adds what it did to the
    first one's."""
    document = _document(receipt)
    first = _read(store, receipt.batch) or document
    # The second run finds them as taken down.
    samples = {item["sample_id"]: item for item in (*document["samples"], *first["samples"])}
    # What a later call finds withdrawn includes what an earlier one did.
    withdrawn = [*first["withdrawn"], *document["withdrawn"]]
    merged = {
        **document,
        **{name: _union(first[name], document[name]) for name in ("orders", "erased")},
        "samples": [samples[name] for name in sorted(samples)],
        "withdrawn": list({(item["dataset"], item["takedown"]): item for item in withdrawn}.values()),
        "versions_without": {**first["versions_without"], **document["versions_without"]},
        "completed_at": first["completed_at"] or document["completed_at"],
    }
    seal = _seal(merged)
    key = settings.datasets.receipt_key
    signed = {**merged, "sha256": seal, **({} if key is None else {"hmac_sha256": _sign(seal, key)})}
    data = json.dumps(signed, sort_keys=True, indent=1, ensure_ascii=False).encode()
    store.write(receipt_path(receipt.batch), data + b"\n")


def check_receipt(settings: Settings, document: Mapping[str, Any]) -> bool:
    """Return whether a receipt is signed with the key of the settings; False where those have no key.

    Raises
    ------
    ManifestCorrupt
        It is not what was sealed, or not signed with the key that the settings have.
    """
    if not _is_whole(document):
        raise ManifestCorrupt("the receipt is not what was written: its sha256 differs")
    seal, key = str(document["sha256"]), settings.datasets.receipt_key
    if key is None:
        return False
    if "hmac_sha256" not in document:
        raise ManifestCorrupt("the receipt is whole but not signed: it was written without UMMP_DATASETS__RECEIPT_KEY")
    if not hmac.compare_digest(document["hmac_sha256"], _sign(seal, key)):
        raise ManifestCorrupt("the receipt was signed with another key than UMMP_DATASETS__RECEIPT_KEY, or forged")
    return True


def list_receipts(store: ObjectStore) -> list[str]:
    """Return the paths of all receipts, those included that are not finished."""
    return [info.path for info in store.list(_FOLDER)]


def is_whole_receipt(store: ObjectStore, path: str) -> bool:
    """Return whether a receipt is there, and what was sealed."""
    try:
        document = json.loads(store.read(path))
    except (ObjectNotFound, ValueError):
        return False
    return isinstance(document, dict) and _is_whole(document)


def read_receipt(store: ObjectStore, batch: str) -> dict[str, Any] | None:
    """Return the receipt of a batch of takedowns, None as long as they were not carried out."""
    document = _read(store, batch)
    return document if document and document["completed_at"] else None


def load_receipt(store: ObjectStore, name: str) -> dict[str, Any]:
    """Return a receipt by the path of a local file, or by its batch's key in the store.

    Raises
    ------
    InvalidInput
        There is neither, or it is no receipt.
    """
    file = Path(name)
    try:
        document = json.loads(file.read_bytes() if file.is_file() else store.read(receipt_path(name)))
    except (ObjectNotFound, ValueError, OSError) as error:
        raise InvalidInput(f"{name} is neither the file of a receipt nor a batch that has one: {error}") from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise InvalidInput(f"{name} is no receipt of a takedown: its schema is not {SCHEMA}")
    return document


def unfinished_samples(store: ObjectStore, batch: str) -> set[str]:
    """Return the ids of the samples in a receipt that was begun by a call which did not come to its end."""
    document = _read(store, batch)
    return {item["sample_id"] for item in document["samples"]} if document and not document["completed_at"] else set()


def stored_before(store: ObjectStore, batch: str, dataset: str) -> set[str]:
    """Return the ids of the samples that a batch of takedowns took out of a dataset."""
    receipt = read_receipt(store, batch)
    samples = receipt["samples"] if receipt else ()
    mine = (item for item in samples if item["dataset"] == dataset)
    # Receipts of the first releases do not tell.
    return {item["sample_id"] for item in mine if item.get("outcome", Outcome.STORED) == Outcome.STORED}


def erased_blobs(store: ObjectStore) -> set[str]:
    """Return the paths of all blobs that receipts say are erased."""
    receipts = (json.loads(store.read(path)) for path in list_receipts(store) if is_whole_receipt(store, path))
    return {path for receipt in receipts for item in receipt["erased"] for path in item["blobs"]}


def publish_receipt(settings: Settings, store: ObjectStore, batch: str) -> bool:
    """Send the receipt of a batch, if it has one, to the topic of ready events, once; return whether this call sent it.

    A receipt that is too large for a message is sent without its lists, with their lengths and where it is stored.

    Raises
    ------
    BrokerUnavailable
        No broker answered; the next call makes good what is missing.
    """
    if read_receipt(store, batch) is None:
        return False
    data = store.read(receipt_path(batch))
    if len(data) > _MAX_SENT_BYTES:
        data = _shortened(json.loads(data), store.uri(receipt_path(batch)))
    return send_once(settings, f"takedown.{batch}", topic_names(settings).datasets, [Record(batch.encode(), data)])


def _read(store: ObjectStore, batch: str) -> dict[str, Any] | None:
    try:
        document: dict[str, Any] = json.loads(store.read(receipt_path(batch)))
    except ObjectNotFound:
        return None
    except ValueError as error:
        address = store.uri(receipt_path(batch))
        raise ManifestCorrupt(f"{address} is damaged: {error}. `ummp datasets scrub --repair` restores it.") from error
    return document


def _is_whole(document: Mapping[str, Any]) -> bool:
    body = {name: value for name, value in document.items() if name not in _SEALS}
    return bool(document.get("sha256") == _seal(body))


def _seal(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _sign(seal: str, key: SecretStr) -> str:
    return hmac.digest(key.get_secret_value().encode(), seal.encode(), "sha256").hex()


def _union(first: list[Any], second: list[Any]) -> list[Any]:
    seen = {json.dumps(item, sort_keys=True) for item in first}
    return [*first, *(item for item in second if json.dumps(item, sort_keys=True) not in seen)]


def _document(receipt: Receipt) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "batch": receipt.batch,
        "completed_at": receipt.completed_at.isoformat() if receipt.completed_at else None,
        "orders": [asdict(order) for order in receipt.orders],
        "samples": [{name: getattr(sample, name) for name in _SAMPLE_FIELDS} for sample in receipt.samples],
        "versions_without": dict(receipt.versions),
        "erased": [asdict(item) for item in receipt.erased],
        "withdrawn": [asdict(item) for item in receipt.withdrawn],
    }


def _shortened(document: dict[str, Any], uri: str) -> bytes:
    counts = {f"{name}_count": len(document.pop(name)) for name in _LISTS}
    return json.dumps({**document, **counts, "uri": uri}).encode()


def receipt_path(batch: str) -> str:
    """Return where the receipt of a batch of takedowns stands in the store."""
    return f"{_FOLDER}/{batch}.json"
