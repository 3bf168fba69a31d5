"""The parts of kafka-python that the embedded broker uses although they are no public interface."""

import importlib

import pytest

from ummp_assets.messages.embedded.apis import APIS

_USED = {
    "kafka.codec": [f"{codec}_{way}" for codec in ("gzip", "snappy", "lz4", "zstd") for way in ("encode", "decode")],
    "kafka.protocol.consumer": ["ConsumerProtocolSubscription"],
    "kafka.record.util": ["calc_crc32c", "decode_varint", "encode_varint"],
}


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, names in _USED.items() for name in names])
def test_wire_functions_are_where_the_broker_expects_them(module: str, name: str) -> None:
    assert callable(getattr(importlib.import_module(module), name, None)), f"{module}.{name} moved"


@pytest.mark.parametrize("api_key", sorted(APIS))
def test_wire_classes_are_where_the_broker_expects_them(api_key: int) -> None:
    api = APIS[api_key]
    for used in ("API_KEY", "decode", "flexible_version_q"):
        assert hasattr(api.request_class, used), f"{api.request_class.__name__}.{used} moved"
    for used in ("_struct", "encode", "with_header"):
        assert hasattr(api.response_class, used), f"{api.response_class.__name__}.{used} moved"
    assert api.request_class.API_KEY == api.response_class.API_KEY == api_key
    for field in api.response_class._struct.fields.values():
        assert hasattr(field, "is_struct_array"), f"{api.response_class.__name__}: fields changed"
        assert not field.is_struct_array() or field.data_class, f"{api.response_class.__name__}: structures changed"
    assert api.max_version <= api.request_class.max_version, f"{api.request_class.__name__} lost a version"
