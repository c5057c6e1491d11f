"""Senders that a mail filter knows."""

from typing import Annotated

from pydantic import Field

from mailfilter.api.clients import Clients
from mailfilter.api.fields import Model, SenderPattern


class Lists(Model):
    """Senders that are always accepted or always blocked. Infected mail and banned files are blocked all the same."""

    allow: Annotated[list[SenderPattern], Field(max_length=1000)] = []
    """Senders whose mail is delivered whatever its spam score (@whitelist_sender_maps)."""
    deny: Annotated[list[SenderPattern], Field(max_length=1000)] = []
    """Senders whose mail counts as spam above every level (@blacklist_sender_maps)."""
    clients: Clients = Clients()
    """Mail servers that are let in or refused at the door, whatever the sender."""
