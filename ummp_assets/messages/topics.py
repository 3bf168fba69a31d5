"""The topics that UMMP reads and writes, and the roles that they play."""

from dataclasses import dataclass
from enum import StrEnum

from ummp_assets.messages.clients import broker_errors, make_admin
from ummp_assets.settings import Settings

__all__ = ["PRIORITIES", "REPLAY_SUFFIX", "Role", "TopicNames", "ensure_topics", "topic_names"]

PRIORITIES = {"high": 10, "normal": 0, "low": -10}
"""Dagster run priority of each request topic."""

REPLAY_SUFFIX = ".replay"
"""What the name under which a topic's replays stand in the offset log ends in."""

# Room for a message above `max_message_bytes`, which is kept whole as a dead letter, and for a chunk of parameters.
_MAX_MESSAGE_BYTES = 16 * 2**20


class Role(StrEnum):
    """What a topic that becomes batches is for; one sensor reads each role."""

    REQUESTS = "requests"
    LABELS = "labels"
    TAKEDOWNS = "takedowns"
    TRAINING_LOGS = "training_logs"
    PARAMETERS = "parameters"


@dataclass(frozen=True, slots=True)
class TopicNames:
    """Names of all topics of a deployment."""

    requests_high: str
    requests_normal: str
    requests_low: str
    labels: str
    takedowns: str
    dead: str
    datasets: str
    training_logs: str
    parameters: str

    def of_role(self, role: Role) -> tuple[str, ...]:
        """Return the topics of a role, the most urgent first."""
        if role is Role.REQUESTS:
            return (self.requests_high, self.requests_normal, self.requests_low)
        return (str(getattr(self, role.value)),)

    def all(self) -> tuple[str, ...]:
        return tuple(getattr(self, name) for name in self.__slots__)

    def priority(self, topic: str) -> int:
        """Return the Dagster run priority of a topic's batches and replays: 0 unless the topic is for requests."""
        names = {"high": self.requests_high, "normal": self.requests_normal, "low": self.requests_low}
        return next(
            (PRIORITIES[level] for level, name in names.items() if name == topic.removesuffix(REPLAY_SUFFIX)), 0
        )


def topic_names(settings: Settings) -> TopicNames:
    """Return the names of all topics under the configured prefix."""
    prefix = settings.topic_prefix
    return TopicNames(
        requests_high=f"{prefix}.requests.high",
        requests_normal=f"{prefix}.requests.normal",
        requests_low=f"{prefix}.requests.low",
        labels=f"{prefix}.labels",
        takedowns=f"{prefix}.takedowns",
        dead=f"{prefix}.requests.dead",
        datasets=f"{prefix}.datasets",
        training_logs=f"{prefix}.training.logs",
        parameters=f"{prefix}.parameters",
    )


def ensure_topics(settings: Settings) -> list[str]:
    """Create the topics that are missing, with `topic_partitions` partitions, and return their names.

    Raises `BrokerUnavailable`.
    """
    names = topic_names(settings).all()
    with make_admin(settings) as admin, broker_errors(settings):
        present = set(admin.list_topics())
        missing = [name for name in names if name not in present]
        if missing:
            options = {
                "num_partitions": settings.topic_partitions,
                "configs": {"max.message.bytes": str(_MAX_MESSAGE_BYTES)},
            }
            admin.create_topics(dict.fromkeys(missing, options), raise_errors=False, wait_for_metadata=True)
    return missing
