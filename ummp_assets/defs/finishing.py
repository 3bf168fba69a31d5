"""The end of a batch's way: its dead letters are on Kafka, and lag tools see that it is done."""

from collections.abc import Sequence

from ummp_assets.defs.deployment import Deployment
from ummp_assets.defs.jobs import LAST_STAGES
from ummp_assets.messages.dead_letters import send_dead_letters
from ummp_assets.messages.progress import publish_progress
from ummp_assets.messages.ranges import parse_key
from ummp_assets.messages.topics import Role
from ummp_assets.storage.stages import Manifest

__all__ = ["bury", "report_progress"]


def bury(deployment: Deployment, batch: str, stages: Sequence[str]) -> Manifest:
    """Send what the stages of a batch could not use to the dead-letter topic; the first stage read the messages.

    Raises `BrokerUnavailable`.
    """
    return send_dead_letters(deployment.store, deployment.settings, batch, stages)


def report_progress(deployment: Deployment, role: Role, batch: str) -> None:
    """Publish the consumer-group offsets of the batch's topic, as far as it is done; raises `BrokerUnavailable`."""
    topic, _ = parse_key(batch)
    publish_progress(deployment.store, deployment.settings, topic, *LAST_STAGES[role])
