"""The HTTP API of the agent beside amavis (docs/quarantine.md), through a forwarded port."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any
from urllib.parse import quote, urlencode

from mailfilter.plugin import gateway
from mailfilter.plugin.errors import NotHeldError, PluginError
from mailfilter.plugin.forward import Forward, forward
from mailfilter.plugin.kubectl import Kubectl

Document = dict[str, Any]

PORT = 8081
SECONDS = 60
LONGEST_PAGE = 1000
CHUNK = 1 << 16


class Agent:
    """The agent of one gateway."""

    def __init__(self, to: Forward, token: str, secret: str) -> None:
        self._to = to
        self._connection = HTTPConnection("127.0.0.1", to.port, timeout=SECONDS)
        self._headers = {"Authorization": f"Bearer {token}"}
        self._secret = secret

    def quarantine(self) -> Document:
        """How much is held, by kind and age. Raises PluginError, as all that follow."""
        return self._json("GET", "/v1/quarantine")

    def search(self, conditions: Mapping[str, Any], limit: int) -> Document:
        """As one page: the newest `limit` mails that meet all conditions, and how many do."""
        items: list[Document] = []
        after: Document = {}
        while True:
            paging = {"limit": min(limit - len(items), LONGEST_PAGE)} | after
            page = self._json("GET", "/v1/held", {**conditions, **paging})
            items += page["items"]
            if len(items) >= limit or not page["next"]:
                return page | {"items": items}
            after = {"after": page["next"]}

    def mail(self, quarantine_id: str) -> Document:
        """One mail's details."""
        return self._json("GET", _path(quarantine_id))

    def preview(self, quarantine_id: str) -> Document:
        """One mail's text and parts."""
        return self._json("GET", f"{_path(quarantine_id)}/preview")

    def raw(self, quarantine_id: str) -> Iterator[bytes]:
        """The mail as it is stored, in pieces."""
        try:
            answer = self._answer("GET", f"{_path(quarantine_id)}/raw")
            while piece := answer.read(CHUNK):
                yield piece
        except (OSError, HTTPException) as error:
            raise self._to.broken(error) from error

    def mark_seen(self, quarantine_id: str) -> None:
        """Notes that somebody has looked at the mail."""
        self._call("PUT", f"{_path(quarantine_id)}/seen")

    def delete(self, quarantine_id: str) -> None:
        """Deletes the mail for good."""
        self._call("DELETE", _path(quarantine_id))

    def _json(self, method: str, path: str, query: Mapping[str, Any] | None = None) -> Document:
        found: Document = json.loads(self._call(method, f"{path}?{urlencode(query)}" if query else path))
        return found

    def _call(self, method: str, path: str) -> bytes:
        try:
            return self._answer(method, path).read()
        except (OSError, HTTPException) as error:
            raise self._to.broken(error) from error

    def _answer(self, method: str, path: str) -> HTTPResponse:
        self._connection.request(method, path, headers=self._headers)
        answer = self._connection.getresponse()
        if answer.status < 300:
            return answer
        raise self._refusal(answer.status, answer.read())

    def _refusal(self, status: int, body: bytes) -> PluginError:
        try:
            said = json.loads(body)["error"]
        except (ValueError, KeyError, TypeError):
            said = body.decode(errors="replace")[:300]
        if status == 404:
            return NotHeldError(said)
        if status == 401:
            return PluginError(
                f"the agent in pod {self._to.pod} refuses the token of Secret {self._secret}: it takes up a new one "
                "within about a minute; else the Secret is another gateway's"
            )
        return PluginError(f"the agent in pod {self._to.pod} answered {status}: {said}")


@contextmanager
def connected(kubectl: Kubectl, mailfilter: str | None) -> Iterator[Agent]:
    """The agent of a MailFilter; None is the only one of the namespace. Raises PluginError."""
    name = gateway.chosen(kubectl, mailfilter)
    token = gateway.token(kubectl, name)
    with forward(kubectl, gateway.pod(kubectl, name, "amavis"), PORT) as to:
        yield Agent(to, token, f"{name}-agent")


def _path(quarantine_id: str) -> str:
    return f"/v1/held/{quote(quarantine_id)}"
