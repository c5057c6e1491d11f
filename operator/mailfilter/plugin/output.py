"""What is printed: tables for people, documents for scripts."""

import json
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import click

from mailfilter.plugin.text import line

_UNPRINTABLE = re.compile(r"[^\n\x20-\x7e]")
# Nothing is cut where no terminal has an edge.
_WIDE = 10_000


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    title: str
    right: bool = False
    whole: bool = False
    """It is never cut, however narrow the terminal is."""


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
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cells = [[line(cell) for cell in row] for row in rows]
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for number, column in enumerate(columns):
        widest = max((len(row[number]) for row in cells), default=0)
        shown.add_column(
            Text(column.title.upper()),
            justify="right" if column.right else "left",
            no_wrap=True,
            overflow="fold" if column.whole else "ellipsis",
            min_width=widest if column.whole else None,
        )
    for row in cells:
        shown.add_row(*map(Text, row))
    console = Console(width=None if sys.stdout.isatty() else _WIDE, emoji=False, highlight=False)
    with console.capture() as captured:
        console.print(shown)
    click.echo("".join(f"{each.rstrip()}\n" for each in captured.get().splitlines()), nl=False)


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
