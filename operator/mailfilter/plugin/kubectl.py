"""The user's kubectl: the same kubeconfig, contexts and credentials as on the command line."""

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mailfilter.plugin.errors import PluginError

Object = dict[str, Any]

MAILFILTERS, RELEASES = "mailfilters.mailfilter.dev", "quarantinereleases.mailfilter.dev"
SECONDS = 60
_SERVER_SAYS = re.compile(r"^Error from server \((?P<reason>\w+)\): (?P<text>.*)", re.DOTALL | re.MULTILINE)
_FORBIDDEN = re.compile(r" is forbidden: User .* cannot ")
_NO_SUCH_KIND = re.compile(r"doesn't have a resource type|no matches for kind")
RIGHTS = "The example Roles in docs/plugin.md have what each command needs."


class KubectlError(PluginError):
    """kubectl failed. `reason` is the API server's, such as NotFound or Forbidden; empty when it was not the server."""

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Kubectl:
    """How kubectl is called."""

    namespace: str | None = None
    context: str | None = None
    kubeconfig: str | None = None

    def command(self, *arguments: str) -> list[str]:
        """The whole command line. Raises PluginError where there is no kubectl."""
        program = shutil.which("kubectl")
        if program is None:
            raise PluginError("kubectl is not on PATH, and all that is asked of the cluster goes through it")
        chosen = {"--namespace": self.namespace, "--context": self.context, "--kubeconfig": self.kubeconfig}
        return [program, *(f"{name}={value}" for name, value in chosen.items() if value), *arguments]

    def run(self, *arguments: str, stdin: str | None = None) -> str:
        """What kubectl prints. Raises KubectlError."""
        try:
            done = subprocess.run(  # noqa: S603 - a list of words, no shell
                self.command(*arguments), input=stdin, capture_output=True, text=True, timeout=SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise KubectlError(f"kubectl {arguments[0]} did not end within {SECONDS} s") from error
        if done.returncode:
            raise explained(done.stderr or done.stdout, arguments[0])
        return done.stdout

    def get(self, *arguments: str) -> Object:
        """An object, or a List. Raises KubectlError."""
        found: Object = json.loads(self.run("get", *arguments, "--output=json"))
        return found

    def items(self, *arguments: str) -> list[Object]:
        """The objects of a List. Raises KubectlError."""
        found: list[Object] = self.get(*arguments)["items"]
        return found

    def create(self, body: Object) -> Object:
        """The object as the API server made it. Raises KubectlError."""
        made: Object = json.loads(self.run("create", "--filename=-", "--output=json", stdin=json.dumps(body)))
        return made


def selector(name: str, component: str) -> str:
    """Finds the pods of one component of a MailFilter."""
    labels = {"name": "mailfilter", "instance": name, "component": component}
    return "--selector=" + ",".join(f"app.kubernetes.io/{label}={value}" for label, value in labels.items())


def explained(printed: str, verb: str) -> KubectlError:
    """What kubectl said on its way out."""
    if _NO_SUCH_KIND.search(printed):
        return KubectlError("the cluster knows no MailFilters: install the operator or its CRDs first")
    said = _SERVER_SAYS.search(printed)
    text = (said["text"] if said else printed).strip().removeprefix("error: ")
    text = text.removeprefix('error when creating "STDIN": ') or f"kubectl {verb} failed and does not say why"
    # port-forward does not say in whose words it is refused.
    reason = said["reason"] if said else "Forbidden" if _FORBIDDEN.search(text) else ""
    return KubectlError(f"{text}\n{RIGHTS}" if reason == "Forbidden" else text, reason)


def names(objects: Sequence[Object]) -> list[str]:
    """Names of objects."""
    return [one["metadata"]["name"] for one in objects]
