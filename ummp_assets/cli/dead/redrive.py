"""`ummp dead redrive`: the original messages sent again."""

from typing import TYPE_CHECKING

import click

from ummp_assets.cli.terminal import answers, json_option, print_json, progress_bar

if TYPE_CHECKING:
    from ummp_assets.messages.dead_reading import DeadLetter

__all__ = ["redrive_command"]


@click.command("redrive")
@click.argument("names", nargs=-1, metavar="[LETTER]...")
@click.option("--reason", help="Only letters with this reason code.")
@click.option("--all", "everything", is_flag=True, help="All letters that were not sent again yet.")
@click.option("--again", is_flag=True, help="Also those that were sent again before.")
@click.option("--dry-run", is_flag=True, help="Only say what would be sent.")
@json_option
def redrive_command(
    names: tuple[str, ...], reason: str | None, everything: bool, again: bool, dry_run: bool, as_json: bool
) -> None:
    """Send the original bytes of dead letters to their topics again, marked by the header ummp-redriven.

    \b
    ummp dead redrive 0~17 2~4
    ummp dead redrive --reason host_unavailable
    ummp dead redrive --all

    A message is sent once, however many of its samples are dead letters.
    """
    from ummp_assets.cli.dead.choosing import choose_letters
    from ummp_assets.messages.dead_reading import redrive
    from ummp_assets.settings import load_settings
    from ummp_assets.storage.objects import open_store

    if not (names or reason or everything):
        raise click.UsageError("name letters, or a --reason, or --all")
    settings = load_settings()
    store = open_store(settings)
    letters = [letter for letter in choose_letters(store, settings, names, reason) if again or not letter.redriven]
    sent: list[dict[str, str]] = []
    messages = len({letter.message_id for letter in letters})
    with progress_bar("sent again") as on_progress:

        def note(letter: "DeadLetter", message: str) -> None:
            sent.append({"letter": letter.letter, "message": message})
            on_progress(len(sent), len(letters))

        if not dry_run:
            redrive(store, settings, letters, note)
    if as_json:
        print_json({"messages": messages, "letters": len(letters), "sent": sent})
        return
    what = f"{messages:,} messages of {len(letters):,} dead letters"
    answers().print(f"{what} would be sent again" if dry_run else f"{what} sent again")
