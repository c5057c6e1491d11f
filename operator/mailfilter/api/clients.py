"""Mail servers that are known at the SMTP door."""

from typing import Annotated

from pydantic import Field

from mailfilter.api.fields import ClientPattern, Model


class Clients(Model):
    """Mail servers that are always let in or always refused at the door, by address or by name.

    Their mail is filtered as any other: infected mail, banned files and spam stay what they are.
    """

    allow: Annotated[list[ClientPattern], Field(max_length=500)] = []
    """Clients without limits, DNS lists and checks of HELO and sender: addresses (192.0.2.1, 2001:db8::1), networks
    (192.0.2.0/24) and host names (mail.example.com; .example.com is that name and all below). A name counts only when
    the address's PTR record gives it and it resolves to that address."""
    deny: Annotated[list[ClientPattern], Field(max_length=500)] = []
    """Clients that are refused with 554, in the same form; this goes before `allow`."""
