"""The machine's kind, kubectl and helm, or those that tests/testbed makes."""

import os
import re

from support import ROOT
from support.run import run


def enter() -> None:
    """Bring the testbed up and take its settings (PATH, KIND_BIN, KIND_IMAGE) into this process."""
    if "KIND_BIN" not in os.environ:
        exports = run(ROOT / "tests/testbed/up.sh", timeout=3600)
        settings = run("bash", "-c", f"{exports}\nenv -0")
        os.environ.update(re.findall(r"([^=\0]+)=([^\0]*)\0", settings))
