"""Asset checks: what must hold before a batch may reach a dataset."""

import dagster as dg

from ummp_assets.defs.assets.datasets import training_shards
from ummp_assets.defs.deployment import Deployment
from ummp_assets.defs.partitions import BATCHES
from ummp_assets.defs.retries import permanent_errors_fail_at_once
from ummp_assets.messages.topics import Role
from ummp_assets.storage.accounting import account

__all__ = ["accounting"]


@dg.asset_check(asset=training_shards, blocking=True, partitions_def=BATCHES[Role.REQUESTS])
def accounting(context: dg.AssetCheckExecutionContext, deployment: Deployment) -> dg.AssetCheckResult:
    """Every message of the batch's range has an outcome, and the outcomes add up: nothing was lost, nothing counted
    twice.

    Blocking: a batch whose sums do not hold is not committed to any dataset.
    """
    with permanent_errors_fail_at_once():
        found = account(deployment.store, context.partition_key)
    return dg.AssetCheckResult(
        passed=not found.problems,
        description="; ".join(found.problems) or "The outcomes add up to the messages of the range.",
        metadata={
            "messages": found.messages,
            "samples": found.samples,
            **{outcome.value: count for outcome, count in found.outcomes.items()},
        },
    )
