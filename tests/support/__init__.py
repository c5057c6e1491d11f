"""What the tests on a cluster and the demo share."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILD = ROOT / ".build"
