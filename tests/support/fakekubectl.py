"""A kubectl for tests: it answers from the folder $FAKE_KUBECTL, and its port-forward leads to a port of this machine.

`state.json`: `objects` (resource → objects), `forbidden` ([verb, resource]), `statuses` (of a created release, one
after the other), `port` and `smtp` (where port-forward leads), `logs` (by container), `dies` (what port-forward says on
its way out). `calls`: a line of JSON for each call.
"""

import base64
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

RELEASES = "quarantinereleases.mailfilter.dev"
folder = Path(os.environ.get("FAKE_KUBECTL", "."))


def fail(reason: str, text: str) -> NoReturn:
    sys.exit(f"Error from server ({reason}): {text}")


def mailfilter(name: str = "mx", **status: Any) -> dict[str, Any]:
    return {"kind": "MailFilter", "metadata": {"name": name, "namespace": "mail"}, "spec": {}, "status": status}


def pod(name: str, component: str, *, instance: str = "mx", ready: bool = True) -> dict[str, Any]:
    labels = {"name": "mailfilter", "instance": instance, "component": component}
    return {
        "metadata": {"name": name, "labels": {f"app.kubernetes.io/{key}": value for key, value in labels.items()}},
        "status": {"conditions": [{"type": "Ready", "status": str(ready)}]},
    }


def secret(token: str, name: str = "mx") -> dict[str, Any]:
    return {"metadata": {"name": f"{name}-agent"}, "data": {"token": base64.b64encode(token.encode()).decode()}}


def main(*words: str) -> None:
    state: dict[str, Any] = json.loads((folder / "state.json").read_text())
    with (folder / "calls").open("a") as calls:
        calls.write(json.dumps(words) + "\n")
    options = dict(word.removeprefix("--").partition("=")[::2] for word in words if word.startswith("--"))
    verb, *what = [word for word in words if not word.startswith("-")]
    namespace = options.get("namespace", "mail")

    def allowed(verb: str, resource: str) -> None:
        if [verb, resource] in state["forbidden"]:
            user = f'User "anna" cannot {verb} resource "{resource}" in API group "" in the namespace "{namespace}"'
            fail("Forbidden", f"{resource} is forbidden: {user}")

    if verb == "create":
        allowed("create", RELEASES)
        body = json.load(sys.stdin)
        if problem := state.get("invalid"):
            fail("Invalid", f'error when creating "STDIN": {problem}')
        body["metadata"] = {"name": "release-x7k2p", "namespace": namespace, "generation": 1}
        state["objects"].setdefault(RELEASES, []).append(body)
        (folder / "state.json").write_text(json.dumps(state))
        print(json.dumps(body))
    elif verb == "port-forward":
        allowed("create", "pods/portforward")
        if dies := state.get("dies"):
            sys.exit(dies)
        (folder / "forwarding").write_text(str(os.getpid()))
        remote = what[1].partition(":")[2]
        print(f"Forwarding from 127.0.0.1:{state['smtp' if remote == '2525' else 'port']} -> {remote}", flush=True)
        signal.pause()
    elif verb == "logs":
        allowed("get", "pods/log")
        print(state["logs"][options["container"]], end="")
    elif verb == "get":
        get(state, allowed, options, *what)
    else:
        sys.exit(f'error: unknown command "{verb}"')


def get(state: dict[str, Any], allowed: Any, options: dict[str, str], resource: str, name: str = "") -> None:
    allowed("get" if name else "list", resource)
    found = state["objects"].get(resource, [])
    if name:
        found = [one for one in found if one["metadata"]["name"] == name]
        if not found:
            fail("NotFound", f'{resource} "{name}" not found')
        if resource == RELEASES and state["statuses"]:
            found[0]["status"] = state["statuses"].pop(0)
            (folder / "state.json").write_text(json.dumps(state))
        print(json.dumps(found[0]))
        return
    labels = dict(each.partition("=")[::2] for each in options.get("selector", "").split(",") if each)
    found = [one for one in found if labels.items() <= one["metadata"].get("labels", {}).items()]
    if options.get("output") == "name":
        print("".join(f"{resource}/{one['metadata']['name']}\n" for one in found), end="")
    else:
        print(json.dumps({"apiVersion": "v1", "kind": "List", "items": found}))


if __name__ == "__main__":
    main(*sys.argv[1:])
