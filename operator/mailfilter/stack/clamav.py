"""clamd, and the pod that fetches signatures and mirrors them for the cluster."""

from mailfilter.policy import clamav
from mailfilter.stack.common import (
    CLAMAV_UID,
    CLAMD_PORT,
    Gateway,
    Object,
    agent,
    agent_volumes,
    build,
    claim_spec,
    config_hash,
    config_map,
    container,
    disruption_budget,
    empty_dir,
    headless,
    mount,
    pod_template,
    port,
    resources,
    selector,
    service,
    stateful_set,
)

CLAMD, FRESHCLAM = "clamd", "freshclam"
CONFIG = "/etc/mailfilter/clamav"
PING = {"exec": {"command": ["/usr/local/bin/mailfilter-clamd-ping"]}}
# How long freshclam waits after a failure, at first, and how often clamd's pod asks the cluster's own mirror.
RETRY_SECONDS, FOLLOW_SECONDS = 15, 60


def config(gateway: Gateway) -> Object:
    """The configuration files of all ClamAV containers."""
    return build(
        gateway,
        "v1",
        "ConfigMap",
        "clamav",
        data={
            "clamd.conf": clamav.clamd_conf(gateway.spec),
            "freshclam.conf": clamav.freshclam_conf(gateway.spec),
            "follow.conf": clamav.follow_conf(gateway.spec, gateway.names),
        },
    )


def _freshclam(gateway: Gateway, name: str, *arguments: str) -> Object:
    return container(
        gateway,
        name,
        gateway.images.clamav,
        command=["/usr/local/bin/mailfilter-freshclam", *arguments],
        resources={"requests": {"cpu": "10m", "memory": "32Mi"}},
        volumeMounts=[
            mount("config", CONFIG, read_only=True),
            mount("signatures", "/var/lib/clamav"),
            mount("freshclam-tmp", "/tmp"),
        ],
    )


def clamd(gateway: Gateway) -> Object:
    """The Deployment of clamd: it starts with signatures and keeps the old ones when an update fails."""
    follow = ("--reload", f"{CONFIG}/follow.conf", str(RETRY_SECONDS), str(FOLLOW_SECONDS))
    daemon = container(
        gateway,
        CLAMD,
        gateway.images.clamav,
        command=["clamd", f"--config-file={CONFIG}/clamd.conf"],
        ports=[port(CLAMD, CLAMD_PORT)],
        resources=resources(gateway.spec.clamd.resources),
        volumeMounts=[
            mount("config", CONFIG, read_only=True),
            mount("signatures", "/var/lib/clamav", read_only=True),
            mount("tmp", "/tmp"),
        ],
        startupProbe=PING | {"periodSeconds": 2, "timeoutSeconds": 5, "failureThreshold": 150},
        readinessProbe=PING | {"periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 1},
        # A reload of large databases keeps clamd from answering for a while.
        livenessProbe=PING | {"periodSeconds": 20, "timeoutSeconds": 10, "failureThreshold": 9},
    )
    once = ("--once", f"{CONFIG}/follow.conf", "3", str(FOLLOW_SECONDS))
    template = pod_template(
        gateway,
        CLAMD,
        uid=CLAMAV_UID,
        config=config_hash(clamav.clamd_conf(gateway.spec), clamav.follow_conf(gateway.spec, gateway.names)),
        restart_grace=30,
        initContainers=[_freshclam(gateway, "signatures", *once)],
        containers=[daemon, _freshclam(gateway, FRESHCLAM, *follow)],
        volumes=[
            config_map("config", gateway.names.of("clamav")),
            *(empty_dir(name) for name in ("signatures", "tmp", "freshclam-tmp")),
        ],
    )
    # clamd has no agent, and so nothing to scrape.
    for annotation in ("prometheus.io/scrape", "prometheus.io/port"):
        template["metadata"]["annotations"].pop(annotation, None)
    return build(
        gateway,
        "apps/v1",
        "Deployment",
        CLAMD,
        CLAMD,
        spec={
            "replicas": gateway.spec.clamd.replicas,
            "selector": {"matchLabels": selector(gateway.names.name, CLAMD)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": template,
        },
    )


def freshclam(gateway: Gateway) -> Object:
    """The one pod that asks for signatures outside; clamd pods ask it."""
    spec = gateway.spec.freshclam
    update = (f"{CONFIG}/freshclam.conf", str(RETRY_SECONDS), str(clamav.update_seconds(gateway.spec)))
    signatures = mount("signatures", "/var/lib/clamav", read_only=True)
    mirror = agent(gateway, "mirror", [signatures], name="mirror", ports=[port("signatures", clamav.MIRROR_PORT)])
    template = pod_template(
        gateway,
        FRESHCLAM,
        uid=CLAMAV_UID,
        config=config_hash(clamav.freshclam_conf(gateway.spec)),
        restart_grace=30,
        containers=[_freshclam(gateway, FRESHCLAM, *update), mirror],
        volumes=[
            config_map("config", gateway.names.of("clamav")),
            empty_dir("freshclam-tmp"),
            *agent_volumes(gateway),
        ],
    )
    claim = {"metadata": {"name": "signatures"}, "spec": claim_spec(spec.storage)}
    return stateful_set(
        gateway,
        FRESHCLAM,
        1,
        template,
        volumeClaimTemplates=[{"apiVersion": "v1", "kind": "PersistentVolumeClaim", **claim}],
        persistentVolumeClaimRetentionPolicy={"whenDeleted": "Delete", "whenScaled": "Retain"},
    )


def objects(gateway: Gateway) -> list[Object]:
    """All objects of both components."""
    return [
        config(gateway),
        service(gateway, CLAMD, CLAMD, {CLAMD: CLAMD_PORT}),
        service(gateway, FRESHCLAM, FRESHCLAM, {"signatures": clamav.MIRROR_PORT}),
        headless(gateway, FRESHCLAM, {"signatures": clamav.MIRROR_PORT}),
        disruption_budget(gateway, CLAMD),
        freshclam(gateway),
        clamd(gateway),
    ]
