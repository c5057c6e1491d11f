"""How the SMTP door treats those who connect."""

from typing import Annotated, Literal

from pydantic import Field

from mailfilter.api.fields import DomainName, Model, ObjectName

Limit = Annotated[int, Field(ge=0, le=1000000)]


class Limits(Model):
    """What one client may do; 0 is no limit. Beyond it the client gets a temporary refusal (421, 450) and tries again.
    Clients of `lists.clients.allow` have none. Each pod counts for itself."""

    connections_per_client: Limit = 50
    """Connections at a time (smtpd_client_connection_count_limit)."""
    connection_rate: Limit = 0
    """Connections a minute (smtpd_client_connection_rate_limit)."""
    message_rate: Limit = 0
    """Mails a minute (smtpd_client_message_rate_limit)."""
    recipient_rate: Limit = 0
    """Recipients a minute (smtpd_client_recipient_rate_limit)."""


class Tls(Model):
    """STARTTLS for those who bring mail. It is offered, never demanded: a public mail server has to take mail without
    it (RFC 3207). Nobody is asked for a certificate."""

    secret_name: ObjectName
    """A Secret of type kubernetes.io/tls in the MailFilter's namespace: tls.key, and tls.crt with the chain. A change
    of it is in use within two minutes, without a restart. While it is missing there is no TLS; while its key and
    certificate are no pair the last ones stay in use. The condition TLSActive tells."""
    minimum_version: Literal["TLSv1.2", "TLSv1.3"] = "TLSv1.2"
    """The oldest version of TLS (smtpd_tls_protocols). A client without it gets no TLS at all."""


class DnsblSite(Model):
    """A DNS block list."""

    name: DomainName
    """Its zone, such as zen.example.org. Only its answers 127.0.0.2 to 127.0.0.11 count."""
    weight: Annotated[int, Field(ge=-100, le=100)] = 1
    """What an answer adds to the client's score; below 0 for a list of good servers."""


class Dnsbl(Model):
    """DNS block lists, asked by postscreen about each client before it may say anything. A client waits up to 6 seconds
    for it when it comes for the first time."""

    sites: Annotated[
        list[DnsblSite],
        Field(
            min_length=1,
            max_length=20,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ]
    """The lists (postscreen_dnsbl_sites)."""
    threshold: Annotated[int, Field(ge=1, le=1000)] = 1
    """From this score a client is refused with 550 (postscreen_dnsbl_threshold)."""
