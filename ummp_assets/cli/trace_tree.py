"""Documents of lineage as trees for people."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from rich.text import Text
from rich.tree import Tree

__all__ = ["short_line", "tree_of"]

_SHOWN_IDS = 10
# Said elsewhere in the tree.
_IDENTITY = {"sample_id", "dataset", "modality", "uri", "topic", "partition", "offset", "batch", "stage", "outcome"}
_FETCH_EXTRA = {"attempts", "evidence", "label", "attributes", "sha256", "content_sha256"}


def tree_of(document: Mapping[str, Any]) -> Tree:
    """Return the lineage of a sample, message, shard or version as a tree."""
    if "sample_id" in document:
        return _sample(document)
    if "shard" in document:
        return _shard(document)
    return _version(document) if "version" in document else _message(document)


def short_line(document: Mapping[str, Any]) -> str:
    """Return one line for one of many samples."""
    reason = f" ({document['reason']})" if document.get("reason") else ""
    return f"{document['sample_id']} in {document['dataset']}: {document['outcome']}{reason}"


def _sample(document: Mapping[str, Any]) -> Tree:
    tree = Tree(Text(short_line(document), style="bold"))
    message = document["message"]
    branch = _branch(
        tree, "message", f"topic {message['topic']}, partition {message['partition']}, offset {message['offset']}"
    )
    _fields(branch, message, ("uri", "request_id", "label", "attributes", "deadline", "key", "headers"))
    if "timestamp_ms" in message:
        _leaf(branch, "sent", _time(message["timestamp_ms"]))
    _leaf(branch, "batch", message["batch"])
    _fetch(tree, document["fetch"])
    _rejection(tree, document["rejection"])
    for name in ("clean", "features"):
        if document[name]:
            branch = _branch(tree, name, document[name].get("content_sha256", ""))
            _fields(branch, document[name], [key for key in document[name] if key not in _IDENTITY | _FETCH_EXTRA])
    _measurements(tree, document["measurements"])
    if document["rules"]:
        branch = _branch(tree, "rules", "")
        for stage, rules in document["rules"].items():
            _leaf(branch, stage, ", ".join(f"{name} {version}" for name, version in rules.items()))
    _labels(tree, document["labels"])
    for order in document["takedowns"]:
        named = f"{order['kind']} {order['target']}: {order['reason']}"
        _branch(tree, "taken down", f"{named} ({order['topic']}~{order['partition']}~{order['offset']})")
    branch = _branch(tree, "shards", "" if document["shards"] else "in none")
    _shards(branch, document["shards"])
    return tree


def _fetch(tree: Tree, fetch: Mapping[str, Any] | None) -> None:
    if not fetch:
        return
    branch = _branch(tree, "fetch", f"sha256 {fetch['sha256']}" if fetch.get("sha256") else "failed")
    _fields(branch, fetch, ("final_uri", "media_type", "byte_count", "fetched_at", "etag", "last_modified", "blob"))
    for number, attempt in enumerate(fetch.get("attempts") or (), 1):
        said = attempt.get("status") or attempt.get("error") or "read"
        _leaf(branch, f"attempt {number}", f"{attempt['time']} {attempt.get('address') or ''} {said}")
    for name, value in (fetch.get("evidence") or {}).items():
        _leaf(branch, f"policy: {name}", value)


def _rejection(tree: Tree, rejection: Mapping[str, Any] | None) -> None:
    if not rejection:
        return
    branch = _branch(tree, "rejected", f"{rejection['outcome']} in {rejection['stage']}: {rejection['reason']}")
    _fields(branch, rejection, ("detail", "measured", "twin"))


def _measurements(tree: Tree, measured: Mapping[str, Any] | None) -> None:
    numbers = {name: value for name, value in (measured or {}).items() if isinstance(value, int | float)}
    if numbers:
        said = ", ".join(f"{name} {value:.4g}" for name, value in numbers.items())
        _branch(tree, "measured", said)


def _labels(tree: Tree, labels: Iterable[Mapping[str, Any]]) -> None:
    items = list(labels)
    if items:
        branch = _branch(tree, "labels", f"{len(items)}, the newest last")
        for label in items:
            by = f" by {label['annotator']}" if label["annotator"] else ""
            _leaf(branch, _time(label["timestamp_ms"]), f"{label['label']}{by} ({label['message']})")


def _shard(document: Mapping[str, Any]) -> Tree:
    tree = Tree(Text(document["shard"] + (" (purged)" if document["purged"] else ""), style="bold"))
    _shards(_branch(tree, "versions", ""), document["versions"])
    _batches(_branch(tree, "batches", ""), document["batches"])
    ids = document["sample_ids"]
    branch = _branch(tree, "messages", f"{len(ids):,}")
    for sample_id in ids[:_SHOWN_IDS]:
        branch.add(Text(sample_id))
    if len(ids) > _SHOWN_IDS:
        branch.add("... --messages prints all")
    return tree


def _version(document: Mapping[str, Any]) -> Tree:
    withdrawn = ", withdrawn by a takedown" if document["withdrawn"] else ""
    title = f"{document['dataset']} v{document['version']}, made by {document['cause']}{withdrawn}"
    tree = Tree(Text(title, style="bold"))
    _fields(tree, document, ("rows", "parent", "sha256"))
    for topic, ends in document["watermark"].items():
        _leaf(tree, "watermark", f"{topic} {ends}")
    _batches(_branch(tree, "added batches", ""), document["added_batches"])
    _list(_branch(tree, "all batches", f"{len(document['batches']):,}"), document["batches"])
    _list(_branch(tree, "shards", f"{len(document['shards']):,}"), document["shards"])
    return tree


def _message(document: Mapping[str, Any]) -> Tree:
    message = document["message"]
    title = f"{message['topic']}, partition {message['partition']}, offset {message['offset']}: {message['stage']}"
    tree = Tree(Text(title, style="bold"))
    _leaf(tree, "batch", message["batch"])
    _fields(tree, message, [name for name in message if name not in _IDENTITY])
    return tree


def _shards(branch: Tree, shards: Iterable[Mapping[str, Any]]) -> None:
    for shard in shards:
        last = "on" if shard["last_version"] is None else f"to v{shard['last_version']}"
        withdrawn = ", withdrawn" if shard["withdrawn"] else ""
        branch.add(Text(f"{shard['dataset']} from v{shard['first_version']} {last}{withdrawn}: {shard['path']}"))


def _batches(branch: Tree, batches: Iterable[Mapping[str, Any]]) -> None:
    for batch in batches:
        ranges = ", ".join(
            f"{number}: {first}-{end - 1}" for number, (first, end) in batch["offsets"].items() if end > first
        )
        branch.add(Text(f"{batch['batch']}  partition: offsets  {ranges}"))


def _list(branch: Tree, names: list[str]) -> None:
    for name in names[-_SHOWN_IDS:]:
        branch.add(Text(name))
    if len(names) > _SHOWN_IDS:
        branch.add("... --json shows all")


def _branch(tree: Tree, name: str, value: str) -> Tree:
    return tree.add(Text.assemble((name, "cyan"), "  ", value, overflow="fold"))


def _leaf(tree: Tree, name: str, value: object) -> None:
    tree.add(Text.assemble((name, "dim"), " ", str(value), overflow="fold"))


def _fields(tree: Tree, values: Mapping[str, Any], names: Iterable[str]) -> None:
    for name in names:
        if values.get(name) not in (None, "", {}, []):
            _leaf(tree, name, values[name])


def _time(timestamp_ms: int) -> str:
    return datetime.fromtimestamp(timestamp_ms / 1000, UTC).isoformat(timespec="milliseconds")
