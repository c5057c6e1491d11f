"""Statements that stand in several files agree."""

import tomllib

import yaml

from support import ROOT

CHART = ROOT / "charts/mailfilter-operator"


def test_one_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (version, version)


def test_chart_carries_the_generated_definitions() -> None:
    def texts(folder: str) -> dict[str, str]:
        return {path.name: path.read_text() for path in (ROOT / folder).glob("*.yaml")}

    assert texts("charts/mailfilter-operator/files/crds") == texts("crds"), "run make crds"
