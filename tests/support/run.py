"""Commands whose failure says what they printed, and waiting that says what it saw last."""

import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


class CommandError(Exception):
    """A command failed; the text is its command line and what it printed."""


def run(
    *command: str | Path, stdin: str | None = None, timeout: float = 120, env: Mapping[str, str] | None = None
) -> str:
    """What the command printed on stdout."""
    line = " ".join(map(str, command))
    try:
        done = subprocess.run(command, input=stdin, timeout=timeout, env=env, text=True, capture_output=True)
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"{line}: not done after {timeout:.0f} s") from error
    if done.returncode:
        raise CommandError(f"{line}: exit {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-4000:]}".rstrip())
    return done.stdout


def wait_for(predicate: Callable[[], T], what: str, timeout: float = 180, interval: float = 0.5) -> T:
    """The predicate's first true value. Assertions and commands that fail meanwhile count as not yet.

    The timeout, in seconds, is no judgement of speed: it ends what hangs, and is far above what a busy machine needs.
    """
    end = time.monotonic() + timeout
    while True:
        try:
            seen: object = predicate()
            if seen:
                return seen  # type: ignore[return-value]
        except (AssertionError, CommandError) as error:
            seen = error
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {timeout:.0f} s; last seen: {seen}")
        time.sleep(interval)
