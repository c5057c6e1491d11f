"""A name server for tests, which knows what it is told.

As a program: nameserver.py PORT RECORDS, where RECORDS is JSON, {"name": {"TXT": ["text"], "A": ["192.0.2.1"]}}.
"""

import asyncio
import json
import sys
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rrset


class NameServer(asyncio.DatagramProtocol):
    """Records by name and type; a name without any does not exist, one of `silent` is never answered."""

    def __init__(self, records: dict[tuple[str, str], list[str]], broken: set[str], silent: set[str]) -> None:
        self.records, self.broken, self.silent = records, broken, silent
        self.asked: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        (question,) = query.question
        name, kind = question.name.to_text().rstrip("."), question.rdtype.name
        self.asked.append(f"{name} {kind}")
        if name in self.silent:
            return
        answer = dns.message.make_response(query, recursion_available=True)
        if name in self.broken:
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif values := self.records.get((name, kind)):
            answer.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *values))
        elif name not in {known for known, _ in self.records}:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        self._transport.sendto(answer.to_wire(), addr)


async def main() -> None:
    records = {
        (name, kind): values for name, kinds in json.loads(sys.argv[2]).items() for kind, values in kinds.items()
    }
    await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: NameServer(records, set(), set()), local_addr=("0.0.0.0", int(sys.argv[1]))
    )
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
