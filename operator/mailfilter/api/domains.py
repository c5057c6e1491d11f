"""The domains whose mail is filtered, and where it goes."""

from typing import Annotated, Literal

from pydantic import Field

from mailfilter.api.fields import (
    VALIDATIONS,
    AliasTarget,
    DomainName,
    HostName,
    KnownLocalPart,
    LocalPart,
    Model,
    Port,
    rule,
)
from mailfilter.api.overrides import Overrides


class Relay(Model):
    """The next hop: where mail for a domain goes after filtering."""

    host: HostName
    """Host name or IPv4 address; names of Kubernetes Services work. MX records are not followed."""
    port: Port = 25
    """TCP port of the next hop."""
    smtputf8: bool = False
    """Whether the next hop takes internationalised addresses (SMTPUTF8). The gateway takes them when the next hops of
    all domains do: else such a mail would be taken and then bounced to a sender that may be forged."""


class Recipients(Model):
    """Which recipients of a domain exist. Mail to the others is refused at the door, before it is taken: a bounce of it
    later would hit whoever was forged as its sender."""

    model_config = {
        "json_schema_extra": {
            VALIDATIONS: [
                rule(
                    "(self.verify == 'List') == (self.list.size() > 0)",
                    "verify: List needs a list of local parts, and nothing else takes one",
                )
            ]
        }
    }

    verify: Literal["AcceptAll", "CallOut", "List"] = "AcceptAll"
    """AcceptAll takes mail to everybody. CallOut asks the next hop (reject_unverified_recipient) and remembers the
    answer; while the next hop is silent, others get 450. List knows those in `list`, and no subdomain's. Aliases and
    postmaster are known in any case."""
    known: Annotated[list[KnownLocalPart], Field(alias="list", max_length=5000)] = []
    """With List: the local parts that exist, in lower case; bob@example.com as bob. bob+x has to be named, too."""


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
    recipients: Recipients = Recipients()
    """Which recipients exist."""
    policy: Overrides | None = None
    """What differs for this domain; with `subdomains` also for its subdomains, but those with an entry of their own."""
