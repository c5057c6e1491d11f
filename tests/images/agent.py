"""Questions to the agent beside amavis."""

import json
import urllib.error
import urllib.request
from typing import Any

from images.docker import Container

TOKEN = "s3cret"  # noqa: S105 - of the tests alone


def ask(agent: Container, method: str, path: str, body: Any = None) -> Any:
    """The agent's answer; None while it does not answer."""
    request = urllib.request.Request(
        f"http://{agent.address}:8081{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return json.loads(answer.read() or b"{}")
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{error.code} {error.read()!r}") from error
    except OSError:
        return None
