"""What the objects of all components share."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

from mailfilter.api import API_VERSION
from mailfilter.api.mailfilter import MailFilterSpec
from mailfilter.api.pods import Resources, Storage
from mailfilter.policy.longlists import Files
from mailfilter.policy.names import Names

Object = dict[str, Any]

MANAGED_BY = "mailfilter-operator"
INSTANCE = "app.kubernetes.io/instance"
COMPONENT = "app.kubernetes.io/component"
CONFIG_ANNOTATION = "mailfilter.dev/config"

AMAVIS_PORT, BEFORE_QUEUE_PORT, REINJECTION_PORT, SMTP_PORT = 10024, 10026, 10025, 2525
OUTGOING_PORT, SIGNER_PORT, SIGNED_PORT = 2587, 10028, 10029
CLAMD_PORT, AGENT_PORT, METRICS_PORT = 3310, 8081, 9090
AMAVIS_UID, CLAMAV_UID, POSTFIX_UID = 10001, 10002, 10003


@dataclass(frozen=True)
class Images:
    """Image references as a container names them."""

    operator: str
    postfix: str
    amavis: str
    clamav: str
    pull_policy: str = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Gateway:
    """All that the objects of one MailFilter are made from."""

    names: Names
    uid: str
    """UID of the MailFilter, for owner references."""
    spec: MailFilterSpec
    images: Images
    token: str
    """Bearer token of the agents."""
    operator_namespace: str
    """Where the operator's pods run: they alone reach the agents."""
    sender_files: Files = field(default_factory=Files)
    """Long lists of senders."""
    digest_template: str | None = None
    """The template of digests; the default one when left out."""
    scrape_annotations: bool = True
    """Whether pods carry prometheus.io annotations."""


def labels(name: str, component: str | None = None) -> dict[str, str]:
    """Labels of an object of the MailFilter `name`."""
    found = {
        "app.kubernetes.io/name": "mailfilter",
        INSTANCE: name,
        "app.kubernetes.io/managed-by": MANAGED_BY,
    }
    return found | {COMPONENT: component} if component else found


def selector(name: str, component: str) -> dict[str, str]:
    """Labels that select the pods of one component."""
    return {"app.kubernetes.io/name": "mailfilter", INSTANCE: name, COMPONENT: component}


def build(
    gateway: Gateway,
    api_version: str,
    kind: str,
    part: str,
    component: str | None = None,
    *,
    owned: bool = True,
    **body: Any,
) -> Object:
    """The object `<name>-<part>` with its labels; `owned` ones go when the MailFilter goes."""
    metadata: Object = {
        "name": gateway.names.of(part),
        "namespace": gateway.names.namespace,
        "labels": labels(gateway.names.name, component),
    }
    if owned:
        metadata["ownerReferences"] = [
            {
                "apiVersion": API_VERSION,
                "kind": "MailFilter",
                "name": gateway.names.name,
                "uid": gateway.uid,
                "controller": True,
                "blockOwnerDeletion": False,
            }
        ]
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **body}


def config_hash(*texts: str) -> str:
    """A short hash of configuration that only a new pod reads."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def pod_template(
    gateway: Gateway,
    component: str,
    *,
    uid: int | None,
    config: str,
    restart_grace: int,
    sysctls: dict[str, int] | None = None,
    **spec: Any,
) -> Object:
    """A pod template; `uid` runs all containers and owns the volumes, None leaves both to the containers.

    sysctls: of those that Kubernetes counts as safe and the restricted Pod Security Standard allows.
    """
    annotations = {CONFIG_ANNOTATION: config}
    if gateway.scrape_annotations:
        annotations |= {"prometheus.io/scrape": "true", "prometheus.io/port": str(METRICS_PORT)}
    security: Object = {"seccompProfile": {"type": "RuntimeDefault"}}
    if uid is not None:
        security |= {
            "runAsNonRoot": True,
            "runAsUser": uid,
            "runAsGroup": uid,
            "fsGroup": uid,
            "fsGroupChangePolicy": "OnRootMismatch",
        }
    if sysctls:
        security["sysctls"] = [{"name": name, "value": str(value)} for name, value in sorted(sysctls.items())]
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": selector(gateway.names.name, component)},
    }
    body: Object = {
        "serviceAccountName": gateway.names.of("mailfilter"),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": security,
        "terminationGracePeriodSeconds": restart_grace,
        "topologySpreadConstraints": [spread],
        **spec,
    }
    if gateway.images.pull_secrets:
        body["imagePullSecrets"] = [{"name": name} for name in gateway.images.pull_secrets]
    return {
        "metadata": {"labels": labels(gateway.names.name, component), "annotations": annotations},
        "spec": body,
    }


def container(gateway: Gateway, name: str, image: str, *, capabilities: tuple[str, ...] = (), **body: Any) -> Object:
    """A container that may write only to its volumes and has no capability but those named."""
    security: Object = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]} | ({"add": list(capabilities)} if capabilities else {}),
    }
    security |= body.pop("security", {})
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": gateway.images.pull_policy,
        "securityContext": security,
        **body,
    }


def agent(
    gateway: Gateway,
    kind: str,
    mounts: list[Object],
    *,
    name: str = "agent",
    env: dict[str, str] | None = None,
    ports: list[Object] | None = None,
    security: Object | None = None,
    readiness_timeout: int = 10,
) -> Object:
    """The agent beside a daemon; its readiness is the daemon's."""
    return container(
        gateway,
        name,
        gateway.images.operator,
        args=["agent", kind],
        env=environment({"AGENT_TOKEN_FILE": "/etc/mailfilter/agent/token"} | (env or {})),
        ports=[port("agent", AGENT_PORT), port("metrics", METRICS_PORT), *(ports or [])],
        volumeMounts=[mount("token", "/etc/mailfilter/agent", read_only=True), mount("agent-tmp", "/tmp"), *mounts],
        resources={"requests": {"cpu": "10m", "memory": "64Mi"}},
        livenessProbe={"httpGet": {"path": "/healthz", "port": "metrics"}, "periodSeconds": 20, "timeoutSeconds": 10},
        readinessProbe={
            "httpGet": {"path": "/readyz", "port": "metrics"},
            "periodSeconds": 5,
            "timeoutSeconds": readiness_timeout,
            "failureThreshold": 2,
        },
        security=security or {},
    )


