"""What does not go on by itself and needs a person: topics that are not what they were, batches without attempts."""

from ummp_assets.cli.stack.home import running_state
from ummp_assets.cli.stack.web_ui import WebUi
from ummp_assets.errors import Permanent
from ummp_assets.messages.attempts import LOOKED_AT, MAX_ATTEMPTS
from ummp_assets.messages.offset_log import OffsetLog
from ummp_assets.messages.progress import done_through
from ummp_assets.messages.ranges import Batch, batch_key, next_offsets
from ummp_assets.messages.reading import TopicEnds
from ummp_assets.messages.replays import replay_topic
from ummp_assets.messages.topics import Role, topic_names
from ummp_assets.settings import Settings
from ummp_assets.storage.abandoned import is_abandoned
from ummp_assets.storage.objects import ObjectStore

__all__ = ["exhausted_batches", "topic_problem"]


def topic_problem(topic: str, last: Batch | None, ends: TopicEnds | None) -> str | None:
    """Return why no batch can follow the newest one of a topic, or None.

    Parameters
    ----------
    last:
        The newest batch in the offset log.
    ends:
        What the broker says; None where it has no such topic.
    """
    if last is None:
        return None
    if ends is None:
        return (
            f"topic {topic} no longer exists, but {last.number:,} batches were planned from it. Use another "
            "UMMP_TOPIC_PREFIX, whose topics begin anew."
        )
    try:
        next_offsets(topic, last, ends.watermarks, ends.topic_id)
    except Permanent as error:
        return str(error)
    return None


def exhausted_batches(settings: Settings, store: ObjectStore) -> list[str]:
    """Return the keys of the batches that failed so often that they are not tried again.

    Empty where no `ummp up` runs on this home. Raises `OSError` when its web server does not answer.
    """
    state = running_state(settings.home_path)
    if state is None or state.ui_url is None:
        return []
    waiting = [key for topic in _planned_topics(settings) for key in _unfinished(store, topic)]
    runs = WebUi(state.ui_url).count_runs_of(waiting)
    return [key for key, count in runs.items() if count.all == count.failed >= MAX_ATTEMPTS]


def _planned_topics(settings: Settings) -> list[str]:
    names = topic_names(settings)
    requests = names.of_role(Role.REQUESTS)
    return [*(topic for role in Role for topic in names.of_role(role)), *map(replay_topic, requests)]


def _unfinished(store: ObjectStore, topic: str) -> list[str]:
    """Return the batches of a topic from the first on that is not done; later ones among them may be."""
    first = done_through(store, topic) + 1
    last = OffsetLog(store).last(topic, first - 1)
    numbers = range(first, min(last.number if last else 0, first + LOOKED_AT) + 1)
    return [key for key in (batch_key(topic, number) for number in numbers) if not is_abandoned(store, key)]
