"""The MailFilter that most tests start from, and what became of the mails sent through it."""

import json
import re
from dataclasses import dataclass, field
from email.message import EmailMessage
from functools import partial
from typing import Any

from support.cluster import Cluster, Object, is_ready
from support.mail import Post, Reply
from support.run import wait_for

INSTANCE, COMPONENT = "app.kubernetes.io/instance", "app.kubernetes.io/component"
# From whose pods a mail goes to which Service's port.
HOPS = (("postfix", "amavis", 10024), ("amavis", "clamd", 3310), ("amavis", "reinjection", 10025))
_LITTLE = {"requests": {"cpu": "10m", "memory": "64Mi"}}
_STORAGE = {"size": "1Gi"}
SMALL: Object = {
    # Whether there is a DNS that knows the world differs from place to place.
    "dns": {"check": False},
    "quarantine": {"storage": _STORAGE},
    "postfix": {"storage": _STORAGE, "resources": _LITTLE},
    "amavis": {"resources": _LITTLE},
    "clamd": {"resources": _LITTLE},
}
"""Parts of a MailFilter of which several find room on one node."""


def mailfilter(post: Post, name: str = "mx", **spec: Any) -> Object:
    """A gateway for example.com whose next hop is the sink and whose one signature is EICAR's; spec fields replace."""
    basic = SMALL | {
        "hostname": "mx.example.com",
        "domains": [{"name": "example.com", "relay": {"host": post.sink_host}}],
        "freshclam": {"officialDatabases": False, "customURLs": [post.signatures_url], "storage": _STORAGE},
    }
    return {
        "apiVersion": "mailfilter.dev/v1alpha1",
        "kind": "MailFilter",
        "metadata": {"name": name},
        "spec": basic | spec,
    }


def reports(cluster: Cluster, namespace: str, name: str = "mx") -> dict[str, Object]:
    """Message-ID without <> → the JSON line that amavis wrote about the mail last."""
    labels = {INSTANCE: name, COMPONENT: "amavis"}
    found: dict[str, Object] = {}
    for pod in cluster.objects("pod", namespace, labels):
        for line in cluster.logs(pod["metadata"]["name"], namespace, "amavis").splitlines():
            if match := re.search(r"\{.*\}$", line):
                try:
                    report: Object = json.loads(match[0])
                except ValueError:
                    continue
                if "message_id" in report:
                    found[report["message_id"].strip("<>")] = report
    return found


