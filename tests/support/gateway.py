"""The MailFilter that most tests start from."""

import json
import re
from typing import Any

from support.cluster import Cluster, Object
from support.mail import Post


def mailfilter(post: Post, name: str = "mx", **spec: Any) -> Object:
    """A gateway for example.com whose next hop is the sink and whose one signature is EICAR's; spec fields replace."""
    basic = {
        "hostname": "mx.example.com",
        "domains": [{"name": "example.com", "relay": {"host": post.sink_host}}],
        "freshclam": {"officialDatabases": False, "customURLs": [post.signatures_url]},
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
