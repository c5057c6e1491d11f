"""Which MailFilter is meant, and where its pods are."""

from base64 import b64decode

from mailfilter.plugin.errors import PluginError
from mailfilter.plugin.kubectl import MAILFILTERS, Kubectl, KubectlError, Object, names, selector


def chosen(kubectl: Kubectl, name: str | None) -> str:
    """The MailFilter's name: the one that is given, or the only one of the namespace. Raises PluginError."""
    if name:
        return name
    found = names(kubectl.items(MAILFILTERS))
    if len(found) == 1:
        return found[0]
    if not found:
        raise PluginError(f"there is no MailFilter in {_where(kubectl)}: choose another one with -n")
    raise PluginError(f"there are several MailFilters in {_where(kubectl)}, choose one with -m: {', '.join(found)}")


def mailfilter(kubectl: Kubectl, name: str) -> Object:
    """The MailFilter itself. Raises PluginError, which lists those that are there, when there is no such one."""
    try:
        return kubectl.get(MAILFILTERS, name)
    except KubectlError as error:
        raise (missing(kubectl, name) if error.reason == "NotFound" else error) from error


def token(kubectl: Kubectl, name: str) -> str:
    """What the agents of a MailFilter want to see. Raises PluginError."""
    try:
        secret = kubectl.get("secrets", f"{name}-agent")
    except KubectlError as error:
        raise (missing(kubectl, name) if error.reason == "NotFound" else error) from error
    return b64decode(secret.get("data", {}).get("token", "")).decode()


def pod(kubectl: Kubectl, name: str, component: str) -> str:
    """A ready pod of a component. Raises PluginError."""
    found = kubectl.items("pods", selector(name, component))
    ready = [one for one in found if _is_ready(one)]
    if ready:
        return names(ready)[0]
    if not found:
        mailfilter(kubectl, name)
    raise PluginError(f"no {component} pod of {name} in {_where(kubectl)} is ready: kubectl mailfilter status says why")


def missing(kubectl: Kubectl, name: str) -> PluginError:
    """There is no such MailFilter; what else there is."""
    try:
        found = names(kubectl.items(MAILFILTERS))
    except KubectlError:
        found = []
    if name in found:
        return PluginError(f"the MailFilter {name} in {_where(kubectl)} is not set up yet: kubectl mailfilter status")
    others = f"; there is {', '.join(found)}" if found else ""
    return PluginError(f"there is no MailFilter {name} in {_where(kubectl)}{others}")


def _is_ready(body: Object) -> bool:
    conditions = body.get("status", {}).get("conditions", [])
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return ready and not body["metadata"].get("deletionTimestamp")


def _where(kubectl: Kubectl) -> str:
    return f"namespace {kubectl.namespace}" if kubectl.namespace else "the namespace of the context"