def agent_volumes(gateway: Gateway) -> list[Object]:
    """The volumes that every agent mounts."""
    return [
        {"name": "token", "secret": {"secretName": gateway.names.of("agent")}},
        empty_dir("agent-tmp"),
    ]


def environment(values: dict[str, str]) -> list[Object]:
    """Environment variables in the order of their names."""
    return [{"name": name, "value": value} for name, value in sorted(values.items())]


def port(name: str, number: int) -> Object:
    """A container port."""
    return {"name": name, "containerPort": number, "protocol": "TCP"}


def mount(name: str, path: str, *, read_only: bool = False) -> Object:
    """A volume mount."""
    return {"name": name, "mountPath": path} | ({"readOnly": True} if read_only else {})


def empty_dir(name: str, **options: str) -> Object:
    """A volume that lives as long as its pod."""
    return {"name": name, "emptyDir": options}


def config_map(name: str, source: str) -> Object:
    """A volume of a whole ConfigMap: the kubelet keeps it current, which it does not do with a subPath."""
    return {"name": name, "configMap": {"name": source}}


def config_maps(name: str, source: str, *others: str) -> Object:
    """A volume of several whole ConfigMaps, of which only the first must be there."""
    optional = [{"configMap": {"name": other, "optional": True}} for other in others]
    return {"name": name, "projected": {"sources": [{"configMap": {"name": source}}, *optional]}}


def secret_keys(name: str, files: dict[str, tuple[str, str]]) -> Object:
    """A volume of single keys of Secrets: path → Secret and key. None of them has to be there."""
    sources = [
        {"secret": {"name": secret, "optional": True, "items": [{"key": key, "path": path}]}}
        for path, (secret, key) in files.items()
    ]
    return {"name": name, "projected": {"sources": sources, "defaultMode": 0o440}}


def resources(wanted: Resources) -> Object:
    """Requests and limits as Kubernetes has them."""
    return {key: value for key, value in wanted.model_dump().items() if value}


def claim_spec(storage: Storage, access_mode: str = "ReadWriteOnce") -> Object:
    """The spec of a persistent volume claim."""
    spec: Object = {"accessModes": [access_mode], "resources": {"requests": {"storage": storage.size}}}
    return spec | {"storageClassName": storage.storage_class_name} if storage.storage_class_name else spec


def stateful_set(gateway: Gateway, component: str, replicas: int, template: Object, **spec: Any) -> Object:
    """A StatefulSet; pods do not wait for each other, so that a broken one cannot hold up its repair."""
    return build(
        gateway,
        "apps/v1",
        "StatefulSet",
        component,
        component,
        spec={
            "replicas": replicas,
            "serviceName": gateway.names.of(f"{component}-pods"),
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": selector(gateway.names.name, component)},
            "template": template,
            **spec,
        },
    )


def service(gateway: Gateway, part: str, component: str, ports: dict[str, int], **spec: Any) -> Object:
    """A Service of one component: port name in the pod → port of the Service."""
    return build(
        gateway,
        "v1",
        "Service",
        part,
        component,
        spec={
            "selector": selector(gateway.names.name, component),
            "ports": [
                {"name": name, "port": number, "targetPort": name, "protocol": "TCP"} for name, number in ports.items()
            ],
            **spec,
        },
    )


def headless(gateway: Gateway, component: str, ports: dict[str, int]) -> Object:
    """The headless Service that gives the pods of a StatefulSet their names."""
    return service(gateway, f"{component}-pods", component, ports, clusterIP="None", publishNotReadyAddresses=True)


def disruption_budget(gateway: Gateway, component: str) -> Object:
    """One pod of a component at a time may be evicted."""
    return build(
        gateway,
        "policy/v1",
        "PodDisruptionBudget",
        component,
        component,
        spec={"maxUnavailable": 1, "selector": {"matchLabels": selector(gateway.names.name, component)}},
    )
