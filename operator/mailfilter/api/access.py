"""Who reaches the page and the API of the quarantine."""

import re
from typing import Annotated, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from mailfilter.api.fields import VALIDATIONS, Model, Network, rule

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
_KEY = re.compile(rf"(?:[a-z0-9](?:[a-z0-9.-]{{0,251}}[a-z0-9])?/)?{_NAME}")


def _keys(labels: dict[str, str]) -> dict[str, str]:
    for key in labels:
        if not _KEY.fullmatch(key):
            raise ValueError(f"{key!r} is not the key of a label, such as app or app.kubernetes.io/name")
    return labels


_Value = Annotated[str, StringConstraints(pattern=f"^(?:{_NAME})?$", max_length=63)]
_PEER = "give namespaceSelector, podSelector or both, or else ipBlock alone"


class LabelSelector(Model):
    """Pods or namespaces that have all these labels; all there are when it is empty."""

    match_labels: Annotated[dict[str, _Value], Field(max_length=20), AfterValidator(_keys)] = {}
    """Labels and their values."""


class IpBlock(Model):
    """Addresses outside of the cluster's pods."""

    cidr: Network
    """A network such as 192.0.2.0/24."""


class Peer(Model):
    """Pods or addresses, as in `from` of a NetworkPolicy."""

    model_config = {
        "json_schema_extra": {
            VALIDATIONS: [rule("has(self.ipBlock) != (has(self.podSelector) || has(self.namespaceSelector))", _PEER)]
        }
    }

    namespace_selector: LabelSelector | None = None
    """Pods in these namespaces; without it those of the MailFilter's own."""
    pod_selector: LabelSelector | None = None
    """These pods; all of the namespaces without it."""
    ip_block: IpBlock | None = None
    """Addresses instead of pods."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.ip_block is None) == (self.pod_selector is None and self.namespace_selector is None):
            raise ValueError(_PEER)
        return self


class Access(Model):
    """Who, besides the operator, reaches the quarantine's page and API on port 8081 of the amavis pods, through the
    Service `<name>-quarantine`. Both ask for the token of the Secret `<name>-agent`: a proxy that adds it gives all
    that the API does to everybody whom it lets through."""

    peers: Annotated[list[Peer], Field(alias="from", min_length=1, max_length=20)]
    """Such as the pods of your ingress controller or of an OIDC proxy in front of the page."""
