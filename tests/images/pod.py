"""A Postfix pod by itself: the containers `postfix` and `tables`."""

import hashlib
import json
import smtplib
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from images.configuration import TABLES, main_cf
from images.docker import ConfigMap, Container, Lab, eventually
from images.gateway import LOADED, started_postfix, started_tables


class Client(smtplib.SMTP):
    """A client whose address is what it says in a PROXY header, if it says so."""

    def __init__(self, host: str, port: int, proxied: str | None = None) -> None:
        self._header = f"PROXY TCP{6 if ':' in proxied else 4} {proxied} {proxied} 5555 25\r\n" if proxied else ""
        super().__init__(host, port, "client.example", timeout=30)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        connection: socket.socket = super()._get_socket(host, port, timeout)  # type: ignore[misc]
        connection.sendall(self._header.encode())
        return connection


@dataclass
class Pod:
    """The containers `postfix` and `tables` without a filter behind them."""

    config: ConfigMap
    tables: Container
    postfix: Container
    queue_volume: Path
    stranger: str | None = None
    """The client's address for the PROXY header that port 2525 wants, if it does."""

    def send(self, message: EmailMessage, port: int = 2525, **options: Any) -> None:
        with smtplib.SMTP(self.postfix.address, port, timeout=30) as client:
            client.send_message(message, **options)

    def queue(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.postfix.run("postqueue", "-j").stdout.decode().splitlines()]

    def rejects(self, recipient: str, port: int = 2525, client: str | None = None) -> str:
        """The reply to RCPT TO, empty when it was accepted; `client` is another address for the PROXY header."""
        with Client(self.postfix.address, port, (client or self.stranger) if port == 2525 else None) as smtp:
            smtp.ehlo()
            smtp.mail("alice@client.example")
            code, text = smtp.rcpt(recipient)
        return "" if code == 250 else f"{code} {text.decode()}"

    def in_force(self) -> str:
        return (self.postfix.read(LOADED) or b"").decode().strip()

    def set_tables(self, tables: dict[str, str], parameters: str | None = None) -> None:
        """As the operator does, and waits until they are in force."""
        self.config.write({"main.cf": parameters or main_cf(), **tables})
        eventually(lambda: self.in_force() == tables_hash(tables) and not self.error(), "the tables are in force")

    def error(self) -> str:
        """Why the last tables were refused."""
        return (self.tables.read("/var/lib/mailfilter/tables/error") or b"").decode()


def tables_hash(tables: dict[str, str]) -> str:
    found = hashlib.sha256()
    for name, source in sorted(tables.items()):
        found.update(name.encode() + b"\0" + source.encode() + b"\0")
    return found.hexdigest()


@contextmanager
def started_pod(
    lab: Lab,
    tables: dict[str, str] = TABLES,
    *,
    dns: str | None = None,
    secret: ConfigMap | None = None,
    **parameters: str,
) -> Iterator[Pod]:
    config = lab.config_map({"main.cf": main_cf(**parameters), **tables})
    compiled, queue = lab.volume(), lab.volume()
    shared = {"/var/lib/mailfilter/tls": lab.volume()} if secret else {}
    mounted = {"/etc/mailfilter/tls": secret.directory} if secret else {}
    with ExitStack() as stack:
        compiler = stack.enter_context(started_tables(lab, config, compiled, shared | mounted))
        postfix = stack.enter_context(started_postfix(lab, config, compiled, queue, shared, dns=dns))
        stranger = "192.0.2.1" if parameters.get("mailfilter_upstream_proxy") else None
        yield Pod(config, compiler, postfix, queue, stranger)
