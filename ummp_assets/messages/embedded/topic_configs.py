"""The settings of a topic: names, types, defaults and bounds as in Apache Kafka 4.

Source: Kafka documentation, "Topic-Level Configs" (https://kafka.apache.org/documentation/#topicconfigs). Settings
that speak of replicas, remote storage or flushing are accepted and reported, and change nothing on one machine.
"""

from collections.abc import Callable, Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import NamedTuple

from ummp_assets.messages.embedded.error_codes import ErrorCode, RequestError

__all__ = ["TOPIC_CONFIGS", "ConfigDefinition", "ConfigType", "TopicConfig", "check_config_value"]

_INT_MAX = 2**31 - 1
_LONG_MAX = 2**63 - 1


class ConfigType(IntEnum):
    """The type numbers of DescribeConfigs."""

    BOOLEAN = 1
    STRING = 2
    INT = 3
    LONG = 5
    DOUBLE = 6
    LIST = 7


class ConfigDefinition(NamedTuple):
    """One setting: its type, default as text, and what else than the type its value must fulfil."""

    type: ConfigType
    default: str
    is_allowed: Callable[[str], bool] = lambda _: True


def _between(low: float, high: float = _LONG_MAX) -> Callable[[str], bool]:
    return lambda text: low <= float(text) <= high


def _one_of(*words: str) -> Callable[[str], bool]:
    return lambda text: text in words


def _all_of(*words: str) -> Callable[[str], bool]:
    return lambda text: bool(text) and set(text.split(",")) <= set(words)


_CODECS = ("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer")

TOPIC_CONFIGS: Mapping[str, ConfigDefinition] = MappingProxyType(
    {
        "cleanup.policy": ConfigDefinition(ConfigType.LIST, "delete", _all_of("compact", "delete")),
        "compression.type": ConfigDefinition(ConfigType.STRING, "producer", _one_of(*_CODECS)),
        "delete.retention.ms": ConfigDefinition(ConfigType.LONG, "86400000", _between(0)),
        "file.delete.delay.ms": ConfigDefinition(ConfigType.LONG, "60000", _between(0)),
        "flush.messages": ConfigDefinition(ConfigType.LONG, str(_LONG_MAX), _between(1)),
        "flush.ms": ConfigDefinition(ConfigType.LONG, str(_LONG_MAX), _between(0)),
        "index.interval.bytes": ConfigDefinition(ConfigType.INT, "4096", _between(0, _INT_MAX)),
        "max.compaction.lag.ms": ConfigDefinition(ConfigType.LONG, str(_LONG_MAX), _between(1)),
        "max.message.bytes": ConfigDefinition(ConfigType.INT, "1048588", _between(0, _INT_MAX)),
        "message.timestamp.after.max.ms": ConfigDefinition(ConfigType.LONG, "3600000", _between(0)),
        "message.timestamp.before.max.ms": ConfigDefinition(ConfigType.LONG, str(_LONG_MAX), _between(0)),
        "message.timestamp.type": ConfigDefinition(
            ConfigType.STRING, "CreateTime", _one_of("CreateTime", "LogAppendTime")
        ),
        "min.cleanable.dirty.ratio": ConfigDefinition(ConfigType.DOUBLE, "0.5", _between(0, 1)),
        "min.compaction.lag.ms": ConfigDefinition(ConfigType.LONG, "0", _between(0)),
        "min.insync.replicas": ConfigDefinition(ConfigType.INT, "1", _between(1, _INT_MAX)),
        "preallocate": ConfigDefinition(ConfigType.BOOLEAN, "false"),
        "retention.bytes": ConfigDefinition(ConfigType.LONG, "-1"),
        "retention.ms": ConfigDefinition(ConfigType.LONG, "604800000", _between(-1)),
        "segment.bytes": ConfigDefinition(ConfigType.INT, "1073741824", _between(1024 * 1024, _INT_MAX)),
        "segment.index.bytes": ConfigDefinition(ConfigType.INT, "10485760", _between(4, _INT_MAX)),
        "segment.jitter.ms": ConfigDefinition(ConfigType.LONG, "0", _between(0)),
        "segment.ms": ConfigDefinition(ConfigType.LONG, "604800000", _between(1)),
        "unclean.leader.election.enable": ConfigDefinition(ConfigType.BOOLEAN, "false"),
    }
)


def check_config_value(name: str, text: str | None) -> None:
    """Raise INVALID_CONFIG unless `name` is a topic setting and `text` a value that it may have."""
    definition = TOPIC_CONFIGS.get(name)
    if definition is None:
        raise RequestError(ErrorCode.INVALID_CONFIG, f"Unknown topic config name: {name}")
    if text is None:
        raise RequestError(ErrorCode.INVALID_CONFIG, f"Null value not supported for topic configs: {name}")
    try:
        _parse(definition.type, text)
        is_allowed = definition.is_allowed(text)
    except ValueError as cause:
        raise RequestError(
            ErrorCode.INVALID_CONFIG, f"Invalid value {text} for configuration {name}: not a {definition.type.name}"
        ) from cause
    if not is_allowed:
        raise RequestError(ErrorCode.INVALID_CONFIG, f"Invalid value {text} for configuration {name}")


def _parse(config_type: ConfigType, text: str) -> object:
    if config_type in (ConfigType.INT, ConfigType.LONG):
        return int(text)
    if config_type is ConfigType.DOUBLE:
        return float(text)
    if config_type is ConfigType.BOOLEAN and text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text


class TopicConfig:
    """The settings of one topic as the log uses them; sizes in bytes, times in milliseconds, -1 for "no limit".

    Parameters
    ----------
    overrides:
        The settings that were given for this topic, as text; all others have their defaults.
    """

    def __init__(self, overrides: Mapping[str, str]) -> None:
        self.overrides = dict(overrides)
        policy = self.text("cleanup.policy").split(",")
        self.is_compacted = "compact" in policy
        self.is_deleted = "delete" in policy
        self.uses_append_time = self.text("message.timestamp.type") == "LogAppendTime"
        self.max_message_bytes = int(self.text("max.message.bytes"))
        self.max_ms_after_now = int(self.text("message.timestamp.after.max.ms"))
        self.max_ms_before_now = int(self.text("message.timestamp.before.max.ms"))
        self.segment_bytes = int(self.text("segment.bytes"))
        self.segment_ms = int(self.text("segment.ms"))
        self.retention_bytes = int(self.text("retention.bytes"))
        self.retention_ms = int(self.text("retention.ms"))
        self.tombstone_retention_ms = int(self.text("delete.retention.ms"))
        self.min_dirty_ratio = float(self.text("min.cleanable.dirty.ratio"))
        self.min_compaction_lag_ms = int(self.text("min.compaction.lag.ms"))

    def text(self, name: str) -> str:
        """The value in force of the setting `name`."""
        return self.overrides.get(name, TOPIC_CONFIGS[name].default)
