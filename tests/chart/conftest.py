"""The chart as helm renders it. helm comes from the testbed; no cluster is needed."""

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from support import testbed
from support.install import CHART
from support.run import run

Object = dict[str, Any]
Render = Callable[..., list[Object]]


@pytest.fixture(scope="session", autouse=True)
def helm() -> None:
    testbed.enter()


@pytest.fixture
def render() -> Render:
    """render("logFormat=json", …): the objects with these values."""

    def rendered(*settings: str) -> list[Object]:
        flags = [part for setting in settings for part in ("--set", setting)]
        text = run("helm", "template", "mf", str(CHART), "-n", "system", *flags)
        return [item for item in yaml.safe_load_all(text) if item]

    return rendered
