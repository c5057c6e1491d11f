"""The MailFilter resource: one filter-only mail gateway."""

from itertools import pairwise
from typing import Annotated, Self

from pydantic import Field, model_validator

from mailfilter.api.content import Decoding
from mailfilter.api.dns import Dns
from mailfilter.api.domains import Domain
from mailfilter.api.fields import VALIDATIONS, EmailAddress, FullHostName, Model, rule
from mailfilter.api.filtering import BOUNCE_BEFORE_QUEUE, REJECT_AFTER_QUEUE, Filtering, nowhere, problems
from mailfilter.api.lists import Lists
from mailfilter.api.outgoing import DKIM_DOMAINS, Outgoing
from mailfilter.api.overrides import Recipient
from mailfilter.api.pods import Amavis, Clamd, Freshclam, Postfix, Quarantine
from mailfilter.api.released import ReleasedSender
from mailfilter.api.scopes import LEVELS, Scope, Verdicts, scopes
from mailfilter.api.verdicts import BadHeader, Banned, Notifications, Spam, Virus


def _same_class(part: str) -> str:
    """CEL: the storage class of `part` is what it was."""
    name = f"{part}.storage.storageClassName"
    return f"has(self.{name}) == has(oldSelf.{name}) && (!has(self.{name}) || self.{name} == oldSelf.{name})"


def _level(name: str) -> str:
    """CEL: a level of `domain`, its own or else the gateway's."""
    own = f"domain.policy.spam.{name}"
    return f"(has({own}) ? {own} : self.spam.{name})"


_IN_ORDER = " && ".join(f"{_level(low)} <= {_level(high)}" for low, high in pairwise(LEVELS.values()))
_DOMAIN_IN_ORDER = f"!has(domain.policy) || !has(domain.policy.spam) || ({_IN_ORDER})"


class MailFilterSpec(Model):
    """What is filtered, how, and where it goes."""

    model_config = {
        "json_schema_extra": {
            VALIDATIONS: [
                rule(
                    "self.amavis.replicas == 1 || self.quarantine.storage.accessMode == 'ReadWriteMany'",
                    "more than one amavis pod needs quarantine.storage.accessMode: ReadWriteMany",
                ),
                rule(
                    "self.freshclam.officialDatabases || self.freshclam.customURLs.size() > 0",
                    "without officialDatabases, freshclam.customURLs must name at least one signature file",
                ),
                rule(
                    "self.freshclam.customURLs.all(one, self.freshclam.customURLs.exists_one(other, "
                    "one.substring(one.lastIndexOf('/')) == other.substring(other.lastIndexOf('/'))))",
                    "freshclam.customURLs must end in different file names: all files are in one folder",
                ),
                rule(
                    "self.quarantine.storage.accessMode == oldSelf.quarantine.storage.accessMode && "
                    + _same_class("quarantine"),
                    "quarantine.storage: accessMode and storageClassName cannot be changed, the volume exists; "
                    "size can grow where the StorageClass allows it",
                ),
                rule(
                    " && ".join(
                        f"self.{part}.storage.size == oldSelf.{part}.storage.size && {_same_class(part)}"
                        for part in ("postfix", "freshclam")
                    ),
                    "postfix.storage and freshclam.storage cannot be changed: the volumes exist",
                ),
                rule(
                    f"self.domains.all(domain, {_DOMAIN_IN_ORDER})",
                    "the levels of a domain, inherited ones included, must be in the order tagLevel <= tag2Level <= "
                    "killLevel <= cutoffLevel",
                ),
                rule(
                    "self.filtering.mode == 'BeforeQueue' || "
                    f"(self.spam.aboveCutoff != 'Reject' && {nowhere('Reject')})",
                    REJECT_AFTER_QUEUE,
                ),
                rule(f"self.filtering.mode == 'AfterQueue' || ({nowhere('Bounce')})", BOUNCE_BEFORE_QUEUE),
                DKIM_DOMAINS,
            ]
        }
    }

    hostname: FullHostName
    """The gateway's name: HELO, banner and Received (Postfix' myhostname, amavis' $myhostname)."""
    domains: Annotated[
        list[Domain],
        Field(
            min_length=1,
            max_length=500,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ]
    """The domains whose mail is accepted; all other mail is refused."""
    recipients: Annotated[
        list[Recipient],
        Field(
            max_length=1000,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["address"]},
        ),
    ] = []
    """Recipients for whom something differs from their domain. The most specific wins: recipient, domain, gateway."""
    dns: Dns = Dns()
    """The records by which mail finds the gateway."""
    filtering: Filtering = Filtering()
    """When mail is filtered."""
    outgoing: Outgoing | None = None
    """Outgoing mail of your servers; when left out, the gateway relays for nobody."""
    admin: EmailAddress | None = None
    """Gets the mail to root, postmaster, abuse and webmaster of each domain."""
    spam: Spam = Spam()
    """Spam levels and rules."""
    virus: Virus = Virus()
    """Infected mail."""
    banned: Banned = Banned()
    """Banned attachments."""
    decoding: Decoding = Decoding()
    """How attachments and archives are unpacked."""
    bad_header: BadHeader = BadHeader()
    """Mail with a broken header."""
    lists: Lists = Lists()
    """Allowed and denied senders."""
    released_senders: Annotated[
        list[ReleasedSender],
        Field(
            max_length=500,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["sender"]},
        ),
    ] = []
    """Senders whom releases with `allowSender` have allowed: they are added to lists.allow. Releases write it, each as
    a field manager of its own, so an apply of your manifest leaves it alone. Delete an entry to revoke it."""
    notifications: Notifications = Notifications()
    """Notices to administrators."""
    quarantine: Quarantine = Quarantine()
    """Held mail."""
    message_size_limit: Annotated[int, Field(ge=65536, le=1073741824)] = 26214400
    """The largest mail in bytes; Postfix and clamd follow it (message_size_limit, StreamMaxLength)."""
    postfix: Postfix = Postfix()
    """The Postfix pods."""
    amavis: Amavis = Amavis()
    """The amavis pods."""
    clamd: Clamd = Clamd()
    """The clamd pods."""
    freshclam: Freshclam = Freshclam()
    """Virus signatures."""

    def scopes(self) -> list[Scope]:
        """Who has what verdicts: all domains, then all recipients."""
        return scopes(self.verdicts, self.domains, self.recipients)

    @property
    def verdicts(self) -> Verdicts:
        """What holds for all that no domain and no recipient has of its own."""
        return Verdicts(self.spam, self.virus, self.banned, self.bad_header, self.quarantine.digest)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for problem in problems(self.filtering.mode, self.verdicts.destinies):
            raise ValueError(problem)
        for scope in self.scopes():
            for problem in scope.verdicts.problems():
                raise ValueError(f"{scope}: {problem} (inherited values included)")
            for problem in problems(self.filtering.mode, scope.verdicts.destinies):
                raise ValueError(f"{scope}: {problem}")
        declared = {domain.name for domain in self.domains}
        for key in self.outgoing.dkim if self.outgoing else ():
            if key.domain not in declared:
                raise ValueError(f"outgoing.dkim: {key.domain} is not one of spec.domains")
        return self
