"""A Chromium on this machine: the one that is there, or Debian's."""

import os
import shutil
from pathlib import Path

from support.run import run

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def options(outside: str) -> list[str]:
    """Every name leads to the address `outside`. As root Chromium has no sandbox of its own; /dev/shm may be small."""
    return [
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        f"--host-resolver-rules=MAP * {outside}, EXCLUDE 127.0.0.1",
    ]


def path() -> Path:
    """Where Chromium is; installed where that is possible. Raises RuntimeError where it is not."""
    if found := _found():
        return found
    if os.getuid() or not shutil.which("apt-get"):
        raise RuntimeError(
            f"The tests of the page need one of {', '.join(NAMES)} on PATH. On Debian: apt-get install chromium"
        )
    apt = ("apt-get", "-qq", "-o", "DPkg::Lock::Timeout=600")
    run(*apt, "update", timeout=600)
    install = (*apt, "install", "-y", "--no-install-recommends", "chromium")
    run("env", "DEBIAN_FRONTEND=noninteractive", *install, timeout=1800)
    if found := _found():
        return found
    raise RuntimeError("The package chromium was installed, but there is no chromium on PATH.")


def _found() -> Path | None:
    return next((Path(found) for name in NAMES if (found := shutil.which(name))), None)
