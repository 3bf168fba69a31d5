"""Every error that UMMP raises on purpose.

The class decides what happens next, never the text: a `Transient` error is worth another try (Dagster's retry policies
and our own loops try again), a `Permanent` one is not and says what to change.

    UmmpError
    ├── Transient
    │   ├── BrokerUnavailable    no Kafka broker answered at the configured address
    │   ├── StoreUnavailable     an object could not be read or written: permissions, full disk, network
    │   ├── IndexUnavailable     the index database did not answer
    │   ├── CommitConflict       another committer took the dataset version first; the next try builds on it
    │   ├── StackFailed          a process that `ummp up` needs did not start or ended by itself
    │   └── WaitTimeout          what was waited for did not come in time
    └── Permanent
        ├── BatchAbandoned       a batch that was given up is run once more
        ├── BrokerRefused        the broker answered, but does not let this user do that
        ├── InvalidSettings      a setting is missing, malformed or contradicts another
        ├── InvalidInput         an argument or a file given by the user is unusable
        ├── ObjectNotFound       the store holds no object at that path
        ├── ManifestMissing      a stage or dataset was never committed for that key
        ├── ManifestCorrupt      a manifest or one of its files is not what was written
        ├── UnsupportedFormat    written by a version of UMMP that this one cannot go on from
        ├── SchemaConflict       a column changed its type between batches of one dataset
        ├── DatasetNotFound      no dataset or no version of that name
        ├── OffsetsWentBack      a topic ends before what was already planned from it
        ├── TopicReplaced        a topic is another one than its batches were planned from, under the same name
        ├── EmbeddedBrokerFailed the embedded broker could not start: port in use, folder locked or not writable
        └── AccountingMismatch   outcomes do not add up to the messages of the batch's range
"""

from typing import Any

__all__ = [
    "AccountingMismatch",
    "BatchAbandoned",
    "BrokerRefused",
    "BrokerUnavailable",
    "CommitConflict",
    "DatasetNotFound",
    "EmbeddedBrokerFailed",
    "IndexUnavailable",
    "InvalidInput",
    "InvalidSettings",
    "ManifestCorrupt",
    "ManifestMissing",
    "ObjectNotFound",
    "OffsetsWentBack",
    "Permanent",
    "SchemaConflict",
    "StackFailed",
    "StoreUnavailable",
    "TopicReplaced",
    "Transient",
    "UmmpError",
    "UnsupportedFormat",
    "WaitTimeout",
]


class UmmpError(Exception):
    """Base of every error that UMMP raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        # The default calls the class with the message alone, which breaks a process pool where it takes more.
        return _restore, (type(self), self.args, self.__dict__)


def _restore(kind: type[UmmpError], arguments: tuple[Any, ...], fields: dict[str, Any]) -> UmmpError:
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(fields)
    return error


class Transient(UmmpError):
    """The same call may succeed later."""


class Permanent(UmmpError):
    """The same call will fail again until something is changed."""


class BrokerUnavailable(Transient):
    """No Kafka broker answered at the configured address.

    Parameters
    ----------
    bootstrap_servers:
        The address that was tried.
    cause:
        What the client library said.
    """

    def __init__(self, bootstrap_servers: str, cause: object) -> None:
        self.bootstrap_servers = bootstrap_servers
        super().__init__(
            f"no Kafka broker answered at {bootstrap_servers} ({cause}). "
            "Check that it runs and that UMMP_KAFKA_BOOTSTRAP_SERVERS names it, "
            "or run `ummp up`, which starts an embedded broker; `ummp doctor` checks every connection."
        )


class StoreUnavailable(Transient):
    """An object could not be read or written."""

    def __init__(self, path: str, cause: object) -> None:
        self.path = path
        super().__init__(
            f"the store cannot be used at {path}: {cause}. Check UMMP_STORE, its permissions and free space."
        )


class IndexUnavailable(Transient):
    """The index database did not answer."""


class CommitConflict(Transient):
    """Another committer created the dataset version first."""


class StackFailed(Transient):
    """A process that `ummp up` needs did not start or ended by itself."""


class WaitTimeout(Transient):
    """What was waited for did not come in time."""


class BatchAbandoned(Permanent):
    """A batch that was given up is run once more."""


class BrokerRefused(Permanent):
    """The broker answered, but does not let this user do that."""

    def __init__(self, bootstrap_servers: str, cause: object) -> None:
        self.bootstrap_servers = bootstrap_servers
        super().__init__(
            f"the Kafka broker at {bootstrap_servers} refused: {cause}. "
            "Check the credentials in UMMP_KAFKA_CLIENT and the access rules (ACLs) of that user."
        )


class InvalidSettings(Permanent):
    """A setting is missing, malformed or contradicts another."""


class InvalidInput(Permanent):
    """An argument or a file given by the user is unusable."""


class ObjectNotFound(Permanent):
    """The store holds no object at that path."""

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(f"the store holds no object at {path}")


class ManifestMissing(Permanent):
    """A stage or dataset was never committed for that key."""


class ManifestCorrupt(Permanent):
    """A manifest or one of the files that it names is not what was written."""


class UnsupportedFormat(Permanent):
    """Written by a version of UMMP that this one cannot go on from: mostly a newer one."""


class SchemaConflict(Permanent):
    """A column changed its type between batches of one dataset."""


class DatasetNotFound(Permanent):
    """No dataset or no version of that name."""


class OffsetsWentBack(Permanent):
    """A topic ends before what was already planned from it."""


class TopicReplaced(Permanent):
    """A topic was deleted and made anew, or is that of another cluster: its offsets name other messages now."""

    def __init__(self, topic: str, planned_id: str, found_id: str) -> None:
        super().__init__(
            f"topic {topic} is not the one that its batches were planned from (topic id {planned_id} then, {found_id} "
            "now): it was deleted and made anew, or UMMP_KAFKA_BOOTSTRAP_SERVERS names another cluster. Nothing more "
            "is read from it, for the same offsets would name other messages. Name the cluster that has the old topic, "
            "or use another UMMP_TOPIC_PREFIX, whose topics begin anew."
        )


class EmbeddedBrokerFailed(Permanent):
    """The embedded broker could not start: the port is in use, or the folder is locked or not writable."""


class AccountingMismatch(Permanent):
    """Outcomes do not add up to the messages of the batch's range."""
