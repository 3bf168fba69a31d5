"""Asset checks: what must hold before a batch may reach a dataset.

They are evaluated in the step of the asset that they check: a check of its own with partitions is still a preview in
Dagster 1.13, and one without them loads every partition.
"""

import dagster as dg

from ummp_assets.storage.accounting import account
from ummp_assets.storage.objects import ObjectStore

__all__ = ["ACCOUNTING", "check_accounting"]

ACCOUNTING = dg.AssetCheckSpec(
    name="accounting",
    asset="training_shards",
    blocking=True,
    description=(
        "Every message of the batch's range has an outcome, and the outcomes add up: nothing was lost, nothing counted "
        "twice. Blocking: a batch whose sums do not hold is committed to no dataset."
    ),
)


def check_accounting(store: ObjectStore, batch: str) -> dg.AssetCheckResult:
    """Add up a batch and return the evaluation of `ACCOUNTING`."""
    found = account(store, batch)
    return dg.AssetCheckResult(
        check_name=ACCOUNTING.name,
        passed=not found.problems,
        description="; ".join(found.problems) or "The outcomes add up to the messages of the range.",
        metadata={
            "batch": batch,
            "messages": found.messages,
            "samples": found.samples,
            **{outcome.value: count for outcome, count in found.outcomes.items()},
        },
    )
