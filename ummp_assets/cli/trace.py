"""`ummp trace`: lineage both ways."""

import click

from ummp_assets.cli.terminal import answers, json_option, notes, print_json

__all__ = ["trace_command"]

_SHOWN_WHOLE = 5
_SHOWN_SHORT = 50
_PIPE_COLUMNS = 10_000


@click.command("trace")
@click.argument("target", metavar="WHAT")
@click.option(
    "--messages", is_flag=True, help="Of a version or shard: print the coordinates of every sample in it, one a line."
)
@json_option
def trace_command(target: str, messages: bool, as_json: bool) -> None:
    """Show where something came from and where it went.

    \b
    ummp trace ummp.requests.normal~0~17          a sample, or the message at partition 0, offset 17
    ummp trace https://example.org/cat.jpg        every sample of a URI
    ummp trace 9f86d081884c7d65…                  a sha256 of raw bytes, of a content or of a shard
    ummp trace datasets/cats/shards/cats~….parquet
    ummp trace cats@3                             a version, or cats@latest

    A sample leads from its message over fetch attempts, policy evidence, rules, features and labels to shards and
    versions; a shard or version leads back to its messages.
    """
    from ummp_assets.cli.trace_tree import short_line, tree_of
    from ummp_assets.datasets.trace import find_lineage, sample_ids_of
    from ummp_assets.settings import load_settings
    from ummp_assets.storage.index import open_index
    from ummp_assets.storage.objects import open_store

    settings = load_settings()
    store, index = open_store(settings), open_index(settings)
    try:
        if messages:
            ids = sample_ids_of(store, index, target)
            if as_json:
                print_json(list(ids))
                return
            for sample_id in ids:
                click.echo(sample_id)
            return
        found = find_lineage(store, index, target)
    finally:
        index.close()
    if as_json:
        print_json(found)
        return
    console = answers()
    if not console.is_terminal:
        # Whoever searches in the output wants paths and URIs in one line.
        console.width = _PIPE_COLUMNS
    for document in found[:_SHOWN_WHOLE]:
        console.print(tree_of(document))
    for document in found[_SHOWN_WHOLE:_SHOWN_SHORT]:
        console.print(short_line(document), soft_wrap=True, markup=False)
    if len(found) > _SHOWN_SHORT:
        notes().print(f"... and {len(found) - _SHOWN_SHORT:,} more: --json shows all")
