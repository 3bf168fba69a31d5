"""The topics of a deployment: their names, what they are for, and that they are there."""

import threading
from pathlib import Path

import pytest
from kafka.admin import ConfigResource, ConfigResourceType

from ummp_assets.messages.clients import make_admin
from ummp_assets.messages.topics import PRIORITIES, Role, ensure_topics, topic_names
from ummp_assets.settings import Settings, load_settings
from ummp_assets_tests.messages.deployments import make_settings, send


@pytest.fixture
def settings(tmp_path: Path, bootstrap_servers: str) -> Settings:
    return make_settings(tmp_path, bootstrap_servers, topic_partitions=3)


def test_names_are_those_of_the_design() -> None:
    assert topic_names(load_settings()).all() == (
        "ummp.requests.high",
        "ummp.requests.normal",
        "ummp.requests.low",
        "ummp.labels",
        "ummp.takedowns",
        "ummp.requests.dead",
        "ummp.datasets",
        "ummp.training.logs",
        "ummp.parameters",
    )


def test_prefix_keeps_deployments_apart() -> None:
    ours, theirs = (set(topic_names(load_settings(topic_prefix=prefix)).all()) for prefix in ("a", "b"))

    assert len(ours) == len(theirs) == 9
    assert not ours & theirs


def test_each_role_has_its_topics_the_most_urgent_first() -> None:
    names = topic_names(load_settings())

    assert {role: names.of_role(role) for role in Role} == {
        Role.REQUESTS: ("ummp.requests.high", "ummp.requests.normal", "ummp.requests.low"),
        Role.LABELS: ("ummp.labels",),
        Role.TAKEDOWNS: ("ummp.takedowns",),
        Role.TRAINING_LOGS: ("ummp.training.logs",),
        Role.PARAMETERS: ("ummp.parameters",),
    }


def test_topic_is_the_priority() -> None:
    names = topic_names(load_settings())

    assert [names.priority(topic) for topic in names.of_role(Role.REQUESTS)] == [10, 0, -10]
    assert [names.priority(f"{topic}.replay") for topic in names.of_role(Role.REQUESTS)] == [10, 0, -10]
    assert names.priority(names.labels) == 0
    assert list(PRIORITIES) == ["high", "normal", "low"]


def test_missing_topics_are_created_with_room_for_large_messages(settings: Settings) -> None:
    names = topic_names(settings)

    assert ensure_topics(settings) == list(names.all())

    with make_admin(settings) as admin:
        described = admin.describe_topics(list(names.all()))
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names.all()]
        configs = admin.describe_configs(resources)["topic"]
    assert {topic["name"]: len(topic["partitions"]) for topic in described} == dict.fromkeys(names.all(), 3)
    assert {name: config["max.message.bytes"]["value"] for name, config in configs.items()} == dict.fromkeys(
        names.all(), "16777216"
    )


def test_topics_that_exist_are_left_as_they_are(settings: Settings) -> None:
    names = topic_names(settings)
    with make_admin(settings) as admin:
        admin.create_topics({names.labels: {"num_partitions": 1}}, wait_for_metadata=True)
    send(settings, names.labels, [b"kept"])

    assert ensure_topics(settings) == [name for name in names.all() if name != names.labels]
    assert ensure_topics(settings) == []

    with make_admin(settings) as admin:
        [described] = admin.describe_topics([names.labels])
    assert len(described["partitions"]) == 1


def test_racing_processes_all_find_the_topics(settings: Settings) -> None:
    created: list[list[str]] = []
    threads = [threading.Thread(target=lambda: created.append(ensure_topics(settings))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert len(created) == 4
    with make_admin(settings) as admin:
        assert set(topic_names(settings).all()) <= set(admin.list_topics())
