"""Somebody who has no more rights in a cluster than a Role of docs/plugin.md gives, and runs `kubectl mailfilter`."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from support import BUILD, ROOT
from support.cluster import Cluster

PROGRAM = Path(sys.executable).with_name("kubectl-mailfilter")


def documented(role: str) -> dict[str, Any]:
    """A Role of the page."""
    blocks = re.findall(r"^```yaml\n(.*?)^```$", (ROOT / "docs/plugin.md").read_text(), re.MULTILINE | re.DOTALL)
    (found,) = [body for body in map(yaml.safe_load, blocks) if body["metadata"]["name"] == role]
    return dict(found)


class Tenant:
    """A ServiceAccount with one Role in one namespace, and a kubeconfig of its own."""

    def __init__(self, cluster: Cluster, namespace: str, role: str) -> None:
        self.kubeconfig = BUILD / f"{namespace}.{role}.kubeconfig"
        self.namespace = namespace
        group = "rbac.authorization.k8s.io"
        bound = {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": role},
            "roleRef": {"apiGroup": group, "kind": "Role", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": role, "namespace": namespace}],
        }
        wanted = documented(role)
        wanted["metadata"]["namespace"] = namespace
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": role}}
        cluster.apply([account, wanted, bound], namespace)
        rule = wanted["rules"][0]
        of = f"{rule['resources'][0]}.{rule['apiGroups'][0]}".removesuffix(".")
        cluster.wait_allowed(role, namespace, rule["verbs"][0], of)
        token = cluster.kubectl("-n", namespace, "create", "token", role).strip()
        config = yaml.safe_load(cluster.kubeconfig.read_text())
        config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
        self.kubeconfig.touch(0o600)
        self.kubeconfig.write_text(yaml.safe_dump(config))

    def run(self, *words: str, namespace: str | None = None) -> tuple[int, str, str]:
        """`kubectl mailfilter …`: exit status, what it prints, and what it tells."""
        where = ("-n", namespace or self.namespace, "--kubeconfig", str(self.kubeconfig))
        done = subprocess.run([PROGRAM, *words, *where], capture_output=True, text=True, timeout=180)
        return done.returncode, done.stdout, done.stderr

    def document(self, *words: str) -> Any:
        """What it prints as JSON."""
        status, printed, errors = self.run(*words, "-o", "json")
        assert status == 0, errors
        return json.loads(printed)
