"""A broker that speaks Kafka's protocol, for one machine: no Java, no Docker, no account.

    with start_broker(Path("data/broker")) as broker:
        producer = KafkaProducer(bootstrap_servers=broker.bootstrap_servers)

It is no cluster and never will be. Beyond one machine, use Apache Kafka, which is right wherever the two differ: one
contract suite (`ummp_assets_tests/messages/`) runs on both, with kafka-python, librdkafka, aiokafka and raw frames.

From the outside in:

    process            starts the broker as a child process
    serving, __main__  run it until it is told to stop
    server, wire       connections, frames, messages
    apis, handlers/    which requests there are, and their answers
    broker             everything in one data folder, and its upkeep
    topics             names, settings (topic_configs), partitions
    partition_log      one partition: append, read, expire; compaction keeps the latest record of each key
    segment_chain      a partition's files and their recovery, with checkpoint; segment, sorted_rows: one of them
    record_batch       Kafka's unit of storage and transfer
    producer_states    sequence numbers and open transactions of a partition; aborted_transactions
    transactions       two-phase commits, fencing, time-outs
    groups, group      committed offsets; members and rebalances
    database           everything that is no record

Measured on two shared cores with 1 GB in the log, in batches of 900 kB: start 0.2 s, after SIGKILL too, and 0.3 s where
the whole log had to be read; resident memory 38 MB after the start, 49 MB after reading everything, 64 MB at its peak.
100 SIGKILLs under load of idempotent and transactional producers, with 161,277 acknowledged records and 66,774
transactions, lost and doubled nothing.

What differs from Apache Kafka 4.1:

- One node with id 1, one replica; no internal topics, no controller endpoint, no encryption, accounts, quotas or ACLs.
  Authorized operations are never reported.
- The consumer group protocol of KIP-848, share groups, transactions of KIP-890's second part, fetch sessions, tiered
  storage and the requests that administer a cluster are not there. ApiVersions does not name them and, as Kafka does
  with requests that it does not know, the broker closes the connection that sends one.
- Produce is spoken up to version 8 and Fetch up to 12: clients choose older versions by themselves.
- Requests other than Produce may have 256 KiB, a Produce 20,000 topic-partitions; Kafka takes 100 MiB of any kind.
- A fetch response ends after 4 MiB, Kafka's after 55 MB; both give at least one batch.
- Records are not decoded when they are produced, except for compacted topics: a batch whose checksum, header and counts
  are right is stored even if its content is no records. `compression.type` other than `producer` recompresses nothing,
  and a batch's timestamp bounds stand for those of its records.
- Settings about replicas, flushing, indexes, tiered storage and `max.compaction.lag.ms` are accepted and reported, and
  change nothing. A topic's settings can be altered, the broker's cannot.
- A new group waits 0.3 s for more members before its first rebalance; Kafka 3 s.
- Members of groups are not kept over a restart: they join again. Committed offsets and transactional ids never expire.
- Metadata and end of transactions are immediate: a topic that was created is there, and a commit that was answered is
  visible to every reader; Kafka takes a moment for both.
- Compaction keeps all control markers, and drops a tombstone in the second pass after `delete.retention.ms`, reckoned
  from its own timestamp.
- Without `fsync`, a loss of power may take the records of the last seconds, since there is no replica that has them.
"""

from ummp_assets.messages.embedded.process import BrokerProcess, start_broker

__all__ = ["BrokerProcess", "start_broker"]
