"""The QuarantineRelease resource: gives held mail to its recipients."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from mailfilter.api.fields import VALIDATIONS, EmailAddress, Model, ObjectName, QuarantineId, rule
from mailfilter.api.selection import Selector
from mailfilter.api.status import MessageResult, ReleaseCounts

_EITHER = "give either messages or selector, and only one"


class Release(Model):
    """Which held mail goes to whom."""

    messages: (
        Annotated[
            list[QuarantineId],
            Field(min_length=1, max_length=100, json_schema_extra={"x-kubernetes-list-type": "set"}),
        ]
        | None
    ) = None
    """Quarantine ids as notices, logs and status name them, such as spam/h/hAbcDEfgh123.gz."""
    selector: Selector | None = None
    """Which mail, by what it is. The set is fixed when the release is first carried out."""
    recipients: Annotated[
        list[EmailAddress], Field(max_length=50, json_schema_extra={"x-kubernetes-list-type": "set"})
    ] = []
    """Who gets it, instead of the blocked envelope recipients. They must be in a domain of the MailFilter."""
    allow_virus: bool = False
    """Whether infected mail may be released."""
    delete_after: bool = False
    """Whether a mail is deleted from the quarantine as soon as all its blocked envelope recipients were given it, and a
    report where one is wanted."""
    report_to: Annotated[
        list[EmailAddress], Field(max_length=10, json_schema_extra={"x-kubernetes-list-type": "set"})
    ] = []
    """Who is sent a report of each released mail, that it was held by mistake, with the mail attached: RFC 5965,
    Feedback-Type not-spam (RFC 6430). They must be in a domain of the MailFilter. A mail whose report is refused for
    good counts as failed (NotReported), though its recipients have it."""
    allow_sender: bool = False
    """Whether the envelope senders of the mail are allowed from now on (spec.releasedSenders of the MailFilter): a
    hundred at most, of mail that was released and is not infected, when the release has ended."""

    @model_validator(mode="after")
    def _either(self) -> Self:
        if (self.messages is None) == (self.selector is None):
            raise ValueError(_EITHER)
        return self


class QuarantineReleaseSpec(Release):
    """Which held mail goes to whom. It cannot be changed: create another release instead."""

    model_config = {
        "json_schema_extra": {
            VALIDATIONS: [
                rule("self == oldSelf", "a release cannot be changed: create another QuarantineRelease"),
                rule("has(self.messages) != has(self.selector)", _EITHER),
            ]
        }
    }

    mail_filter: ObjectName
    """The MailFilter, in this namespace, that holds the mail."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=0)] | None = None
    """Seconds after which the finished QuarantineRelease is deleted; kept when left out."""


class ReleaseProgress(Model):
    """How far an agent is with a release."""

    counts: ReleaseCounts
    """How many mails, by what became of them."""
    failures: tuple[MessageResult, ...]
    """The first twenty that failed or are to be tried again."""
    messages: tuple[MessageResult, ...]
    """All, of a release by ids; none of one by selector."""
    more: bool = False
    """More mail than the selector's limit was found."""
    senders: tuple[str, ...] = ()
    """With `allowSender`: envelope senders of the released mails that are not infected."""
    more_senders: bool = False
    """There are more of them than are told."""
    receipts: tuple[str, ...] = ()
    """Of attempts that were interrupted: the agents beside Postfix know whether it has the mails."""
    next_seconds: Annotated[float, Field(ge=0)] | None
    """When to ask again, for there is more to do; null when all is done."""