@dataclass
class Gateway:
    """A MailFilter that a module's tests share; `basis` is what its spec says while no test wants it otherwise."""

    cluster: Cluster
    post: Post
    basis: Object
    name: str = "mx"
    client: Post | None = None
    """Whose client sends to it, where there is none beside it."""
    declared: Object | None = field(default=None, init=False)
    _open: object = field(default=None, init=False)
    """The pods and containers that mail was seen to have its way through."""

    @property
    def namespace(self) -> str:
        return self.post.namespace

    def declare(self, **changes: Any) -> None:
        """Give the MailFilter the basis with these fields replaced."""
        wanted = mailfilter(self.post, self.name, **self.basis | changes)
        if wanted != self.declared:
            self.cluster.apply(wanted, self.namespace)
            self.declared = wanted

    def apply(self, **changes: Any) -> None:
        """Declare, and wait until it is in force everywhere."""
        self.declare(**changes)
        self.ready()

    def ready(self, timeout: float = 300) -> None:
        """Wait until the newest generation filters mail, all pods are those that are wanted, and mail has its way
        through them. The conditions alone may still be those of before, where something but the spec was changed."""
        seen = wait_for(self._settled, f"MailFilter {self.name} with all its pods", timeout)
        if seen != self._open:
            self.door()
            for source, service, port in HOPS:
                for pod in self.pods(source):
                    name, to = pod["metadata"]["name"], f"{self.name}-{service}"
                    wait_for(partial(self._connects, name, source, to, port), f"the way from {name} to {to}")
            self._open = seen

    def door(self) -> None:
        """Wait until a client reaches Postfix. A node learns of a Service's new pod a moment after the pod is ready;
        till then a client hears that nobody is there."""
        host = f"{self.name}-postfix.{self.namespace}.svc"
        wait_for(lambda: (self.client or self.post).reaches(host, 25), f"the Service's way to {self.name}-postfix")

    def _connects(self, pod: str, container: str, host: str, port: int) -> bool:
        """True; CommandError where a container of the gateway cannot connect."""
        connect = ("timeout", "5", "bash", "-c", "</dev/tcp/$0/$1", host, str(port))
        self.cluster.kubectl("-n", self.namespace, "exec", pod, "-c", container, "--", *connect)
        return True

    def _settled(self) -> set[tuple[str, str]]:
        """All containers of the gateway's pods, when these are as the newest generation wants them."""
        kinds = "mailfilters,statefulsets,deployments,pods"
        items = json.loads(self.cluster.kubectl("-n", self.namespace, "get", kinds, "-o", "json"))["items"]
        (own,) = [one for one in items if one["kind"] == "MailFilter" and one["metadata"]["name"] == self.name]
        conditions = {one["type"]: one for one in own.get("status", {}).get("conditions", [])}
        for kind, status in (("Progressing", "False"), ("Ready", "True")):
            found = conditions.get(kind, {})
            assert found.get("status") == status, f"{kind} is {found or 'missing'}"
            assert found["observedGeneration"] == own["metadata"]["generation"], f"{kind} is of an older generation"
        ours = [one for one in items if one["metadata"].get("labels", {}).get(INSTANCE) == self.name]
        pods = [one for one in ours if one["kind"] == "Pod"]
        wanted = 0
        for workload in (one for one in ours if one["kind"] != "Pod"):
            name, number, status = workload["metadata"]["name"], workload["spec"]["replicas"], workload["status"]
            assert status.get("observedGeneration") == workload["metadata"]["generation"], f"{name} was changed"
            counts = [status.get(count, 0) for count in ("replicas", "updatedReplicas", "readyReplicas")]
            assert counts == [number] * 3, f"{name} has {status}"
            wanted += number
        names = {pod["metadata"]["name"]: is_ready(pod) for pod in pods}
        assert len(pods) == wanted, f"{wanted} pods are wanted: {names}"
        assert all(names.values()), f"ready: {names}"
        containers = [one for pod in pods for one in pod["status"]["containerStatuses"]]
        return {(one["name"], one["containerID"]) for one in containers}

    def pods(self, component: str) -> list[Object]:
        return self.cluster.objects("pod", self.namespace, {INSTANCE: self.name, COMPONENT: component})

    def send(self, *mails: EmailMessage, **how: Any) -> None:
        """Send mails that the gateway has to take."""
        replies = self.post.send(*mails, **how)
        assert [reply.code for reply in replies] == [250] * len(mails), replies

    def refusal(self, mail: EmailMessage, **how: Any) -> Reply:
        """Send a mail that the gateway must not take; what it said to the recipient, or to the mail."""
        (reply,) = self.post.send(mail, **how)
        assert reply.code // 100 != 2, reply
        return reply

    def report(self, mail: EmailMessage) -> Object:
        """What amavis says of the mail, as soon as it is done with it."""
        key = mail["Message-ID"].strip("<>")
        return wait_for(lambda: reports(self.cluster, self.namespace, self.name).get(key, {}), f"the report on {key}")

    def verdict(self, mail: EmailMessage, **how: Any) -> Object:
        """Send a mail; what amavis says of it."""
        self.send(mail, **how)
        return self.report(mail)

    def held(self, *mails: EmailMessage, **how: Any) -> list[str]:
        """Send mails that are to be held; their quarantine ids."""
        self.send(*mails, **how)
        return [self.report(mail)["quarantine"] for mail in mails]

    def quarantined(self) -> set[str]:
        """The quarantine ids of all files on the volume."""
        script = "cd /var/lib/amavis/quarantine && find spam virus banned bad-header -type f ! -name '.*'"
        pod = self.pods("amavis")[0]["metadata"]["name"]
        found = self.cluster.kubectl("-n", self.namespace, "exec", pod, "-c", "amavis", "--", "sh", "-c", script)
        return set(found.split())


def diagnosis(cluster: Cluster, namespace: str, system: str) -> str:
    """What one would look at first when a test failed."""
    gateway = "app.kubernetes.io/managed-by=mailfilter-operator"
    operator = "app.kubernetes.io/name=mailfilter-operator"
    looks = [
        f"-n {system} logs -l {operator} --tail=60",
        "get mailfilters,quarantinereleases,pods -A -o wide",
        f"-n {namespace} get events --sort-by=.lastTimestamp",
        f"-n {namespace} get mailfilters,quarantinereleases -o yaml",
        f"-n {namespace} logs -l {gateway} --all-containers --prefix --tail=25 --max-log-requests=30",
        f"-n {namespace} logs sink --tail=3",
    ]
    return "\n\n".join(f"$ kubectl {look}\n{_attempt(cluster, look)}" for look in looks)


def _attempt(cluster: Cluster, look: str) -> str:
    try:
        return cluster.kubectl(*look.split(), timeout=20)[-12_000:]
    except Exception as error:  # a diagnosis must not hide the failure that it is about
        return str(error)
