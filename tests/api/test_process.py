"""The operator's process, with the rights that the chart gives it for one namespace."""

import os
import re
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.cluster import Cluster
from support.install import CHART
from support.run import wait_for
from support.samples import SMALL, with_changes

Object = dict[str, Any]
NAME = "mx"
ACCOUNT = "mailfilter-operator"


@dataclass
class Operator:
    """A running `mailfilter operator`."""

    process: subprocess.Popen[bytes]
    port: int
    log_file: Path

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def http(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
            return str(answer.read().decode())

    def healthy(self) -> bool:
        assert self.process.poll() is None, self.log[-3000:]
        try:
            return self.http("/healthz") == "ok"
        except OSError:
            return False


def mailfilter(**changes: Any) -> Object:
    spec = with_changes(SMALL, **changes)
    return {"apiVersion": "mailfilter.dev/v1alpha1", "kind": "MailFilter", "metadata": {"name": NAME}, "spec": spec}


@pytest.fixture(scope="module")
def second(cluster: Cluster, quiet: str) -> str:
    """Another namespace to serve; a test deletes it."""
    name = f"{quiet}-2"
    cluster.kubectl("create", "namespace", name)
    cluster.kubectl("-n", name, "create", "quota", "none", "--hard=pods=0")
    return name


@pytest.fixture(scope="module")
def kubeconfig(cluster: Cluster, quiet: str, second: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A service account that may do what the chart's Roles of these namespaces allow, and nothing else."""
    settings = ("--set", f"watchNamespaces={{{quiet},{second}}}", "--set", "crds.install=false")
    chart = cluster.helm("template", ACCOUNT, str(CHART), "-n", quiet, *settings)
    objects = [each for each in yaml.safe_load_all(chart) if each and each["kind"] != "Deployment"]
    assert not [each for each in objects if each["kind"].startswith("Cluster")]
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(objects))
    cluster.wait_allowed(ACCOUNT, quiet, "list", "mailfilters")
    token = cluster.kubectl("-n", quiet, "create", "token", ACCOUNT).strip()
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
    path = tmp_path_factory.mktemp("operator") / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture(scope="module")
def operator(kubeconfig: Path, quiet: str, second: str) -> Iterator[Operator]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = kubeconfig.with_name("log")
    settings = {f"MAILFILTER_IMAGE_{one}": "none.test/none:1" for one in ("OPERATOR", "POSTFIX", "AMAVIS", "CLAMAV")}
    settings |= {
        "MAILFILTER_IMAGE_PULL_POLICY": "Never",
        "MAILFILTER_WATCH_NAMESPACES": f"{quiet},{second}",
        "MAILFILTER_NAMESPACE": quiet,
        "MAILFILTER_METRICS_PORT": str(port),
        "KUBECONFIG": str(kubeconfig),
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "mailfilter", "operator"], env=os.environ | settings, stdout=output, stderr=output
        )
    found = Operator(process, port, log)
    try:
        wait_for(found.healthy, "the operator")
        yield found
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def gateway(cluster: Cluster, operator: Operator, quiet: str) -> str:
    """A MailFilter that the operator has taken up."""
    cluster.apply(mailfilter(), quiet)
    wait_for(lambda: cluster.find("deployment", f"{NAME}-clamd", quiet), "the last object")
    return NAME


def test_status_tells_what_is_missing(cluster: Cluster, gateway: str, quiet: str) -> None:
    found = cluster.wait_condition("mailfilter", gateway, quiet, "Ready", "False")
    assert found["reason"] == "PostfixNotReady"
    cluster.wait_condition("mailfilter", gateway, quiet, "Progressing", "True")


def test_dns_is_asked(cluster: Cluster, operator: Operator, gateway: str, quiet: str) -> None:
    """Whatever DNS there is on this machine, or none."""

    def answered() -> Object:
        status = cluster.get("mailfilter", gateway, quiet)["status"]
        (condition,) = [one for one in status["conditions"] if one["type"] == "DNSReady"]
        assert condition["reason"] != "NotChecked"
        found: Object = status["dns"]
        return found

    found = wait_for(answered, "DNSReady")
    assert {(one["name"], one["type"]) for one in found["records"]} == {("mx.example.com", "A"), ("example.com", "MX")}
    assert 'mailfilter_operator_reconciles_total{kind="Lookup",result="ok"}' in operator.http("/metrics")


def test_a_deleted_child_comes_back(cluster: Cluster, gateway: str, quiet: str) -> None:
    before = cluster.get("service", f"{gateway}-amavis", quiet)["metadata"]["uid"]
    cluster.delete_object("service", f"{gateway}-amavis", quiet)

    def restored() -> bool:
        found = cluster.find("service", f"{gateway}-amavis", quiet)
        return bool(found and found["metadata"]["uid"] != before)

    wait_for(restored, "the Service")


