"""What is printed: tables for people, documents for scripts."""

import json
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import click

from mailfilter.plugin.text import line

_UNPRINTABLE = re.compile(r"[^\n\x20-\x7e]")
# Nothing is cut where no terminal has an edge.
WIDE = 10_000
# What is left of an elastic column.
LEAST = 10
GAP = 2


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    title: str
    right: bool = False
    elastic: bool = False
    """It may be cut where the terminal is narrow."""


def document(what: Any, form: str) -> None:
    """Prints a document as `json` or `yaml`, without control characters of mails."""
    if form == "json":
        text = json.dumps(what, indent=2, ensure_ascii=False)
        click.echo(_UNPRINTABLE.sub(lambda found: _escaped(found[0]), text))
    else:
        import yaml

        text = yaml.safe_dump(what, sort_keys=False, allow_unicode=True)
        if not text.replace("\n", "").isprintable():
            text = yaml.safe_dump(what, sort_keys=False)
        click.echo(text, nl=False)


def table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
    """Prints a table whose cells are anybody's words."""
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cells = [[line(cell) for cell in row] for row in rows]
    natural = [
        max(map(cell_len, (column.title, *(row[number] for row in cells)))) for number, column in enumerate(columns)
    ]
    console = Console(emoji=False, highlight=False)
    widths = fitted(natural, [column.elastic for column in columns], console.width if sys.stdout.isatty() else WIDE)
    # What must not be cut goes over the edge, as kubectl's own tables do.
    console.width = WIDE
    shown = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for column, width in zip(columns, widths, strict=True):
        justify: Literal["left", "right"] = "right" if column.right else "left"
        shown.add_column(Text(column.title.upper()), justify=justify, no_wrap=True, overflow="ellipsis", width=width)
    for row in cells:
        shown.add_row(*map(Text, row))
    with console.capture() as captured:
        console.print(shown)
    click.echo("".join(f"{each.rstrip()}\n" for each in captured.get().splitlines()), nl=False)


def fitted(natural: list[int], elastic: list[bool], room: int) -> list[int]:
    """Widths of columns that fit into `room`: the widest elastic ones give way. `natural` where they cannot."""
    widths = list(natural)
    while sum(widths) + GAP * (len(widths) - 1) > room:
        width, number = max((width * elastic[number], number) for number, width in enumerate(widths))
        if width <= LEAST:
            return natural
        widths[number] -= 1
    return widths


def local_time(stamp: str) -> str:
    """A time of the API as the user's clock shows it."""
    return datetime.fromisoformat(stamp).astimezone().strftime("%Y-%m-%d %H:%M")


def facts(pairs: Iterable[tuple[str, str | Sequence[str]]]) -> None:
    """Prints what has a title and one line or several; what is empty is left out."""
    for title, value in pairs:
        for number, each in enumerate(filter(None, [value] if isinstance(value, str) else value)):
            click.echo(f"{'' if number else title:<14} {line(each)}")


def size(number: int) -> str:
    """Bytes in the unit that suits."""
    if number < 1024:
        return f"{number} B"
    unit = min((number.bit_length() - 1) // 10, 4)
    return f"{number / 1024**unit:.1f} {'KMGT'[unit - 1]}iB"


def span(seconds: int) -> str:
    """Seconds in the unit that suits."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def note(text: str) -> None:
    """Tells the user something that is not the answer."""
    click.echo(line(text), err=True)


def _escaped(one: str) -> str:
    return one if one.isprintable() else json.dumps(one)[1:-1]
