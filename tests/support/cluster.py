"""A kind cluster that stays between runs, and kubectl on it."""

import contextlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pytest_kind import KindCluster

from support import BUILD
from support.run import CommandError, run, wait_for

Object = dict[str, Any]
# What kind makes.
OWN_NAMESPACES = {"default", "kube-node-lease", "kube-public", "kube-system", "local-path-storage"}


class Cluster:
    """A kind cluster of one node, reached by its own kubeconfig only."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.kind = Path(os.environ["KIND_BIN"])
        self.kubeconfig = BUILD / f"{name}.kubeconfig"
        self.env = os.environ | {"KUBECONFIG": str(self.kubeconfig)}

    def up(self) -> None:
        """Create the cluster, or use the one that is there when it answers and has the testbed's node image."""
        BUILD.mkdir(exist_ok=True)
        if self.name in run(self.kind, "get", "clusters").split() and not self._usable():
            self.delete()
        with contextlib.chdir(BUILD):  # KindCluster makes a folder .pytest-kind
            kubectl = Path(shutil.which("kubectl") or "kubectl")
            KindCluster(self.name, self.kubeconfig, os.environ["KIND_IMAGE"], self.kind, kubectl).create()
        self.kubectl("wait", "node", "--all", "--for=condition=Ready", "--timeout=300s", timeout=310)
        wait_for(lambda: self.find("serviceaccount", "default", "default"), "the namespace default")

    def _usable(self) -> bool:
        try:
            image = run("docker", "inspect", "-f", "{{.Config.Image}}", f"{self.name}-control-plane").strip()
            run(self.kind, "export", "kubeconfig", "--name", self.name, "--kubeconfig", self.kubeconfig)
            return image == os.environ["KIND_IMAGE"] and self.kubectl("get", "--raw", "/readyz", timeout=30) == "ok"
        except CommandError:
            return False

    def clear(self) -> None:
        """Delete what an earlier run left: a run that was ended from outside keeps its node ports and its operator."""
        names = self.kubectl("get", "namespaces", "-o", "jsonpath={.items[*].metadata.name}").split()
        left = [name for name in names if name not in OWN_NAMESPACES]
        if left:
            self.kubectl("delete", "namespace", *left, "--timeout=300s", timeout=310)

    def delete(self) -> None:
        run(self.kind, "delete", "cluster", "--name", self.name, timeout=120)

    def load(self, *images: str) -> None:
        """Bring local images into the node; those whose name is there already are left alone."""
        there = run("docker", "exec", f"{self.name}-control-plane", "ctr", "-n", "k8s.io", "images", "ls", "-q").split()
        missing = [image for image in images if not any(name.endswith(f"/library/{image}") for name in there)]
        if missing:
            run(self.kind, "load", "docker-image", "--name", self.name, *missing, timeout=600)

    def kubectl(self, *args: str, stdin: str | None = None, timeout: float = 120) -> str:
        return run("kubectl", *args, stdin=stdin, timeout=timeout, env=self.env)

    def helm(self, *args: str, timeout: float = 400) -> str:
        return run("helm", *args, timeout=timeout, env=self.env)

    def apply(self, what: Object | list[Object] | str, namespace: str = "default") -> None:
        """Server-side apply of an object, several, or YAML text. What the API server refuses raises CommandError."""
        objects = [what] if isinstance(what, dict) else what
        text = objects if isinstance(objects, str) else yaml.safe_dump_all(objects)
        self.kubectl("-n", namespace, "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)

    def create(self, what: Object, namespace: str) -> str:
        """Create an object, such as one with generateName; its name."""
        found = self.kubectl("-n", namespace, "create", "-f", "-", "-o", "json", stdin=json.dumps(what))
        name: str = json.loads(found)["metadata"]["name"]
        return name

    def get(self, kind: str, name: str, namespace: str) -> Object:
        found: Object = json.loads(self.kubectl("-n", namespace, "get", kind, name, "-o", "json"))
        return found

    def find(self, kind: str, name: str, namespace: str) -> Object | None:
        """As get, but None where there is no such object."""
        text = self.kubectl("-n", namespace, "get", kind, name, "-o", "json", "--ignore-not-found")
        return json.loads(text) if text else None

    def objects(self, kind: str, namespace: str, labels: Mapping[str, str] | None = None) -> list[Object]:
        selector = ",".join(f"{key}={value}" for key, value in (labels or {}).items())
        text = self.kubectl("-n", namespace, "get", kind, "-l", selector, "-o", "json")
        found: list[Object] = json.loads(text)["items"]
        return found

    def delete_object(self, kind: str, name: str, namespace: str, *, wait: bool = True) -> None:
        """Delete an object that may be gone already; with wait until it is gone."""
        flags = ("--ignore-not-found", f"--wait={str(wait).lower()}")
        self.kubectl("-n", namespace, "delete", kind, name, *flags, timeout=300)

    def logs(self, pod: str, namespace: str, container: str = "", tail: int = -1) -> str:
        """pod: a pod's name or such as deployment/NAME."""
        chosen = ("-c", container) if container else ()
        return self.kubectl("-n", namespace, "logs", pod, *chosen, f"--tail={tail}")

    def kill_container(self, pod: str, container: str, namespace: str) -> None:
        """SIGKILL for a container's first process, as the kernel would; the kubelet starts another one."""
        seen = self.get("pod", pod, namespace)["status"]["containerStatuses"]
        (name,) = [one["containerID"].partition("//")[2] for one in seen if one["name"] == container]
        task = ("ctr", "-n", "k8s.io", "task", "kill", "-s", "SIGKILL", name)
        run("docker", "exec", f"{self.name}-control-plane", *task)

    def wait_allowed(self, account: str, namespace: str, *request: str) -> None:
        """Wait until the API server knows of a ServiceAccount's new Role; the request is such as `list`, `pods`."""
        who = f"--as=system:serviceaccount:{namespace}:{account}"

        def allowed() -> bool:
            return self.kubectl("auth", "can-i", *request, "-n", namespace, who).strip() == "yes"

        wait_for(allowed, f"the rights of {account}")

    def wait_condition(
        self, kind: str, name: str, namespace: str, condition: str, status: str = "True", timeout: float = 300
    ) -> Object:
        """Wait until the condition has this status, observed for the object's newest generation."""

        def seen() -> Object:
            item = self.get(kind, name, namespace)
            conditions = item.get("status", {}).get("conditions", [])
            found: Object = next((each for each in conditions if each["type"] == condition), {})
            assert found.get("status") == status, f"{condition} is {found or 'missing'}"
            generation = item["metadata"]["generation"]
            assert found.get("observedGeneration", generation) == generation, f"{condition} is of an older generation"
            return found

        return wait_for(seen, f"{kind} {name}: {condition}={status}", timeout, interval=1)


def is_ready(pod: Object) -> bool:
    """Whether a pod is ready and to stay."""
    conditions = pod.get("status", {}).get("conditions", [])
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return ready and not pod["metadata"].get("deletionTimestamp")