def test_a_changed_child_is_mended(cluster: Cluster, gateway: str, quiet: str) -> None:
    patch = '{"spec": {"ingress": [{}]}}'
    cluster.kubectl("-n", quiet, "patch", "networkpolicy", f"{gateway}-postfix", "--type=merge", "-p", patch)
    wait_for(
        lambda: len(cluster.get("networkpolicy", f"{gateway}-postfix", quiet)["spec"]["ingress"]) == 4, "the policy", 60
    )


def test_a_child_that_lost_its_labels_is_mended(cluster: Cluster, gateway: str, quiet: str) -> None:
    """It has left the watch, which is as if it had been deleted."""
    label = "app.kubernetes.io/managed-by"
    cluster.kubectl("-n", quiet, "label", "configmap", f"{gateway}-clamav", f"{label}-")
    wait_for(lambda: label in cluster.get("configmap", f"{gateway}-clamav", quiet)["metadata"]["labels"], "label")


def test_an_edit_is_taken_up(cluster: Cluster, gateway: str, quiet: str) -> None:
    cluster.apply(mailfilter(lists={"deny": ["bad@client.example"]}), quiet)

    def denied() -> bool:
        return "bad@client.example" in cluster.get("configmap", f"{gateway}-policy", quiet)["data"]["policy.json"]

    wait_for(denied, "the policy")


def test_metrics(operator: Operator, gateway: str, quiet: str) -> None:
    def samples() -> dict[str, float]:
        lines = [line for line in operator.http("/metrics").splitlines() if line.startswith("mailfilter_")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    def told() -> bool:
        found = samples()
        ready = f'mailfilter_condition{{name="{gateway}",namespace="{quiet}",type="Ready"}}'
        return (
            found.get(ready) == 0 and found['mailfilter_operator_reconciles_total{kind="MailFilter",result="ok"}'] > 0
        )

    wait_for(told, "metrics of the MailFilter")
    found = samples()
    assert found['mailfilter_operator_api_calls_total{code="201",resource="services",verb="patch"}'] > 0
    assert any(name.startswith("mailfilter_operator_reconcile_seconds_count") for name in found)
    assert any(name.startswith("mailfilter_operator_queue_depth") for name in found)


def test_a_release_is_taken_up(cluster: Cluster, operator: Operator, gateway: str, quiet: str) -> None:
    cluster.apply(
        {
            "apiVersion": "mailfilter.dev/v1alpha1",
            "kind": "QuarantineRelease",
            "metadata": {"name": "one"},
            "spec": {"mailFilter": gateway, "messages": ["spam/h/hAbcDEfgh123.gz"]},
        },
        quiet,
    )
    found = cluster.wait_condition("quarantinerelease", "one", quiet, "Complete", "False")
    assert found["reason"] == "NoAgent"


def test_a_second_namespace_is_served(cluster: Cluster, operator: Operator, second: str) -> None:
    cluster.apply(mailfilter(), second)
    wait_for(lambda: cluster.find("deployment", f"{NAME}-clamd", second), "the last object")
    cluster.wait_condition("mailfilter", NAME, second, "Progressing", "True")


def test_a_deleted_mailfilter_is_forgotten(cluster: Cluster, operator: Operator, gateway: str, quiet: str) -> None:
    def series() -> list[str]:
        text = operator.http("/metrics").splitlines()
        return [line for line in text if line.startswith("mailfilter_condition{") and f'namespace="{quiet}"' in line]

    assert series()
    cluster.delete_object("mailfilter", gateway, quiet)
    wait_for(lambda: not series(), "the end of its metrics")
    wait_for(lambda: not cluster.find("deployment", f"{gateway}-clamd", quiet), "the end of its objects")
    assert cluster.find("persistentvolumeclaim", f"{gateway}-quarantine", quiet)


def test_it_ends_on_sigterm_and_has_not_stumbled(operator: Operator) -> None:
    """The rights sufficed for all of the above, and nothing failed on the way."""
    operator.process.terminate()
    assert operator.process.wait(timeout=120) == 0
    assert "Traceback" not in operator.log
    assert not re.findall(r"(?m)^.*(?:ERROR|forbidden).*$", operator.log)


def test_a_namespace_is_deleted_while_no_operator_runs(cluster: Cluster, operator: Operator, second: str) -> None:
    """No finalizer waits for somebody who is not there."""
    operator.process.kill()
    operator.process.wait()
    assert cluster.find("mailfilter", NAME, second)
    cluster.kubectl("delete", "namespace", second, "--timeout=300s", timeout=310)
