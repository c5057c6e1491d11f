"""The HTTP API of the agent beside amavis (docs/quarantine.md), through a forwarded port."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlencode, urlsplit

from mailfilter.plugin import gateway
from mailfilter.plugin.errors import NotHeldError, PluginError
from mailfilter.plugin.forward import Forward, forward
from mailfilter.plugin.kubectl import Kubectl

Document = dict[str, Any]

PORT = 8081
SECONDS = 60
LONGEST_PAGE = 1000
CHUNK = 1 << 16


@dataclass(frozen=True)
class Address:
    """An agent that is reached without kubectl."""

    host: str
    port: int

    @property
    def pod(self) -> str:
        """What it is called."""
        return self.host

    def broken(self, error: Exception) -> PluginError:
        """What to say when a connection to it broke."""
        return PluginError(f"the connection to {self.host}:{self.port} broke: {error or type(error).__name__}")


@dataclass(frozen=True)
class Export:
    """An archive on its way."""

    messages: int
    """Mails that were held when it began, and that meet the conditions."""
    size: int
    """Bytes of their files."""
    pieces: Iterator[bytes]
    """The archive. Raises PluginError when it breaks off."""


class Source(Protocol):
    """An archive to be sent."""

    def read(self, size: int = ..., /) -> bytes:
        """The next bytes; none at the end."""


class Agent:
    """The agent of one gateway."""

    def __init__(self, to: Forward | Address, token: str, secret: str) -> None:
        self._to = to
        self._connection = HTTPConnection(to.host, to.port, timeout=SECONDS)
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
        except (OSError, HTTPException) as error:
            raise self._to.broken(error) from error
        yield from self._pieces(answer)

    def mark_seen(self, quarantine_id: str) -> None:
        """Notes that somebody has looked at the mail."""
        self._call("PUT", f"{_path(quarantine_id)}/seen")

    def delete(self, quarantine_id: str) -> None:
        """Deletes the mail for good."""
        self._call("DELETE", _path(quarantine_id))

    def export(self, conditions: Mapping[str, Any]) -> "Export":
        """An archive of the mails that meet all conditions."""
        try:
            answer = self._answer("GET", f"/v1/export?{urlencode(conditions)}")
        except (OSError, HTTPException) as error:
            raise self._to.broken(error) from error
        messages, size = (int(answer.headers.get(f"X-Held-{name}", 0)) for name in ("Messages", "Bytes"))
        return Export(messages, size, self._pieces(answer))

    def restore(self, archive: Source) -> Document:
        """The report of an import, also of one that ended early: its `error` says why."""
        try:
            with suppress(BrokenPipeError, ConnectionResetError):
                # Who refuses it may not want to read all of it.
                self._connection.request("POST", "/v1/import", body=archive, headers=self._headers)
            answer = self._connection.getresponse()
            body = answer.read()
        except (OSError, HTTPException) as error:
            raise self._to.broken(error) from error
        with suppress(ValueError):
            report: Document = json.loads(body)
            if "imported" in report:
                return report
        raise self._refusal(answer.status, body)

    def _pieces(self, answer: HTTPResponse) -> Iterator[bytes]:
        try:
            while piece := answer.read(CHUNK):
                yield piece
        except (OSError, HTTPException) as error:
            raise self._to.broken(error) from error

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


def at(url: str, token_file: Path) -> Agent:
    """The agent at an address such as http://mx-amavis-pods:8081, for what runs in its cluster. Raises PluginError."""
    parts = urlsplit(url)
    try:
        port = parts.port or PORT
    except ValueError:
        port = 0
    if parts.scheme != "http" or not parts.hostname or not port or parts.path.strip("/"):
        raise PluginError(f"{url} is no address of an agent, such as http://mx-amavis-pods:8081")
    try:
        token = token_file.read_text().strip()
    except (OSError, ValueError) as error:
        raise PluginError(f"no token can be read from {token_file}: {error}") from error
    return Agent(Address(parts.hostname, port), token, f"in {token_file}")


def _path(quarantine_id: str) -> str:
    return f"/v1/held/{quote(quarantine_id)}"
