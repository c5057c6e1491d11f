"""The DNS records that a gateway needs in the world, and what an answer says of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from mailfilter.api.mailfilter import MailFilterSpec

State = Literal["Present", "Missing", "Different", "Unknown"]
STATES: tuple[State, ...] = ("Missing", "Different", "Unknown", "Present")
"""In the order in which they want attention."""


@dataclass(frozen=True)
class Wanted:
    """A record that must exist."""

    name: str
    type: Literal["MX", "A", "TXT"]
    """A stands for an address of either kind, A or AAAA."""
    expected: str | None = None
    """What it must say; None when anything will do."""


@dataclass(frozen=True)
class Answer:
    """What DNS said of a name and type."""

    values: tuple[str, ...] = ()
    """As in a zone file, such as `10 mx.example.com`; none when there is no such record."""
    trouble: str | None = None
    """Why DNS could not be asked."""


@dataclass(frozen=True)
class Record:
    """A record that must exist, and whether it does."""

    wanted: Wanted
    state: State
    found: tuple[str, ...]
    trouble: str | None

    @property
    def advice(self) -> str:
        """What is wrong with it and what to do."""
        name, kind, expected = self.wanted.name, self.wanted.type, self.wanted.expected
        if self.state == "Unknown":
            return f"{name} {kind}: {self.trouble}"
        if kind == "TXT":
            wrong = "has no DKIM record" if self.state == "Missing" else "has another DKIM record than its key"
            return f"{name} {wrong}: publish the TXT record that status.dkim has for it"
        if kind == "A":
            return f"{name} has no address: add an A or AAAA record with the gateway's"
        right = f"{name}. IN MX 10 {expected}."
        if self.state == "Missing":
            return f"{name} has no MX record: add {right}"
        return f"the MX records of {name} name {', '.join(self.found)}, not the gateway: add {right}"


def wanted(spec: MailFilterSpec, keys: Mapping[str, str]) -> list[Wanted]:
    """The gateway's name must have an address, each domain an MX record with that name, each key a TXT record (`keys`).

    Subdomains that a domain includes are not known by name, and so are not among them.
    """
    host = spec.hostname.lower()
    return [Wanted(host, "A"), *(Wanted(domain.name, "MX", host) for domain in spec.domains), *_keys(keys)]


def _keys(keys: Mapping[str, str]) -> list[Wanted]:
    return [Wanted(name, "TXT", value) for name, value in sorted(keys.items())]


def judged(record: Wanted, answer: Answer) -> Record:
    """What an answer says of a wanted record. Further MX records are no fault: there may be several gateways."""
    state: State
    if answer.trouble:
        state = "Unknown"
    elif not answer.values:
        state = "Missing"
    elif record.expected is None or _says(record, answer.values):
        state = "Present"
    else:
        state = "Different"
    return Record(record, state, answer.values, answer.trouble)


def _says(record: Wanted, values: tuple[str, ...]) -> bool:
    if record.type == "TXT":
        return record.expected is not None and _public_key(record.expected) in map(_public_key, values)
    return record.expected in {value.split()[-1].lower() for value in values}


def _public_key(record: str) -> tuple[str, str]:
    """Type and public key of a DKIM record (RFC 6376, 3.6.1)."""
    tags = dict(tag.partition("=")[::2] for tag in "".join(record.split()).split(";"))
    return tags.get("k", "rsa"), tags.get("p", "")


def by_need(records: Iterable[Record]) -> list[Record]:
    """Those that want attention first."""
    return sorted(records, key=lambda one: STATES.index(one.state))
