"""Settings: DescribeConfigs, AlterConfigs, IncrementalAlterConfigs."""

from collections.abc import Callable, Collection, Iterable
from enum import IntEnum
from typing import Any

from ummp_assets.messages.embedded.error_codes import ErrorCode, RequestError
from ummp_assets.messages.embedded.handlers.call import NODE_ID, Call, Fields, completed
from ummp_assets.messages.embedded.topic_configs import TOPIC_CONFIGS, ConfigType, TopicConfig, check_config_value

__all__ = ["alter_configs", "describe_configs", "describe_topic_configs", "incremental_alter_configs"]

_TOPIC, _BROKER = 2, 4  # resource types

_Overrides = dict[str, str | None]
_Alteration = Callable[[TopicConfig, Iterable[Any]], _Overrides]


class _Source(IntEnum):
    """Where a value comes from, as DescribeConfigs numbers it."""

    TOPIC = 1
    STATIC_BROKER = 4
    DEFAULT = 5


class _Operation(IntEnum):
    """What IncrementalAlterConfigs does to a value."""

    SET = 0
    DELETE = 1
    APPEND = 2
    SUBTRACT = 3


def describe_configs(call: Call) -> Fields:
    return {
        "results": [
            completed(_named(resource) | {"configs": []}, _describe, call, resource)
            for resource in call.request.resources
        ]
    }


def _describe(call: Call, resource: Any) -> Fields:
    if resource.resource_type == _TOPIC:
        config = call.broker.topics.get(resource.resource_name).config
        return {"configs": describe_topic_configs(config, resource.configuration_keys)}
    if resource.resource_type == _BROKER and resource.resource_name == str(NODE_ID):
        return {"configs": _describe_broker(call, resource.configuration_keys)}
    raise _unsupported(resource)


def describe_topic_configs(config: TopicConfig, wanted: Collection[str] | None) -> list[Fields]:
    """The settings named in `wanted`, or all, as DescribeConfigs and CreateTopics show them."""
    return [
        _setting(
            name,
            config.text(name),
            definition.type,
            _Source.TOPIC if name in config.overrides else _Source.DEFAULT,
            read_only=False,
        )
        for name, definition in TOPIC_CONFIGS.items()
        if wanted is None or name in wanted
    ]


def _describe_broker(call: Call, wanted: Collection[str] | None) -> list[Fields]:
    settings = {
        "auto.create.topics.enable": ("true", ConfigType.BOOLEAN),
        "broker.id": (str(NODE_ID), ConfigType.INT),
        "default.replication.factor": ("1", ConfigType.INT),
        "message.max.bytes": (TOPIC_CONFIGS["max.message.bytes"].default, ConfigType.INT),
        "num.partitions": (str(call.broker.default_partitions), ConfigType.INT),
    }
    return [
        _setting(name, value, config_type, _Source.STATIC_BROKER, read_only=True)
        for name, (value, config_type) in settings.items()
        if wanted is None or name in wanted
    ]


def _setting(name: str, value: str, config_type: ConfigType, source: _Source, *, read_only: bool) -> Fields:
    return {
        "name": name,
        "value": value,
        "read_only": read_only,
        "config_source": source,
        "is_sensitive": False,
        "synonyms": [],
        "config_type": config_type,
        "documentation": None,
    }


def alter_configs(call: Call) -> Fields:
    """Replace all settings of each topic by those given."""
    return _alter_all(call, _replaced)


def incremental_alter_configs(call: Call) -> Fields:
    """Change single settings of each topic."""
    return _alter_all(call, _changed)


def _alter_all(call: Call, alteration: _Alteration) -> Fields:
    return {
        "responses": [
            completed(_named(resource), _alter, call, resource, alteration) for resource in call.request.resources
        ]
    }


def _alter(call: Call, resource: Any, alteration: _Alteration) -> None:
    if resource.resource_type != _TOPIC:
        raise _unsupported(resource)
    topic = call.broker.topics.get(resource.resource_name)
    overrides = alteration(topic.config, resource.configs)
    for name, value in overrides.items():
        check_config_value(name, value)
    if not call.request.validate_only:
        call.broker.topics.replace_overrides(topic.name, overrides)


def _replaced(_: TopicConfig, settings: Iterable[Any]) -> _Overrides:
    return {setting.name: setting.value for setting in settings}


def _changed(config: TopicConfig, settings: Iterable[Any]) -> _Overrides:
    overrides: _Overrides = dict(config.overrides)
    for setting in settings:
        operation = _Operation(setting.config_operation)
        if operation is _Operation.DELETE:
            overrides.pop(setting.name, None)
        elif operation is _Operation.SET:
            overrides[setting.name] = setting.value
        else:
            overrides[setting.name] = _changed_list(config, setting.name, setting.value, operation)
    return overrides


def _changed_list(config: TopicConfig, name: str, value: str | None, operation: _Operation) -> str:
    check_config_value(name, value)
    if TOPIC_CONFIGS[name].type is not ConfigType.LIST:
        raise RequestError(ErrorCode.INVALID_CONFIG, f"Can't {operation.name} to {name}: it is no list.")
    given = (value or "").split(",")
    present = config.text(name).split(",")
    if operation is _Operation.APPEND:
        return ",".join(present + [word for word in given if word not in present])
    return ",".join(word for word in present if word not in given)


def _named(resource: Any) -> Fields:
    return {
        "error_message": None,
        "resource_type": resource.resource_type,
        "resource_name": resource.resource_name,
    }


def _unsupported(resource: Any) -> RequestError:
    return RequestError(
        ErrorCode.INVALID_REQUEST,
        f"the embedded broker has no such settings of {resource.resource_name!r}, type {resource.resource_type}",
    )
