"""What the agent is to tell recipients of held mail: a part of policy.json."""

from mailfilter.api.digest import Digest
from mailfilter.api.fields import Model
from mailfilter.api.scopes import less_specific


class Settings(Model):
    """Who gets a digest, and how: by amavis' lookup keys."""

    default: Digest
    by: dict[str, Digest]

    def of(self, address: str) -> Digest:
        """What holds for an address in lower case."""
        return next((self.by[key] for key in (address, *less_specific(address)) if key in self.by), self.default)

    @property
    def enabled(self) -> list[Digest]:
        """All that send any."""
        return [one for one in (self.default, *self.by.values()) if one.enabled]


class DigestPolicy(Model):
    """`digest` of policy.json."""

    hostname: str
    """Domain of the digests' Message-ID."""
    suspended: bool
    """Digests wait: mail is not filtered."""
    template: str
    """The text."""
    settings: Settings
