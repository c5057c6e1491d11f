"""The way out: mail of one's own servers, filtered, signed and delivered."""

from ipaddress import IPv6Address, ip_network
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mailfilter.api.fields import (
    VALIDATIONS,
    ConfigMapKey,
    DomainName,
    HostName,
    Model,
    Network,
    ObjectName,
    Port,
    Selector,
    rule,
)


class Smarthost(Model):
    """The server that takes all outgoing mail and delivers it."""

    host: HostName
    """Host name or IPv4 address; names of Kubernetes Services work. MX records are not followed."""
    port: Port = 25
    """TCP port of the server."""
    tls: Literal["Opportunistic", "Required", "Verified"] = "Opportunistic"
    """Postfix' smtp_tls_security_level for it. Opportunistic (may) goes without TLS when the server has none; Required
    (encrypt) lets the mail wait then; Verified (secure) demands a certificate for `host` by a public authority, too."""


class DkimKey(Model):
    """A key that signs the mail of a domain."""

    domain: DomainName
    """The domain that signs, one of spec.domains. Authors in its subdomains are signed for by it, too, where the domain
    includes them and the subdomain has no entry of its own in spec.domains."""
    selector: Selector
    """The selector, such as s1: the public key is published at s1._domainkey.example.com."""
    secret_name: ObjectName
    """A Secret in the MailFilter's namespace with the private key. A changed one signs within two minutes, without a
    restart."""
    key: ConfigMapKey = "private.key"
    """The entry of the Secret: an RSA key of 1024 to 4096 bits or an Ed25519 key, as PEM, without a passphrase."""


class Outgoing(Model):
    """Outgoing mail: your servers send it to the Service `<name>-outgoing`, port 25, which is of type ClusterIP. It is
    filtered after the queue, signed, and delivered. No other port takes mail to the world."""

    model_config = {
        "json_schema_extra": {
            VALIDATIONS: [
                rule(
                    "self.dkim.all(one, one.domain.size() + one.selector.size() <= 240)",
                    "domain and selector together are too long for a name in DNS",
                )
            ]
        }
    }

    clients: Annotated[
        list[Network], Field(min_length=1, max_length=100, json_schema_extra={"x-kubernetes-list-type": "set"})
    ]
    """Who may send: addresses and networks of your mail servers. Each may send to everybody in the name of every domain
    of spec.domains, so list no network that strangers' connections come from, such as that of nodes or of a load
    balancer. Networks wider than /8, or /32 of IPv6, are refused."""
    relay: Smarthost | None = None
    """The server that takes all outgoing mail; without it mail goes to the recipients' MX. Mail to spec.domains goes to
    their next hops in any case."""
    dkim: Annotated[
        list[DkimKey],
        Field(
            max_length=100,
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["domain", "selector"],
            },
        ),
    ] = []
    """Keys that sign. Mail is signed when the domain of its From has keys, by each of them; status.dkim has the records
    to publish. While none of a domain's keys can be used, its mail waits."""

    @model_validator(mode="after")
    def _networks_of_clients(self) -> Self:
        for client in self.clients:
            address = ip_network(client, strict=False).network_address
            if isinstance(address, IPv6Address) and address.ipv4_mapped:
                raise ValueError(f"clients: write {client} as the IPv4 network that it stands for")
        return self


DKIM_DOMAINS = rule(
    "!has(self.outgoing) || self.outgoing.dkim.all(one, self.domains.exists(domain, domain.name == one.domain))",
    "outgoing.dkim: each domain must be one of spec.domains",
)
