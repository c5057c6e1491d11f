"""The MailFilter resource: one filter-only mail gateway."""

from typing import Annotated

from pydantic import Field

from mailfilter.api.content import Decoding
from mailfilter.api.domains import Domain
from mailfilter.api.fields import VALIDATIONS, EmailAddress, FullHostName, Model, rule
from mailfilter.api.lists import Lists
from mailfilter.api.pods import Amavis, Clamd, Freshclam, Postfix, Quarantine
from mailfilter.api.verdicts import BadHeader, Banned, Notifications, Spam, Virus


def _same_class(part: str) -> str:
    """CEL: the storage class of `part` is what it was."""
    name = f"{part}.storage.storageClassName"
    return f"has(self.{name}) == has(oldSelf.{name}) && (!has(self.{name}) || self.{name} == oldSelf.{name})"


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
