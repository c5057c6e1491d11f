"""amavis lookup keys (README.lookups), and settings that differ by them."""

from collections.abc import Callable
from typing import Any

from mailfilter.api.domains import Domain
from mailfilter.api.mailfilter import MailFilterSpec
from mailfilter.api.overrides import Recipient
from mailfilter.api.scopes import Verdicts, less_specific


def domain_keys(domain: Domain) -> list[str]:
    """Lookup keys of a domain: `example.com` is that domain alone, `.example.com` its subdomains.

    amavis' `.example.com` also matches the domain itself, Postfix' does not; both keys together mean the same in both.
    """
    name = domain.name.lower()
    return [name, f".{name}"] if domain.subdomains else [name]


class BySetting:
    """A spec's settings as `{"default": …, "by": {lookup key: …}}`; a key stands there if it changes something."""

    def __init__(self, spec: MailFilterSpec) -> None:
        self._base = spec.verdicts
        # In this order a key's less specific ones are decided before it.
        self._keys = [
            (key, tuple(less_specific(key)), scope.verdicts) for scope in spec.scopes() for key in scope_keys(scope.of)
        ]

    def of(self, value: Callable[[Verdicts], Any]) -> dict[str, Any]:
        """One setting."""
        default = value(self._base)
        by: dict[str, Any] = {}
        for key, others, verdicts in self._keys:
            own = value(verdicts)
            if own != next((by[other] for other in others if other in by), default):
                by[key] = own
        return {"default": default, "by": by}


def scope_keys(of: Domain | Recipient) -> list[str]:
    """Lookup keys of a domain or recipient, the least specific first."""
    return domain_keys(of)[::-1] if isinstance(of, Domain) else [of.address.lower()]
