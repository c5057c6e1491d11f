"""Pure: a MailFilter → the Kubernetes objects that make it a gateway."""

import base64

from mailfilter.stack import amavis, clamav, network, postfix
from mailfilter.stack.common import Gateway, Object, build

# Kinds that a gateway is made of, in the order in which they are applied: what pods need comes before pods.
KINDS = (
    ("v1", "ServiceAccount"),
    ("v1", "Secret"),
    ("v1", "ConfigMap"),
    ("v1", "PersistentVolumeClaim"),
    ("v1", "Service"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("policy/v1", "PodDisruptionBudget"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "Deployment"),
)


def desired_objects(gateway: Gateway) -> list[Object]:
    """All objects of a gateway, in the order of KINDS. An object of ours that is not among them must not exist."""
    shared = [
        build(gateway, "v1", "ServiceAccount", "mailfilter", automountServiceAccountToken=False),
        build(
            gateway,
            "v1",
            "Secret",
            "agent",
            type="Opaque",
            data={"token": base64.b64encode(gateway.token.encode()).decode()},
        ),
    ]
    objects = [
        *shared,
        *postfix.objects(gateway),
        *amavis.objects(gateway),
        *clamav.objects(gateway),
        *network.objects(gateway),
    ]
    order = {kind: position for position, (_, kind) in enumerate(KINDS)}
    return sorted(objects, key=lambda found: order[found["kind"]])
