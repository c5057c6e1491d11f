"""The QuarantineRelease resource: gives held mail to its recipients."""

from typing import Annotated

from pydantic import Field

from mailfilter.api.fields import VALIDATIONS, EmailAddress, Model, ObjectName, QuarantineId, rule


class QuarantineReleaseSpec(Model):
    """Which held mail goes to whom. It cannot be changed: create another release instead."""

    model_config = {
        "json_schema_extra": {
            VALIDATIONS: [rule("self == oldSelf", "a release cannot be changed: create another QuarantineRelease")]
        }
    }

    mail_filter: ObjectName
    """The MailFilter, in this namespace, that holds the mail."""
    messages: Annotated[
        list[QuarantineId],
        Field(min_length=1, max_length=100, json_schema_extra={"x-kubernetes-list-type": "set"}),
    ]
    """Quarantine ids as notices, logs and status name them, such as spam/h/hAbcDEfgh123.gz."""
    recipients: Annotated[
        list[EmailAddress], Field(max_length=50, json_schema_extra={"x-kubernetes-list-type": "set"})
    ] = []
    """Who gets it, instead of the blocked envelope recipients. They must be in a domain of the MailFilter."""
    allow_virus: bool = False
    """Whether infected mail may be released."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=0)] | None = None
    """Seconds after which the finished QuarantineRelease is deleted; kept when left out."""
