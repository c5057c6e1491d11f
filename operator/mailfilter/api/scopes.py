"""For whom a gateway judges in a way of its own: domains and recipients, with all that holds for them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeVar

from mailfilter.api.digest import Digest
from mailfilter.api.domains import Domain
from mailfilter.api.fields import Model
from mailfilter.api.overrides import Overrides, Recipient
from mailfilter.api.verdicts import BadHeader, Banned, Spam, Virus

LEVELS = {"tag_level": "tagLevel", "tag2_level": "tag2Level", "kill_level": "killLevel", "cutoff_level": "cutoffLevel"}

M = TypeVar("M", bound=Model)


@dataclass(frozen=True)
class Verdicts:
    """All that a domain or a recipient may have of its own, complete."""

    spam: Spam
    virus: Virus
    banned: Banned
    bad_header: BadHeader
    digest: Digest

    def overridden(self, given: Overrides | None) -> "Verdicts":
        """The same with what is given replaced."""
        if given is None:
            return self
        return replace(
            self,
            spam=_merged(self.spam, given.spam),
            virus=_merged(self.virus, given.virus),
            banned=_merged(self.banned, given.banned),
            bad_header=_merged(self.bad_header, given.bad_header),
            digest=_merged(self.digest, given.digest),
        )

    @property
    def destinies(self) -> dict[str, str]:
        """Destinies by the field that says them."""
        return {
            "virus.destiny": self.virus.destiny,
            "spam.destiny": self.spam.destiny,
            "spam.aboveCutoff": self.spam.above_cutoff,
            "banned.destiny": self.banned.destiny,
            "badHeader.destiny": self.bad_header.destiny,
        }

    @property
    def bounces(self) -> list[str]:
        """The fields that say Bounce."""
        return [field for field, destiny in self.destinies.items() if destiny == "Bounce"]

    def problems(self) -> Iterator[str]:
        """What does not fit together, as sentences."""
        for lower, upper in pairwise(LEVELS):
            low, high = getattr(self.spam, lower), getattr(self.spam, upper)
            if low > high:
                yield f"{LEVELS[lower]} {low:g} must not be above {LEVELS[upper]} {high:g}"


@dataclass(frozen=True)
class Scope:
    """A domain or a recipient, and what holds for it."""

    of: Domain | Recipient
    verdicts: Verdicts

    def __str__(self) -> str:
        return f"domain {self.of.name}" if isinstance(self.of, Domain) else f"recipient {self.of.address}"


def scopes(base: Verdicts, domains: list[Domain], recipients: list[Recipient]) -> list[Scope]:
    """All domains, then all recipients, from the least specific to the most.

    Raises ValueError naming a recipient that is in no declared domain or stands there twice.
    """
    found = [Scope(one, base.overridden(one.policy)) for one in sorted(domains, key=lambda one: one.name.count("."))]
    by_name = {scope.of.name: scope for scope in found if isinstance(scope.of, Domain)}
    known: dict[str, Verdicts] = {}
    for one in sorted(recipients, key=lambda one: ("+" in one.address, one.address)):
        address = one.address.lower()
        domain = _covering(address.rpartition("@")[2], by_name)
        if domain is None:
            raise ValueError(f"recipient {one.address} is in none of the domains: add its domain, or remove it")
        if address in known:
            raise ValueError(f"recipient {one.address} is there twice: upper and lower case are the same")
        local, _, host = address.rpartition("@")
        without_extension = known.get(f"{local.partition('+')[0]}@{host}")
        known[address] = (without_extension or domain.verdicts).overridden(one.policy)
        found.append(Scope(one, known[address]))
    return found


def less_specific(key: str) -> Iterator[str]:
    """The lookup keys that amavis asks for after this one, in its order."""
    local, at, host = key.rpartition("@")
    if at:
        user, plus, _ = local.partition("+")
        if plus and user:
            yield f"{user}@{host}"
        yield host
    name = host.removeprefix(".")
    if not key.startswith("."):
        yield f".{name}"
    while name := name.partition(".")[2]:
        yield f".{name}"


def _covering(name: str, domains: dict[str, Scope]) -> Scope | None:
    """The most specific declared domain that mail to `name` belongs to."""
    exact = domains.get(name)
    if exact:
        return exact
    while name := name.partition(".")[2]:
        scope = domains.get(name)
        if scope and isinstance(scope.of, Domain) and scope.of.subdomains:
            return scope
    return None


def _merged(base: M, given: Model | None) -> M:
    if given is None:
        return base
    values = {name: value for name in type(given).model_fields if (value := getattr(given, name)) is not None}
    return base.model_copy(update=values)
