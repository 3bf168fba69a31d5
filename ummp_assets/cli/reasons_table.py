"""`ummp status --reasons`: what the rules measured, and what other thresholds would have kept."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from ummp_assets.clean.distribution import Distribution

__all__ = ["describe_reasons", "print_reasons"]

_SHOWN = (0.05, 0.5, 0.95)


def describe_reasons(found: "Sequence[Distribution]") -> list[dict[str, Any]]:
    """Return the distributions for JSON, the quantiles as p01 to p99."""
    return [
        {**asdict(item), "quantiles": {f"p{round(100 * share):02}": value for share, value in item.quantiles.items()}}
        for item in found
    ]


def print_reasons(console: "Console", found: "Sequence[Distribution]") -> None:
    """Print a row for each rule that measured anything."""
    from rich.table import Table

    from ummp_assets.cli.terminal import print_wide

    table = Table(title="Measured values, of kept and refused samples")
    table.add_column("rule", no_wrap=True)
    for name in ("samples", *(f"{share:.0%}" for share in _SHOWN), "limit", "would keep", "refused"):
        table.add_column(name, justify="right", no_wrap=True)
    for item in found:
        if item.samples:
            table.add_row(
                item.reason,
                f"{item.samples:,}",
                *(_number(item.quantiles[share]) for share in _SHOWN),
                _limit(item),
                _kept(item),
                f"{item.refused:,}",
            )
    if table.row_count:
        print_wide(console, table)
        console.print("In brackets: limits of rules that are not in force. Another: --threshold SETTING=VALUE")
    else:
        console.print("Nothing was measured in these batches.")


def _kept(item: "Distribution") -> str:
    if item.undecided:
        return f"{item.kept:,} to {item.kept + item.undecided:,}"
    return f"{item.kept:,} ({item.kept / item.samples:.0%})"


def _limit(item: "Distribution") -> str:
    if item.limit is None:
        return "none"
    text = f"{'>=' if item.keeps == 'at least' else '<='} {_number(item.limit)}"
    return text if item.in_force else f"({text})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"
