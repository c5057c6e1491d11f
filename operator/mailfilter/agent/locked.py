"""Files on the volume that one process at a time works on, of whatever pod."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def taken(path: Path, flags: int = 0) -> Iterator[IO[bytes] | None]:
    """The file, locked (flock), made with its folder if need be; None while another process has it. Raises OSError.

    It is not buffered, and opened for reading and writing; `flags` are more of open(2)."""
    path.parent.mkdir(exist_ok=True)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | flags, 0o640)
        with os.fdopen(descriptor, "r+b", 0) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
                return
            # It may have been deleted before it was locked.
            if os.fstat(file.fileno()).st_nlink:
                yield file
                return
