"""Apache Kafka itself, started from its jars: one broker in KRaft mode on loopback, for as long as a process lives.

    python -m ummp_assets_tests.messages.apache_kafka    start one, print its address, stop with Ctrl-C

The jars come from the folder `UMMP_TEST_KAFKA_JARS`, or else once from Maven Central into
`~/.cache/ummp-tests/kafka-<version>`; `UMMP_TEST_KAFKA_BOOTSTRAP_SERVERS` names a broker that runs already.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

__all__ = ["KAFKA_VERSION", "ApacheKafka", "KafkaMissing", "kafka_jars"]

KAFKA_VERSION = "4.1.1"
_START_TIMEOUT_SECONDS = 60.0
_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion><groupId>test</groupId><artifactId>kafka</artifactId><version>1</version>
  <dependencies><dependency>
    <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{version}</version>
  </dependency></dependencies>
</project>"""

# The tests wait for retention, compaction and time-outs, which Kafka by default looks after every few minutes.
_PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={folder}/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=300
log.initial.task.delay.ms=500
log.retention.check.interval.ms=500
log.cleaner.backoff.ms=500
transaction.abort.timed.out.transaction.cleanup.interval.ms=500
"""


class KafkaMissing(Exception):
    """Apache Kafka cannot be had on this machine; the text says why."""


class ApacheKafka:
    """A running broker; `stop` ends it and removes its data.

    Parameters
    ----------
    java_options:
        For the Java machine; by default as Kafka's own start script has them.
    """

    def __init__(self, java_options: Sequence[str] = ("-Xms1G", "-Xmx1G", "-XX:+UseG1GC", "-server")) -> None:
        jars = kafka_jars()
        self._folder = Path(tempfile.mkdtemp(prefix="kafka-"))
        port, controller_port = _free_port(), _free_port()
        self.bootstrap_servers = f"127.0.0.1:{port}"
        properties = self._folder / "server.properties"
        properties.write_text(_PROPERTIES.format(port=port, controller_port=controller_port, folder=self._folder))
        self._log = (self._folder / "log").open("wb")
        java = ["java", *java_options, "-cp", f"{jars}/*"]
        self._run(java, "kafka.tools.StorageTool", "format", "-t", uuid.uuid4().hex[:22], "-c", str(properties))
        began = time.perf_counter()
        self._process = subprocess.Popen(
            [*java, "kafka.Kafka", str(properties)], stdout=self._log, stderr=subprocess.STDOUT
        )
        self.pid = self._process.pid
        self._wait_until_open(port)
        self.start_seconds = time.perf_counter() - began

    def _run(self, java: list[str], *arguments: str) -> None:
        done = subprocess.run([*java, *arguments], capture_output=True, text=True)
        if done.returncode != 0:
            raise KafkaMissing(f"Kafka's storage could not be formatted: {done.stdout[-500:]}{done.stderr[-500:]}")

    def _wait_until_open(self, port: int) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.02)
        text = (self._folder / "log").read_text()[-1000:]
        self.stop()
        raise KafkaMissing(f"Kafka did not start within {_START_TIMEOUT_SECONDS:.0f} s: {text}")

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def kafka_jars() -> Path:
    """The folder with Kafka's jars, fetched if need be.

    Raises
    ------
    KafkaMissing
        There is no Java, or neither jars nor a way to fetch them.
    """
    if shutil.which("java") is None:
        raise KafkaMissing("Apache Kafka needs Java 17, and there is no `java`")
    named = os.environ.get("UMMP_TEST_KAFKA_JARS")
    if named:
        return Path(named)
    jars = Path.home() / ".cache" / "ummp-tests" / f"kafka-{KAFKA_VERSION}"
    if not jars.exists():
        _fetch(jars)
    return jars


def _fetch(jars: Path) -> None:
    if shutil.which("mvn") is None:
        raise KafkaMissing("Apache Kafka's jars are fetched with Maven, and there is no `mvn`")
    jars.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=jars.parent) as draft:
        (Path(draft) / "pom.xml").write_text(_POM.format(version=KAFKA_VERSION))
        command = ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime"]
        done = subprocess.run([*command, f"-DoutputDirectory={draft}/jars"], cwd=draft, capture_output=True, text=True)
        if done.returncode != 0:
            raise KafkaMissing(f"Apache Kafka's jars could not be fetched: {done.stdout[-500:]}")
        (Path(draft) / "jars").rename(jars)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def main() -> None:
    """Run one broker until Ctrl-C, SIGTERM, or the end of the process whose id is the argument."""
    watched = int(sys.argv[1]) if len(sys.argv) > 1 else None
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        kafka = ApacheKafka(("-Xms256m", "-Xmx512m", "-XX:+UseSerialGC"))
    except KafkaMissing as cause:
        print("missing:", *str(cause).split(), flush=True)  # noqa: T201 - read by whoever started this
        sys.exit(1)
    _create_internal_topics(kafka.bootstrap_servers)
    print(kafka.bootstrap_servers, flush=True)  # noqa: T201 - read by whoever started this
    try:
        while watched is None or _is_alive(watched):
            time.sleep(0.5)
    except KeyboardInterrupt:
        pass
    finally:
        kafka.stop()


def _create_internal_topics(bootstrap_servers: str) -> None:
    """Let Kafka make the topics of its coordinators, which it does at first use while it refuses requests."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap_servers, group_id="first", enable_auto_commit=False)
    consumer.committed(TopicPartition("none", 0))
    consumer.close()
    producer = KafkaProducer(bootstrap_servers=bootstrap_servers, transactional_id="first")
    producer.init_transactions()
    producer.close()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    main()
