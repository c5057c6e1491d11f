"""Senders that a mail filter knows."""

from typing import Annotated, Literal

from pydantic import Field, WithJsonSchema

from mailfilter.api.clients import Clients
from mailfilter.api.fields import (
    VALIDATIONS,
    ConfigMapKey,
    Model,
    ObjectName,
    Score,
    SenderPattern,
    SenderRegexp,
    rule,
)

# Spelled out, since pydantic would make a constant of one name, which a CRD does not have.
Preset = Annotated[Literal["ClassicScores"], WithJsonSchema({"type": "string", "enum": ["ClassicScores"]})]
EITHER_SENDER = rule("has(self.sender) != has(self.senderRegexp)", "give either sender or senderRegexp, and only one")


class SenderScore(Model):
    """Points for a sender: above zero its mail looks more like spam, below zero less."""

    model_config = {"json_schema_extra": {VALIDATIONS: [EITHER_SENDER]}}

    sender: SenderPattern | None = None
    """Whom it is about, as in `allow` and `deny`."""
    sender_regexp: SenderRegexp | None = None
    """Whom it is about, as a simple regular expression on the whole address; upper and lower case are the same."""
    score: Score
    """What is added to SpamAssassin's score."""


class ConfigMapRef(Model):
    """A key of a ConfigMap in the MailFilter's namespace."""

    name: ObjectName
    """The ConfigMap's name."""
    key: ConfigMapKey
    """The key in its data."""


class ListSource(Model):
    """A list kept elsewhere: one pattern a line, as in `allow` and `deny`; what follows a # is a comment."""

    config_map: ConfigMapRef
    """Where it is kept. It is watched: a change takes effect like one of the MailFilter itself."""
    list: Literal["Allow", "Deny"]
    """Which list the patterns belong to."""


class Lists(Model):
    """What is known of senders: of the envelope's, and of the author in From. Infected mail and banned files are
    blocked all the same. Denied goes before allowed, and allowed before scores (docs/lists.md)."""

    allow: Annotated[list[SenderPattern], Field(max_length=1000)] = []
    """Senders whose mail is delivered whatever its spam score (@whitelist_sender_maps)."""
    deny: Annotated[list[SenderPattern], Field(max_length=1000)] = []
    """Senders whose mail counts as spam above every level (@blacklist_sender_maps)."""
    sources: Annotated[list[ListSource], Field(max_length=20, alias="from")] = []
    """Long lists from ConfigMaps, together up to 100000 entries and more. They are added to `allow` and `deny`."""
    clients: Clients = Clients()
    """Mail servers that are let in or refused at the door, whatever the sender."""
    quarantine_denied: bool = True
    """Whether the mail of denied senders is stored in the quarantine, whatever its score. If not, it is discarded."""
    scores: Annotated[list[SenderScore], Field(max_length=500)] = []
    """Points for senders; the first entry that matches decides (@score_sender_maps)."""
    presets: Annotated[list[Preset], Field(max_length=1)] = []
    """Scores after those in `scores`: ClassicScores is the table that amavis' sample configuration has long had."""
