"""A running gateway, and what can be done to it from outside."""

from typing import Any

from support.cluster import Cluster, Object, is_ready
from support.gateway import COMPONENT, INSTANCE, Gateway, mailfilter
from support.mail import Post
from support.run import run, wait_for

LITTLE = {"requests": {"cpu": "10m", "memory": "64Mi"}}


class Victim(Gateway):
    """A small gateway whose tests break it, and wait for conditions of their own."""

    def __init__(self, cluster: Cluster, post: Post, name: str = "mx", client: Post | None = None, **spec: Any) -> None:
        """`spec` replaces fields of the small gateway's."""
        small: Object = {
            "spam": {"localTestsOnly": True},
            "quarantine": {"storage": {"size": "1Gi"}},
            "postfix": {"storage": {"size": "1Gi"}, "resources": LITTLE},
            "amavis": {"resources": LITTLE},
            "clamd": {"resources": LITTLE},
            "freshclam": {
                "officialDatabases": False,
                "customURLs": [post.signatures_url],
                "storage": {"size": "1Gi"},
            },
        }
        super().__init__(cluster, post, small | spec, name, client)

    def put(self, **changes: Any) -> None:
        """Give the MailFilter the basis with these fields replaced."""
        self.cluster.apply(mailfilter(self.post, self.name, **self.basis | changes), self.namespace)

    def start(self) -> "Victim":
        """Give it the basis and wait until mail is filtered."""
        self.put()
        self.ready()
        return self

    def wait(self, condition: str, status: str = "True", timeout: float = 300) -> Object:
        return self.cluster.wait_condition("mailfilter", self.name, self.namespace, condition, status, timeout)

    def status(self) -> Object:
        found: Object = self.cluster.get("mailfilter", self.name, self.namespace).get("status", {})
        return found

    def deferred(self) -> int:
        """Waiting mails as status has them."""
        found: int = self.status()["queue"]["deferred"]
        return found

    def kubectl(self, *args: str, stdin: str | None = None, timeout: float = 120) -> str:
        return self.cluster.kubectl("-n", self.namespace, *args, stdin=stdin, timeout=timeout)

    def live(self, component: str = "") -> list[Object]:
        """The pods that are not on their way out."""
        labels = {INSTANCE: self.name} | ({COMPONENT: component} if component else {})
        found = self.cluster.objects("pod", self.namespace, labels)
        return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]

    def pod(self, component: str) -> str:
        """The name of the component's one pod."""
        names: list[str] = [pod["metadata"]["name"] for pod in self.live(component)]
        assert len(names) == 1, f"pods of {component}: {names}"
        return names[0]

    def uids(self) -> dict[str, tuple[str, int]]:
        """Each pod's uid and how often its containers were started anew."""
        return {
            pod["metadata"]["name"]: (
                pod["metadata"]["uid"],
                sum(one["restartCount"] for one in pod["status"].get("containerStatuses", [])),
            )
            for pod in self.live()
        }

    def kill(self, component: str) -> None:
        """End the component's pods at once, as a lost node does, and wait for others in their place."""
        before = {pod["metadata"]["uid"] for pod in self.live(component)}
        selector = f"{INSTANCE}={self.name},{COMPONENT}={component}"
        self.kubectl("delete", "pod", "-l", selector, "--grace-period=0", "--force")

        def others() -> bool:
            pods = self.live(component)
            assert pods
            assert not before & {pod["metadata"]["uid"] for pod in pods}
            return all(is_ready(pod) for pod in pods)

        wait_for(others, f"pods of {component} in place of those that were killed")
        if component == "postfix":
            self.door()

    def kill_container(self, component: str, container: str) -> None:
        """SIGKILL for a container's first process, and wait until another one runs in the same pod."""
        pod = self.pod(component)
        before = self._container(pod, container)["restartCount"]
        self.cluster.kill_container(pod, container, self.namespace)

        def restarted() -> bool:
            now = self._container(pod, container)
            assert now["restartCount"] > before
            return bool(now["ready"])

        wait_for(restarted, f"container {container} of {pod} running again")
        if component == "postfix":
            self.door()

    def signal(self, component: str, container: str, name: str, process: str = "") -> None:
        """Send a signal to the first process of a container, or to its one process of a name, from outside its PID
        namespace."""
        found = self._container(self.pod(component), container)["containerID"].partition("//")[2]
        task = ("ctr", "-n", "k8s.io", "task")
        if not process:
            self.on_node(*task, "kill", "-s", name, found)
            return
        numbers = [line.split()[0] for line in self.on_node(*task, "ps", found).splitlines()[1:]]
        script = 'for one; do if [ "$(cat "/proc/$one/comm")" = "$0" ]; then echo "$one"; fi; done'
        (number,) = self.on_node("sh", "-c", script, process, *numbers).split()
        self.on_node("kill", "-s", name.removeprefix("SIG"), number)

    def cut_off(self, component: str) -> None:
        """Take the network from the component's one pod, as if its node were lost: nobody hears of its end."""
        pod = self.pod(component)
        container = self._container(pod, component)["containerID"].partition("//")[2]
        tasks = self.on_node("ctr", "-n", "k8s.io", "task", "ls")
        (pid,) = [line.split()[1] for line in tasks.splitlines() if line.startswith(container)]
        self.on_node("nsenter", "--target", pid, "--net", "ip", "link", "set", "eth0", "down")

    def volume(self, claim: str) -> str:
        """The directory of a claim's volume on the node."""
        volume = self.cluster.get("pvc", claim, self.namespace)["spec"]["volumeName"]
        spec = self.cluster.get("pv", volume, self.namespace)["spec"]
        path: str = (spec.get("hostPath") or spec["local"])["path"]
        return path

    def on_node(self, *command: str) -> str:
        return run("docker", "exec", f"{self.cluster.name}-control-plane", *command)

    def _container(self, pod: str, container: str) -> Object:
        statuses = self.cluster.get("pod", pod, self.namespace)["status"]["containerStatuses"]
        found: Object = next(one for one in statuses if one["name"] == container)
        return found
