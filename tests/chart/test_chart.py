"""What the chart installs, and what it refuses."""

import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mailfilter.settings import Settings
from support import ROOT
from support.install import CHART
from support.run import CommandError, run

Object = dict[str, Any]
Render = Callable[..., list[Object]]

WRITES = {"create", "patch", "update", "delete", "deletecollection"}


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    return [item for item in objects if item["kind"] == kind]


def deployment(objects: list[Object]) -> Object:
    (found,) = of_kind(objects, "Deployment")
    return found


def environment(objects: list[Object]) -> dict[str, str]:
    (container,) = deployment(objects)["spec"]["template"]["spec"]["containers"]
    return {entry["name"]: entry.get("value", "") for entry in container["env"]}


def test_lint() -> None:
    run("helm", "lint", "--strict", str(CHART))


def test_all_namespaces(render: Render) -> None:
    objects = render()
    assert Counter(item["kind"] for item in objects) == {
        "CustomResourceDefinition": 2,
        "ServiceAccount": 1,
        "ClusterRole": 3,
        "ClusterRoleBinding": 1,
        "Deployment": 1,
    }
    (binding,) = of_kind(objects, "ClusterRoleBinding")
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "mf-mailfilter-operator", "namespace": "system"}]


def test_some_namespaces_need_no_cluster_role(render: Render) -> None:
    objects = render("watchNamespaces={blue,green}")
    assert not of_kind(objects, "ClusterRole")
    assert not of_kind(objects, "ClusterRoleBinding")
    assert [item["metadata"]["namespace"] for item in of_kind(objects, "Role")] == ["blue", "green"]
    bindings = of_kind(objects, "RoleBinding")
    assert [item["metadata"]["namespace"] for item in bindings] == ["blue", "green"]
    assert {item["roleRef"]["kind"] for item in bindings} == {"Role"}
    assert {item["subjects"][0]["namespace"] for item in bindings} == {"system"}
    assert environment(objects)["MAILFILTER_WATCH_NAMESPACES"] == "blue,green"


