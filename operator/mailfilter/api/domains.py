"""The domains whose mail is filtered, and where it goes."""

from typing import Annotated

from pydantic import Field

from mailfilter.api.fields import AliasTarget, DomainName, HostName, LocalPart, Model, Port
from mailfilter.api.overrides import Overrides


class Relay(Model):
    """The next hop: where mail for a domain goes after filtering."""

    host: HostName
    """Host name or IPv4 address; names of Kubernetes Services work. MX records are not followed."""
    port: Port = 25
    """TCP port of the next hop."""


class Domain(Model):
    """A domain whose mail is filtered."""

    name: DomainName
    """The domain after the @, such as example.com."""
    subdomains: bool = True
    """Whether mail to subdomains (sub.example.com) is accepted and filtered, too."""
    relay: Relay
    """The next hop for this domain's mail."""
    aliases: Annotated[
        dict[LocalPart, Annotated[list[AliasTarget], Field(min_length=1, max_length=50)]],
        Field(max_length=50),
    ] = {}
    """Local part → addresses that get its mail instead (Postfix' virtual_alias_maps); list the address itself to keep a
    copy. root, postmaster, abuse and webmaster go to `admin` where that is set and nothing else is said here."""
    policy: Overrides | None = None
    """What differs for this domain; with `subdomains` also for its subdomains, but those with an entry of their own."""
