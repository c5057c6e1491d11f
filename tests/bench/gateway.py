"""The gateway as the operator deploys it, on the tests' kind cluster, in a namespace of its own."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.systems import METER, SINK, SINK_PORT, SLEEP, Usage, Verdict, kind, usages
from support import install
from support.cluster import Cluster, Object
from support.gateway import Gateway as Declared
from support.gateway import diagnosis, mailfilter, reports
from support.mail import Post
from support.run import run

LABEL = "mailfilter-bench"
_GATEWAY = {"app.kubernetes.io/instance": "mx"}
_OPERATOR = {"app.kubernetes.io/name": "mailfilter-operator"}


@dataclass(frozen=True)
class Gateway:
    cluster: Cluster
    namespace: str
    name: str = "gateway"
    address: str = "mx-postfix:25"

    def source(self, *command: str, stdin: str = "", timeout: float = 60) -> str:
        return self._exec("source", *command, stdin=stdin, timeout=timeout)

    def sink(self, *command: str, timeout: float = 60) -> str:
        return self._exec("next-hop", *command, timeout=timeout)

    def usage(self) -> dict[str, Usage]:
        containers = self._containers()
        node = f"{self.cluster.name}-control-plane"
        return usages(list(containers), run("docker", "exec", node, "sh", "-c", METER, "meter", *containers.values()))

    def verdicts(self) -> dict[str, Verdict]:
        found = {}
        for message_id, report in reports(self.cluster, self.namespace).items():
            score = report.get("spam_score")
            found[message_id] = Verdict(
                kind(report["content_type"]),
                "PASS" in report["action"],
                None if score is None else round(score, 3),
                frozenset(report.get("tests", [])) - {"none"},
            )
        return found

    def _containers(self) -> dict[str, str]:
        """component/container → its id."""
        pods = [
            *self.cluster.objects("pod", self.namespace, _GATEWAY),
            *self.cluster.objects("pod", install.SYSTEM, _OPERATOR),
        ]
        return {
            f"{_component(pod)}/{each['name']}": each["containerID"].rpartition("/")[2]
            for pod in pods
            for each in pod["status"]["containerStatuses"]
        }

    def _exec(self, pod: str, *command: str, stdin: str = "", timeout: float) -> str:
        return self.cluster.kubectl(
            "-n", self.namespace, "exec", "-i", pod, "--", *command, stdin=stdin, timeout=timeout
        )


@contextmanager
def gateway(cluster: Cluster, images: install.Images) -> Iterator[Gateway]:
    """A gateway with all defaults but the network tests of SpamAssassin, with source and sink; removed at the end."""
    cluster.kubectl("delete", "namespace", "-l", LABEL, "--wait=false")
    namespace = f"bench-{uuid.uuid4().hex[:5]}"
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": {LABEL: "true"}}})
    try:
        post = Post(cluster, namespace)
        post.start(images["operator"])  # for its signatures
        cluster.apply(
            [_pod("source", images["postfix"], SLEEP), _pod("next-hop", images["postfix"], SINK), _service("next-hop")],
            namespace,
        )
        cluster.kubectl(
            *("-n", namespace, "wait", "pod/source", "pod/next-hop", "--for=condition=Ready", "--timeout=60s"),
            timeout=70,
        )
        domain = {"name": "example.com", "relay": {"host": f"next-hop.{namespace}.svc"}}
        cluster.apply(mailfilter(post, domains=[domain], spam={"localTestsOnly": True}), namespace)
        try:
            Declared(cluster, post, {}).ready()
        except AssertionError as error:
            raise AssertionError(f"{error}\n{diagnosis(cluster, namespace, install.SYSTEM)}") from error
        yield Gateway(cluster, namespace)
    finally:
        cluster.kubectl("delete", "namespace", namespace, "--wait=false")


def _component(pod: Object) -> str:
    labels = pod["metadata"]["labels"]
    component: str = labels.get("app.kubernetes.io/component") or "operator"
    return component


def _pod(name: str, image: str, command: tuple[str, ...]) -> Object:
    container = {
        "name": name,
        "image": image,
        "command": list(command),
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    spec = {
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "securityContext": {"runAsUser": 10003, "runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "volumes": [{"name": "tmp", "emptyDir": {"medium": "Memory"}}],
        "containers": [container],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"bench": name}}, "spec": spec}


def _service(name: str) -> Object:
    spec = {"selector": {"bench": name}, "ports": [{"port": 25, "targetPort": SINK_PORT}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}
