"""A QuarantineRelease, or an archive, on its way, with a progress bar for people."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mailfilter.plugin.errors import PluginError
from mailfilter.plugin.kubectl import RELEASES, Kubectl, Object
from mailfilter.plugin.text import line

Transfer = Callable[[int], None]
"""To be told how many bytes more came or went."""

LOOK_SECONDS = 1.0


def followed(kubectl: Kubectl, release: Object, seconds: float) -> Object:
    """The release when it has ended. Raises PluginError when that takes longer."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    name = release["metadata"]["name"]
    deadline = time.monotonic() + seconds
    console = Console(stderr=True, emoji=False, highlight=False)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    # Only a terminal can take a line back.
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(name, total=None)
        while not (release.get("status") or {}).get("completionTime"):
            if time.monotonic() > deadline:
                raise PluginError(f"{name} has not ended within {seconds:.0f} s and goes on: {_state(release)}")
            time.sleep(LOOK_SECONDS)
            release = kubectl.get(RELEASES, name)
            counts = (release.get("status") or {}).get("counts") or {}
            done = counts.get("released", 0) + counts.get("failed", 0)
            bar.update(task, total=counts.get("total"), completed=done, description=f"{name}: {_state(release)}")
    return release


def _state(release: Object) -> str:
    """In few words; why it waits, if it does."""
    status = release.get("status") or {}
    complete = next((one for one in status.get("conditions", []) if one["type"] == "Complete"), None)
    if complete is None:
        return "no operator has taken it up yet"
    return line(complete["message"] if complete["reason"] in ("NoAgent", "AgentUnreachable") else status["phase"])


@contextmanager
def transfer(name: str, size: int | None) -> Iterator[Transfer]:
    """A bar on a terminal for bytes that come or go; what it gives is to be called with how many. None is unknown."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn, TransferSpeedColumn

    console = Console(stderr=True, emoji=False, highlight=False)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(
        *columns, TimeElapsedColumn(), console=console, transient=True, disable=not sys.stderr.isatty()
    ) as bar:
        task = bar.add_task(line(name), total=size)
        yield lambda number: bar.advance(task, number)
