"""`ummp replay`: messages processed once more."""

from datetime import UTC, datetime

import click

from ummp_assets.cli.terminal import answers, json_option, print_json

__all__ = ["replay_command"]


@click.command("replay")
@click.argument("what", metavar="TOPIC|BATCH")
@click.option("--partition", type=click.IntRange(0), help="Of a topic: the partition.")
@click.option("--from", "first", type=click.IntRange(0), help="Of a topic: the first offset.")
@click.option("--to", "last", type=click.IntRange(0), help="Of a topic: the last offset, itself included.")
@json_option
def replay_command(what: str, partition: int | None, first: int | None, last: int | None, as_json: bool) -> None:
    """Process a range of messages once more, under new batch keys.

    \b
    ummp replay ummp.requests.normal --partition 0 --from 100 --to 199
    ummp replay ummp.requests.normal~00000003          every message of that batch

    The messages come from the store or, where none was stored, from Kafka; what they name is fetched anew. A sample
    that is stored again replaces its row in the dataset; one that fails now keeps the row that it had. Only messages
    that belong to a batch already can be replayed.
    """
    from ummp_assets.messages.offset_log import OffsetLog
    from ummp_assets.messages.ranges import OffsetRange, parse_key
    from ummp_assets.messages.replays import plan_replay, source_topic
    from ummp_assets.settings import load_settings
    from ummp_assets.storage.objects import open_store

    settings = load_settings()
    store = open_store(settings)
    given = (partition, first, last)
    if "~" in what:
        if any(value is not None for value in given):
            raise click.UsageError("--partition, --from and --to go with a topic; a batch has its own offsets")
        topic = source_topic(parse_key(what)[0])
        ranges = [item for item in OffsetLog(store).get(what).ranges if len(item)]
    elif partition is None or first is None or last is None:
        raise click.UsageError("name --partition, --from and --to, or a batch as <topic>~<number>")
    else:
        topic, ranges = what, [OffsetRange(partition, first, last + 1)]
    batches = plan_replay(store, settings, topic, ranges, datetime.now(UTC))
    messages = sum(batch.messages for batch in batches)
    if as_json:
        print_json({"batches": [batch.key for batch in batches], "messages": messages})
        return
    keys = batches[0].key if len(batches) == 1 else f"{batches[0].key} and {len(batches) - 1:,} more"
    answers().print(f"Batch {keys}: {messages:,} messages are replayed as soon as `ummp up` runs.", soft_wrap=True)
