"""NetworkPolicies: each port is open to those who use it."""

from typing import Any

from mailfilter.policy.clamav import MIRROR_PORT
from mailfilter.stack.common import (
    AGENT_PORT,
    AMAVIS_PORT,
    BEFORE_QUEUE_PORT,
    CLAMD_PORT,
    METRICS_PORT,
    REINJECTION_PORT,
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
    return [
        _policy(
            gateway,
            "postfix",
            [
                {"ports": _ports(SMTP_PORT)},
                {"from": pods("amavis"), "ports": _ports(REINJECTION_PORT)},
                agent,
                metrics,
            ],
        ),
        _policy(
            gateway,
            "amavis",
            [{"from": pods("postfix"), "ports": _ports(AMAVIS_PORT, BEFORE_QUEUE_PORT)}, agent, metrics],
            [
                DNS,
                {"to": pods("postfix"), "ports": _ports(REINJECTION_PORT)},
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
