"""The transaction coordinator: producer ids, epochs that fence zombies, two-phase commits and time-outs.

    Empty -> Ongoing -> PrepareCommit -> CompleteCommit -> Ongoing ...
                     -> PrepareAbort  -> CompleteAbort

Each state is in the database before anything else happens, so that a start after a crash finishes what was prepared:
markers already written are recognised by the transaction being no longer open in that topic-partition's log.
Rules as in Kafka's TransactionCoordinator (KIP-98, KIP-360; without KIP-890's second part).
"""

from dataclasses import dataclass
from enum import StrEnum

from ummp_assets.messages.embedded.database import Database
from ummp_assets.messages.embedded.error_codes import ErrorCode, RequestError
from ummp_assets.messages.embedded.groups import CommittedOffset, TopicPartition
from ummp_assets.messages.embedded.record_batch import BatchHeader, now_ms
from ummp_assets.messages.embedded.topics import Topics

__all__ = ["ProducerIdentity", "TransactionState", "Transactions"]

_MAX_TIMEOUT_MS = 900_000
_LAST_EPOCH = 2**15 - 2  # the last one is kept for fencing


class TransactionState(StrEnum):
    """The names that Kafka shows for the states of a transaction."""

    EMPTY = "Empty"
    ONGOING = "Ongoing"
    PREPARE_COMMIT = "PrepareCommit"
    PREPARE_ABORT = "PrepareAbort"
    COMPLETE_COMMIT = "CompleteCommit"
    COMPLETE_ABORT = "CompleteAbort"


_DECISIONS = {
    True: (TransactionState.PREPARE_COMMIT, TransactionState.COMPLETE_COMMIT),
    False: (TransactionState.PREPARE_ABORT, TransactionState.COMPLETE_ABORT),
}


@dataclass
class _Transaction:
    transactional_id: str
    producer_id: int
    epoch: int
    timeout_ms: int
    state: TransactionState
    started_ms: int
    partitions: set[TopicPartition]


@dataclass(frozen=True)
class ProducerIdentity:
    """What InitProducerId hands out."""

    producer_id: int
    epoch: int


