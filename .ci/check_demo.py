"""Check the numbers of `ummp demo --once --json`: nothing lost, every kind of outcome seen, in time."""

import json
import sys
from pathlib import Path

LIMIT_SECONDS = 60


def find_problems(demo: dict) -> list[str]:
    """Return a sentence for each number that is not as it must be."""
    problems = []
    if demo["seconds"] > LIMIT_SECONDS:
        problems.append(f"it took {demo['seconds']} s, the limit is {LIMIT_SECONDS} s")
    for modality, counts in demo["modalities"].items():
        outcomes = sum(counts[name] for name in ("stored", "duplicate", "filtered", "dead"))
        if outcomes != counts["messages"]:
            problems.append(f"{modality}: {counts['messages']} messages, but {outcomes} outcomes")
        if not (counts["stored"] and counts["duplicate"] and counts["dead"] and counts["bytes"]):
            problems.append(f"{modality}: an outcome was never seen: {counts}")
    if not demo["unreadable_messages"]:
        problems.append("no message was unreadable, though some were sent")
    if len(demo["datasets"]) != len(demo["modalities"]) or demo["ready_events"] != len(demo["datasets"]):
        problems.append(f"{len(demo['datasets'])} datasets, {demo['ready_events']} ready events")
    stored = sum(counts["stored"] for counts in demo["modalities"].values())
    if sum(dataset["rows"] for dataset in demo["datasets"]) != stored:
        problems.append(f"{stored} samples stored, but the datasets have other numbers of rows: {demo['datasets']}")
    return problems


if __name__ == "__main__":
    found = find_problems(json.loads(Path(sys.argv[1]).read_text()))
    print("\n".join(found) or "the demo's numbers are right")
    sys.exit(bool(found))
