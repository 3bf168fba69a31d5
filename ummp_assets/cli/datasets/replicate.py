"""`ummp datasets replicate`: a second copy of the store."""

import click

from ummp_assets.cli.datasets.options import open_configured_store, open_named_replica, replica_option
from ummp_assets.cli.terminal import answers, json_option, print_json, progress_bar

__all__ = ["replicate_command"]


@click.command("replicate")
@replica_option
@json_option
def replicate_command(replica: str | None, as_json: bool) -> None:
    """Bring a second copy of the store up to date. What was taken down or collected leaves it, too."""
    from ummp_assets.datasets.replication import replicate

    target = open_named_replica(replica)
    with progress_bar("copying") as on_progress:
        copied = replicate(open_configured_store(), target, on_progress)
    if as_json:
        print_json({"replica": target.uri(), "copied": copied})
    else:
        answers().print(f"{len(copied):,} objects copied to {target.uri()}", soft_wrap=True)