class Transactions:
    """All transactional ids, loaded from `database`; ends transactions in the logs of `topics`."""

    def __init__(self, database: Database, topics: Topics) -> None:
        self._database = database
        self._topics = topics
        self._by_id: dict[str, _Transaction] = {}
        for key, producer_id, epoch, timeout_ms, state, started_ms in database.execute("SELECT * FROM transactions"):
            self._by_id[key] = _Transaction(
                key, producer_id, epoch, timeout_ms, TransactionState(state), started_ms, partitions=set()
            )
        for transactional_id, *where in database.execute("SELECT * FROM transaction_partitions"):
            self._by_id[transactional_id].partitions.add(TopicPartition(*where))
        self._by_producer = {transaction.producer_id: transaction for transaction in self._by_id.values()}
        for transaction in self._by_id.values():
            self._finish(transaction, only_where_open=True)

    # -- requests

    def identify(
        self, transactional_id: str | None, timeout_ms: int, known: ProducerIdentity | None
    ) -> ProducerIdentity:
        """Hand out a producer id and epoch; an earlier producer of the same transactional id is fenced.

        Parameters
        ----------
        transactional_id:
            None for a producer that is idempotent only.
        timeout_ms:
            After so many milliseconds an open transaction is aborted.
        known:
            What the producer had before, if it asks for a new epoch after an error (KIP-360).

        Raises
        ------
        RequestError
            INVALID_REQUEST, INVALID_TRANSACTION_TIMEOUT, INVALID_PRODUCER_ID_MAPPING or PRODUCER_FENCED.
        """
        if transactional_id is None:
            return ProducerIdentity(self._database.take_producer_id(), 0)
        if not transactional_id:
            raise RequestError(ErrorCode.INVALID_REQUEST)
        if not 0 < timeout_ms <= _MAX_TIMEOUT_MS:
            raise RequestError(ErrorCode.INVALID_TRANSACTION_TIMEOUT)
        transaction = self._by_id.get(transactional_id)
        if transaction is None:
            transaction = _Transaction(transactional_id, -1, -1, timeout_ms, TransactionState.EMPTY, 0, set())
            self._by_id[transactional_id] = transaction
        elif known is not None:
            self._check_identity(transaction, known)
        self._raise_epoch(transaction)
        self._end(transaction, commit=False)
        transaction.timeout_ms = timeout_ms
        self._store(transaction)
        return ProducerIdentity(transaction.producer_id, transaction.epoch)

    def add_partition(self, transactional_id: str, producer: ProducerIdentity, where: TopicPartition) -> None:
        """Let the producer's transaction write to a topic-partition; it begins with the first."""
        transaction = self._get(transactional_id, producer)
        self._begin(transaction)
        if where not in transaction.partitions:
            transaction.partitions.add(where)
            self._database.execute("INSERT INTO transaction_partitions VALUES (?, ?, ?)", [transactional_id, *where])

    def add_offsets(self, transactional_id: str, producer: ProducerIdentity) -> None:
        """Let the producer's transaction commit offsets of a group."""
        self._begin(self._get(transactional_id, producer))

    def commit_offset(
        self,
        transactional_id: str,
        producer: ProducerIdentity,
        group_id: str,
        where: TopicPartition,
        offset: CommittedOffset,
    ) -> None:
        """Keep an offset until the transaction ends; raises INVALID_TXN_STATE outside of one."""
        transaction = self._get(transactional_id, producer)
        if transaction.state is not TransactionState.ONGOING:
            raise RequestError(ErrorCode.INVALID_TXN_STATE)
        self._database.execute(
            "INSERT OR REPLACE INTO pending_offsets VALUES (?, ?, ?, ?, ?, ?, ?)",
            [producer.producer_id, group_id, *where, *offset],
        )

    def end(self, transactional_id: str, producer: ProducerIdentity, *, commit: bool) -> None:
        """Commit or abort; repeating the last decision is accepted, the opposite is INVALID_TXN_STATE."""
        transaction = self._get(transactional_id, producer)
        prepared, done = _DECISIONS[commit]
        if transaction.state is TransactionState.ONGOING:
            self._end(transaction, commit=commit)
        elif transaction.state is prepared:  # a full disk, say, kept it from being finished
            self._finish(transaction, only_where_open=True)
        elif transaction.state is not done:
            raise RequestError(ErrorCode.INVALID_TXN_STATE)

    def check_batch(self, header: BatchHeader, where: TopicPartition) -> None:
        """Raise unless a producer's batch may be appended to the topic-partition now.

        Raises
        ------
        RequestError
            INVALID_PRODUCER_EPOCH for a zombie, INVALID_TXN_STATE outside of a transaction that has the partition.
        """
        transaction = self._by_producer.get(header.producer_id)
        if transaction is not None and header.producer_epoch < transaction.epoch:
            raise RequestError(ErrorCode.INVALID_PRODUCER_EPOCH)
        if header.is_transactional:
            is_open = transaction is not None and transaction.state is TransactionState.ONGOING
            if transaction is None or not is_open or where not in transaction.partitions:
                raise RequestError(ErrorCode.INVALID_TXN_STATE)

    def abort_overdue(self) -> None:
        """Abort every transaction that is open for longer than its producer allowed, and fence that producer."""
        now = now_ms()
        for transaction in list(self._by_id.values()):
            is_open = transaction.state is TransactionState.ONGOING
            if is_open and now - transaction.started_ms > transaction.timeout_ms:
                self._raise_epoch(transaction)
                self._end(transaction, commit=False)

    # -- identity

    def _get(self, transactional_id: str, producer: ProducerIdentity) -> _Transaction:
        transaction = self._by_id.get(transactional_id)
        if transaction is None:
            raise RequestError(ErrorCode.INVALID_PRODUCER_ID_MAPPING)
        self._check_identity(transaction, producer)
        return transaction

    @staticmethod
    def _check_identity(transaction: _Transaction, producer: ProducerIdentity) -> None:
        if transaction.producer_id != producer.producer_id:
            raise RequestError(ErrorCode.INVALID_PRODUCER_ID_MAPPING)
        if transaction.epoch != producer.epoch:
            raise RequestError(ErrorCode.PRODUCER_FENCED)

    def _raise_epoch(self, transaction: _Transaction) -> None:
        """Fence whoever has the present epoch; where the epochs are used up, go on with a new producer id.

        A new id must wait until the transaction of the old one has ended.
        """
        if transaction.epoch >= _LAST_EPOCH or transaction.producer_id < 0:
            self._end(transaction, commit=False)
            self._by_producer.pop(transaction.producer_id, None)
            transaction.producer_id, transaction.epoch = self._database.take_producer_id(), -1
            self._by_producer[transaction.producer_id] = transaction
        transaction.epoch += 1
        self._store(transaction)

    # -- the end of a transaction

    def _begin(self, transaction: _Transaction) -> None:
        if transaction.state is not TransactionState.ONGOING:
            transaction.state, transaction.started_ms = TransactionState.ONGOING, now_ms()
            self._store(transaction)

    def _end(self, transaction: _Transaction, *, commit: bool) -> None:
        if transaction.state is TransactionState.ONGOING:
            transaction.state, _ = _DECISIONS[commit]
            self._store(transaction)
            self._finish(transaction)

    def _finish(self, transaction: _Transaction, *, only_where_open: bool = False) -> None:
        """Write the markers of a prepared transaction, then make its offsets count, or drop them.

        After a crash some markers may stand already: `only_where_open` leaves those topic-partitions out.
        """
        if transaction.state not in (TransactionState.PREPARE_COMMIT, TransactionState.PREPARE_ABORT):
            return
        commit = transaction.state is TransactionState.PREPARE_COMMIT
        for where in sorted(transaction.partitions):
            log = self._topics.find_log(*where)
            is_due = log is not None and log.producers.has_open_transaction(transaction.producer_id)
            if log is not None and (is_due or not only_where_open):
                log.append_marker(transaction.producer_id, transaction.epoch, commit=commit)
        _, transaction.state = _DECISIONS[commit]
        transaction.partitions.clear()
        with self._database.change():
            if commit:
                self._database.execute(
                    "INSERT OR REPLACE INTO committed_offsets SELECT group_id, topic, partition, next_offset, "
                    "leader_epoch, metadata FROM pending_offsets WHERE producer_id = ?",
                    [transaction.producer_id],
                )
            self._database.execute("DELETE FROM pending_offsets WHERE producer_id = ?", [transaction.producer_id])
            self._database.execute(
                "DELETE FROM transaction_partitions WHERE transactional_id = ?", [transaction.transactional_id]
            )
            self._store(transaction)

    def _store(self, transaction: _Transaction) -> None:
        self._database.execute(
            "INSERT OR REPLACE INTO transactions VALUES (?, ?, ?, ?, ?, ?)",
            [
                transaction.transactional_id,
                transaction.producer_id,
                transaction.epoch,
                transaction.timeout_ms,
                transaction.state.value,
                transaction.started_ms,
            ],
        )
