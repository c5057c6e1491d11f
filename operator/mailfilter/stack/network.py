"""NetworkPolicies: each port is open to those who use it."""

from ipaddress import ip_network
from typing import Any

from mailfilter.api.access import Access
from mailfilter.api.outgoing import Outgoing
from mailfilter.policy.clamav import MIRROR_PORT
from mailfilter.stack.common import (
    AGENT_PORT,
    AMAVIS_PORT,
    BEFORE_QUEUE_PORT,
    CLAMD_PORT,
    METRICS_PORT,
    OUTGOING_PORT,
    REINJECTION_PORT,
    SIGNED_PORT,
    SIGNER_PORT,
    SMTP_PORT,
    Gateway,
    Object,
    build,
    selector,
)

DNS: Object = {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}


def _ports(*numbers: int) -> list[Object]:
    return [{"port": number, "protocol": "TCP"} for number in numbers]


def _policy(gateway: Gateway, component: str, ingress: list[Object], egress: list[Object] | None = None) -> Object:
    spec: dict[str, Any] = {
        "podSelector": {"matchLabels": selector(gateway.names.name, component)},
        "policyTypes": ["Ingress"],
        "ingress": ingress,
    }
    if egress is not None:
        spec |= {"policyTypes": ["Ingress", "Egress"], "egress": egress}
    return build(gateway, "networking.k8s.io/v1", "NetworkPolicy", component, component, spec=spec)


def _senders(outgoing: Outgoing) -> list[Object]:
    """Who may connect to send. Some networks know pods by their labels alone: of these Postfix decides."""
    networks = [{"ipBlock": {"cidr": str(ip_network(client, strict=False))}} for client in outgoing.clients]
    return [{"namespaceSelector": {}}, *networks]


def _readers(access: Access) -> Object:
    """Who may come to the page of the quarantine, besides the operator."""
    peers = [peer.model_dump(by_alias=True, exclude_defaults=True) for peer in access.peers]
    for peer in peers:
        if "ipBlock" in peer:
            peer["ipBlock"]["cidr"] = str(ip_network(peer["ipBlock"]["cidr"], strict=False))
    return {"from": peers, "ports": _ports(AGENT_PORT)}


def objects(gateway: Gateway) -> list[Object]:
    """One NetworkPolicy a component. amavis and clamd, which open what strangers send, reach only what they need."""

    def pods(component: str) -> list[Object]:
        return [{"podSelector": {"matchLabels": selector(gateway.names.name, component)}}]

    operator = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": gateway.operator_namespace}},
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "mailfilter-operator"}},
    }
    agent = {"from": [operator], "ports": _ports(AGENT_PORT)}
    metrics = {"ports": _ports(METRICS_PORT)}
    filter_ports, return_ports = [AMAVIS_PORT, BEFORE_QUEUE_PORT], [REINJECTION_PORT]
    doors = [{"ports": _ports(SMTP_PORT)}]
    access = gateway.spec.quarantine.access
    if gateway.spec.outgoing:
        filter_ports.append(SIGNER_PORT)
        return_ports.append(SIGNED_PORT)
        doors.append({"from": _senders(gateway.spec.outgoing), "ports": _ports(OUTGOING_PORT)})
    return [
        _policy(
            gateway,
            "postfix",
            [
                *doors,
                {"from": pods("amavis"), "ports": _ports(*return_ports)},
                agent,
                metrics,
            ],
        ),
        _policy(
            gateway,
            "amavis",
            [
                {"from": pods("postfix"), "ports": _ports(*filter_ports)},
                agent,
                *([_readers(access)] if access else []),
                metrics,
            ],
            [
                DNS,
                {"to": pods("postfix"), "ports": _ports(*return_ports)},
                {"to": pods("clamd"), "ports": _ports(CLAMD_PORT)},
            ],
        ),
        _policy(
            gateway,
            "clamd",
            [{"from": pods("amavis"), "ports": _ports(CLAMD_PORT)}],
            [DNS, {"to": pods("freshclam"), "ports": _ports(MIRROR_PORT)}],
        ),
        _policy(gateway, "freshclam", [{"from": pods("clamd"), "ports": _ports(MIRROR_PORT)}, agent, metrics]),
    ]
