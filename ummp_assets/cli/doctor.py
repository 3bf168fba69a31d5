"""`ummp doctor`: every setting and every connection, and what to do about what is wrong."""

from typing import Any

import click

from ummp_assets.cli.terminal import answers, json_option, print_json

__all__ = ["doctor_command"]


@click.command("doctor")
@click.option("--all", "show_all", is_flag=True, help="List all settings, also those that have their default.")
@json_option
def doctor_command(show_all: bool, as_json: bool) -> None:
    """Check every setting and connection and say what to do.

    Reads and writes a small object in the store, asks the broker, the index and the web UI for an answer, and lists the
    settings with their source; passwords are hidden. Exit code 1: something does not work.
    """
    from ummp_assets.cli.checks import check_all
    from ummp_assets.cli.settings_table import describe_settings
    from ummp_assets.errors import InvalidSettings
    from ummp_assets.settings import load_settings

    problem, settings = None, None
    try:
        settings = load_settings()
    except InvalidSettings as error:
        problem = error
    checks = list(check_all(settings, problem))
    rows = describe_settings(settings)
    ok = all(check.state != "failed" for check in checks)
    if as_json:
        listed = [{"variable": row.variable, "value": row.value, "source": _source(row)} for row in rows]
        print_json({"ok": ok, "checks": checks, "settings": listed})
    else:
        _print_checks(checks)
        _print_settings(rows, show_all)
    if not ok:
        raise click.exceptions.Exit(1)


def _source(row: Any) -> str:
    return "environment" if row.is_set else "default"


def _print_checks(checks: list[Any]) -> None:
    colours = {"ok": "green", "failed": "red", "note": "yellow"}
    console = answers()
    for check in checks:
        console.print(f"[{colours[check.state]}]{check.state:<6}[/] {check.name:<9} ", end="")
        console.print(check.detail, soft_wrap=True, markup=False)
        if check.advice:
            console.print(f"{'':<17}{check.advice}", soft_wrap=True, markup=False)


def _print_settings(rows: list[Any], show_all: bool) -> None:
    from rich.table import Table

    shown = [row for row in rows if show_all or row.is_set]
    table = Table(title="Settings")
    for name in ("variable", "value", "source"):
        table.add_column(name, overflow="fold")
    for row in shown:
        table.add_row(row.variable, row.value, _source(row))
    console = answers()
    if shown:
        console.print(table)
    if not show_all:
        console.print(f"{len(rows) - len(shown)} settings have their default: ummp doctor --all lists them.")