def test_rights_are_the_same_in_both_modes_and_least(render: Render) -> None:
    (cluster_role,) = of_kind(render("aggregateRoles=false"), "ClusterRole")
    (role,) = of_kind(render("watchNamespaces={blue}"), "Role")
    assert cluster_role["rules"] == role["rules"]
    verbs = {
        (group, resource): set(rule["verbs"])
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    assert not any("*" in (*key, *granted) for key, granted in verbs.items())
    assert ("", "pods/exec") not in verbs
    assert not any(group == "rbac.authorization.k8s.io" for group, _ in verbs)
    assert verbs["", "pods"] & WRITES == {"patch"}
    assert verbs["mailfilter.dev", "mailfilters"] & WRITES == {"patch"}
    assert verbs["mailfilter.dev", "quarantinereleases"] & WRITES == {"delete"}


def test_kubernetes_own_roles_know_the_resources(render: Render) -> None:
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    found = {
        item["metadata"]["name"]: (
            {label.removeprefix(prefix) for label in item["metadata"]["labels"] if label.startswith(prefix)},
            [(rule["apiGroups"], set(rule["resources"]), set(rule["verbs"])) for rule in item["rules"]],
        )
        for item in of_kind(render(), "ClusterRole")
    }
    del found["mf-mailfilter-operator"]
    resources = (["mailfilter.dev"], {"mailfilters", "quarantinereleases"})
    assert found == {
        "mf-mailfilter-operator-view": ({"view", "edit", "admin"}, [(*resources, {"get", "list", "watch"})]),
        "mf-mailfilter-operator-edit": ({"edit", "admin"}, [(*resources, WRITES)]),
    }


def test_pod_is_restricted(render: Render) -> None:
    pod = deployment(render())["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_images(render: Render) -> None:
    digest = "sha256:" + "a" * 64
    found = environment(
        render("images.amavis.tag=t1", f"images.clamav.digest={digest}", "images.postfix.repository=a/b")
    )
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    assert found["MAILFILTER_IMAGE_OPERATOR"] == f"mailfilter-operator:{version}"
    assert found["MAILFILTER_IMAGE_POSTFIX"] == f"a/b:{version}"
    assert found["MAILFILTER_IMAGE_AMAVIS"] == "mailfilter-amavis:t1"
    assert found["MAILFILTER_IMAGE_CLAMAV"] == f"mailfilter-clamav@{digest}"


def test_environment_is_what_the_operator_reads(render: Render, monkeypatch: pytest.MonkeyPatch) -> None:
    found = environment(render("watchNamespaces={blue,green}", "logFormat=json", "podMonitor.enabled=true"))
    known = {f"MAILFILTER_{name.upper()}" for name in Settings.model_fields}
    assert found.keys() == known - {"MAILFILTER_METRICS_PORT"}
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.watch_namespaces == ("blue", "green")
    assert settings.log_format == "json"
    assert settings.scrape_annotations is False


def test_large_numbers_stay_whole(render: Render) -> None:
    assert environment(render("resyncSeconds=86400"))["MAILFILTER_RESYNC_SECONDS"] == "86400"


def test_pull_secrets(render: Render) -> None:
    objects = render("imagePullSecrets={one,two}")
    assert environment(objects)["MAILFILTER_IMAGE_PULL_SECRETS"] == "one,two"
    assert deployment(objects)["spec"]["template"]["spec"]["imagePullSecrets"] == [{"name": "one"}, {"name": "two"}]


def test_pod_monitors_replace_scrape_annotations(render: Render) -> None:
    plain, monitored = render(), render("podMonitor.enabled=true", "watchNamespaces={blue}", "podMonitor.labels.team=x")
    assert not of_kind(plain, "PodMonitor")
    assert deployment(plain)["spec"]["template"]["metadata"]["annotations"]["prometheus.io/port"] == "8080"
    assert environment(plain)["MAILFILTER_SCRAPE_ANNOTATIONS"] == "1"
    operator, gateways = of_kind(monitored, "PodMonitor")
    assert operator["metadata"]["labels"]["team"] == "x"
    assert gateways["spec"]["namespaceSelector"] == {"matchNames": ["blue"]}
    assert "prometheus.io/port" not in deployment(monitored)["spec"]["template"]["metadata"]["annotations"]
    assert environment(monitored)["MAILFILTER_SCRAPE_ANNOTATIONS"] == "0"


def test_definitions_are_the_generated_ones_and_stay(render: Render) -> None:
    rendered = {item["metadata"]["name"]: item for item in of_kind(render(), "CustomResourceDefinition")}
    generated = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "crds").glob("*.yaml"))]
    assert rendered.keys() == {item["metadata"]["name"] for item in generated}
    for definition in generated:
        item = rendered[definition["metadata"]["name"]]
        assert item["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
        assert item == definition
    assert not of_kind(render("crds.install=false"), "CustomResourceDefinition")


def test_package_is_complete(tmp_path: Path) -> None:
    run("helm", "package", str(CHART), "-d", str(tmp_path))
    (package,) = tmp_path.glob("*.tgz")
    with tarfile.open(package) as content:
        names = content.getnames()
    assert len([name for name in names if "/files/crds/" in name]) == 2
    run("helm", "template", str(package))


@pytest.mark.parametrize(
    "setting",
    [
        "watchNamespaces=blue",
        "watchNamespaces={Not_A_Name}",
        "images.amavis.digest=md5:1",
        "images.amavis.repository=",
        "imagePullPolicy=Sometimes",
        "workers=0",
        "resyncSeconds=1",
        "logFormat=xml",
        "podMonitor.interval=often",
        "replicaCount=2",
    ],
)
def test_wrong_values_are_refused(render: Render, setting: str) -> None:
    with pytest.raises(CommandError, match="schema"):
        render(setting)
