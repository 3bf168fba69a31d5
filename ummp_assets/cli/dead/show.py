"""`ummp dead show`: one letter whole."""

import base64

import click

from ummp_assets.cli.dead.listing import letter_document
from ummp_assets.cli.terminal import answers, json_option, print_json

__all__ = ["show_command"]

_SHOWN_BYTES = 10_000


@click.command("show")
@click.argument("name", metavar="LETTER")
@json_option
def show_command(name: str, as_json: bool) -> None:
    """Show the message behind a dead letter: key, headers and value as they were sent, and what was wrong.

    LETTER is <partition>~<offset> as `ummp dead list` shows it, or a sample id. JSON holds key and value in base64.
    """
    from ummp_assets.cli.dead.choosing import choose_letters
    from ummp_assets.settings import load_settings
    from ummp_assets.storage.objects import open_store

    settings = load_settings()
    letters = choose_letters(open_store(settings), settings, [name])
    if as_json:
        print_json(
            [
                {
                    **letter_document(letter),
                    "key": _base64(letter.original.key),
                    "value": _base64(letter.original.value),
                    "headers": [[key, value.decode("utf-8", "replace")] for key, value in letter.original.headers],
                }
                for letter in letters
            ]
        )
        return
    console = answers()
    for letter in letters:
        for field, value in letter_document(letter).items():
            console.print(f"{field:<10} {value}", soft_wrap=True, markup=False)
        for key, value in letter.original.headers:
            console.print(f"header     {key}: {value.decode('utf-8', 'replace')}", soft_wrap=True, markup=False)
        console.print(f"key        {_text(letter.original.key)}", soft_wrap=True, markup=False)
        console.print(f"value      {_text(letter.original.value)}", soft_wrap=True, markup=False)


def _base64(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()


def _text(data: bytes | None) -> str:
    if data is None:
        return "none"
    shown = data[:_SHOWN_BYTES].decode("utf-8", "backslashreplace")
    return shown + (f" ... ({len(data):,} bytes)" if len(data) > _SHOWN_BYTES else "")
