"""The MailFilter that most tests start from, and what became of the mails sent through it."""

import json
import re
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any

from support.cluster import Cluster, Object
from support.mail import Post, Reply
from support.run import wait_for

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
    labels = {"app.kubernetes.io/instance": name, "app.kubernetes.io/component": "amavis"}
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
    declared: Object | None = field(default=None, init=False)

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
        self.cluster.wait_condition("mailfilter", self.name, self.namespace, "Ready")

    def pods(self, component: str) -> list[Object]:
        labels = {"app.kubernetes.io/instance": self.name, "app.kubernetes.io/component": component}
        return self.cluster.objects("pod", self.namespace, labels)

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
