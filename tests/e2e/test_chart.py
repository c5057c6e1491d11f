"""The chart on a cluster: rights in a list of namespaces only, upgrades, and what stays when it goes."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from support import ROOT, install
from support.cluster import Cluster
from support.mail import Post, message
from support.run import wait_for
from support.victim import Victim

CRD = "customresourcedefinition/mailfilters.mailfilter.dev"


@pytest.fixture(scope="module")
def gateway(cluster: Cluster, operator: str, post: Post) -> Iterator[Victim]:
    """A gateway whose operator has rights in its namespace alone; the usual operator comes back in the end."""
    install.uninstall(cluster)
    install.install(cluster, f"watchNamespaces={{{post.namespace}}}")
    yield Victim(cluster, post).start()
    cluster.delete_object("mailfilter", "mx", post.namespace)
    install.install(cluster)


@pytest.fixture
def far(cluster: Cluster, namespace: str) -> Iterator[Victim]:
    """A MailFilter in a namespace that is not in the list."""
    name = f"{namespace}-far"
    cluster.kubectl("create", "namespace", name)
    far = Victim(cluster, Post(cluster, name))
    far.put()
    yield far
    cluster.kubectl("delete", "namespace", name, "--wait=false")


def passes(gateway: Victim) -> None:
    mail = message()
    gateway.send(mail)
    gateway.post.expect(mail)


def test_there_is_no_right_beyond_the_listed_namespaces(cluster: Cluster, gateway: Victim) -> None:
    passes(gateway)
    labels = ("-l", "app.kubernetes.io/name=mailfilter-operator", "-o", "json")
    for kind in ("clusterroles", "clusterrolebindings"):
        assert not json.loads(cluster.kubectl("get", kind, *labels))["items"]
    roles = json.loads(cluster.kubectl("get", "roles", "-A", *labels))["items"]
    assert [role["metadata"]["namespace"] for role in roles] == [gateway.namespace]
    who = f"--as=system:serviceaccount:{install.SYSTEM}:mailfilter-operator"
    assert cluster.kubectl("auth", "can-i", "list", "secrets", "-n", gateway.namespace, who).strip() == "yes"
    granted = cluster.kubectl("auth", "can-i", "--list", "-n", install.SYSTEM, who)
    assert not [line for line in granted.splitlines() if "secrets" in line or "pods" in line or "*.*" in line]


def test_other_namespaces_are_left_alone(cluster: Cluster, gateway: Victim, far: Victim) -> None:
    """What comes later in the listed namespace is done, and the far MailFilter is not touched."""
    gateway.put(lists={"deny": ["pest@client.example"]})
    wait_for(
        lambda: (
            "pest@client.example" in cluster.get("configmap", "mx-policy", gateway.namespace)["data"]["policy.json"]
        ),
        "the changed policy",
    )
    gateway.ready()
    assert "status" not in cluster.get("mailfilter", "mx", far.namespace)
    assert not far.kubectl("get", "all,configmaps,secrets", "-l", "app.kubernetes.io/name=mailfilter", "-o", "name")
    log = cluster.kubectl("-n", install.SYSTEM, "logs", "deployment/mailfilter-operator")
    assert "orbidden" not in log


def test_definitions_are_upgraded_with_the_chart(cluster: Cluster, gateway: Victim, tmp_path: Path) -> None:
    chart = tmp_path / "chart"
    shutil.copytree(install.CHART, chart)
    file = chart / "files/crds/mailfilters.mailfilter.dev.yaml"
    definition = yaml.safe_load(file.read_text())
    (version,) = definition["spec"]["versions"]
    columns = [column["name"] for column in version.pop("additionalPrinterColumns")]
    del version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["lists"]
    file.write_text(yaml.safe_dump(definition))
    values = ("-n", install.SYSTEM, "--reuse-values", "--wait", "--force-conflicts")
    cluster.helm("upgrade", install.RELEASE, str(chart), *values)
    assert (
        "additionalPrinterColumns" not in json.loads(cluster.kubectl("get", CRD, "-o", "json"))["spec"]["versions"][0]
    )

    install.install(cluster, f"watchNamespaces={{{gateway.namespace}}}")
    (now,) = json.loads(cluster.kubectl("get", CRD, "-o", "json"))["spec"]["versions"]
    assert [column["name"] for column in now["additionalPrinterColumns"]] == columns
    wanted = yaml.safe_load((ROOT / "crds/mailfilters.mailfilter.dev.yaml").read_text())["spec"]["versions"][0]
    assert now["schema"] == wanted["schema"]
    gateway.put(lists={"deny": ["pest@client.example"]})
    gateway.ready()


def test_mail_flows_without_the_chart_and_a_new_one_adopts_what_is_there(cluster: Cluster, gateway: Victim) -> None:
    gateway.put()
    gateway.ready()
    before = gateway.uids()
    install.uninstall(cluster)
    kept = cluster.kubectl("get", "crds", "-o", "name")
    assert "mailfilters.mailfilter.dev" in kept
    assert "quarantinereleases.mailfilter.dev" in kept
    passes(gateway)
    gateway.put(lists={"deny": ["alice@sender.example"]})
    passes(gateway)

    install.install(cluster, f"watchNamespaces={{{gateway.namespace}}}")
    gateway.ready()
    denied, other = message(), message(sender="carol@sender.example")
    gateway.send(denied)
    assert gateway.report(denied)["content_type"] == "Spam"
    gateway.send(other, sender="carol@sender.example")
    gateway.post.expect(other)
    assert not gateway.post.copies(denied)
    assert gateway.uids() == before
