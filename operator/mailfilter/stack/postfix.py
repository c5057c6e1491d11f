"""The Postfix pods: mail in, queue, reinjection, delivery."""

from mailfilter.policy import postfix
from mailfilter.stack.common import (
    OUTGOING_PORT,
    POSTFIX_UID,
    REINJECTION_PORT,
    SIGNED_PORT,
    SMTP_PORT,
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
    service,
    stateful_set,
)

COMPONENT = "postfix"
# What Postfix' master needs to own its queue and to run its daemons as the user postfix.
CAPABILITIES = ("SETUID", "SETGID", "CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL")
AS_POSTFIX: Object = {"runAsNonRoot": True, "runAsUser": POSTFIX_UID, "runAsGroup": POSTFIX_UID}


def ports(gateway: Gateway) -> dict[str, int]:
    """Where mail is taken."""
    found = {"smtp": SMTP_PORT, "reinjection": REINJECTION_PORT}
    return found | {"outgoing": OUTGOING_PORT, "signed": SIGNED_PORT} if gateway.spec.outgoing else found


def config(gateway: Gateway) -> Object:
    """Parameters and tables."""
    sources = {name: postfix.table_source(table) for name, table in postfix.tables(gateway.spec).items()}
    return build(gateway, "v1", "ConfigMap", COMPONENT, COMPONENT, data=sources | {"main.cf": _main_cf(gateway)})


def workload(gateway: Gateway) -> Object:
    """The StatefulSet. A change of tables does not touch it; a change of parameters rolls it."""
    spec = gateway.spec.postfix
    tables = mount("tables", "/var/lib/mailfilter/tables")
    config_mount = mount("config", "/etc/mailfilter/postfix", read_only=True)
    temporary = mount("tmp", "/tmp")
    tls = mount("tls", "/var/lib/mailfilter/tls")
    queue = mount("queue", "/var/spool/postfix")
    certificate_source = [mount("certificate", "/etc/mailfilter/tls", read_only=True), tls] if spec.tls else []
    daemon = container(
        gateway,
        "postfix",
        gateway.images.postfix,
        capabilities=CAPABILITIES,
        security={"runAsUser": 0, "runAsGroup": 0, "runAsNonRoot": False},
        command=["/usr/local/bin/mailfilter-postfix"],
        ports=[port(name, number) for name, number in ports(gateway).items()],
        resources=resources(spec.resources),
        volumeMounts=[
            config_mount,
            mount("tables", "/var/lib/mailfilter/tables", read_only=True),
            mount("etc", "/etc/postfix"),
            queue,
            # The pid file must not outlive the pod: its number would be another process' by then.
            mount("pid", "/var/spool/postfix/pid"),
            mount("data", "/var/lib/postfix"),
            mount("run", "/run"),
            temporary,
            *([tls | {"readOnly": True}] if spec.tls else []),
        ],
    )
    compiler = container(
        gateway,
        "tables",
        gateway.images.postfix,
        command=["/usr/local/bin/mailfilter-tables"],
        security=AS_POSTFIX,
        resources={"requests": {"cpu": "5m", "memory": "16Mi"}},
        volumeMounts=[config_mount, tables, mount("tables-tmp", "/tmp"), *certificate_source],
    )
    beside = agent(
        gateway,
        "postfix",
        [
            config_mount,
            mount("tables", "/var/lib/mailfilter/tables", read_only=True),
            mount("queue", "/var/spool/postfix", read_only=True),
        ],
        env={
            "AGENT_DNSBL_SITES": ",".join(site.name for site in spec.dnsbl.sites) if spec.dnsbl else "",
            "AGENT_UPSTREAM_PROXY": "1" if spec.proxy_protocol else "0",
        },
        security=AS_POSTFIX,
    )
    template = pod_template(
        gateway,
        COMPONENT,
        uid=None,
        config=config_hash(_main_cf(gateway)),
        restart_grace=60,
        # Postfix turns keepalive on: it then hears within a minute that an amavis or a next hop is lost without a FIN.
        sysctls={
            "net.ipv4.tcp_keepalive_time": 30,
            "net.ipv4.tcp_keepalive_intvl": 10,
            "net.ipv4.tcp_keepalive_probes": 3,
        },
        containers=[daemon, compiler, beside],
        volumes=[
            config_map("config", gateway.names.of(COMPONENT)),
            *(empty_dir(name) for name in ("tables", "etc", "pid", "data", "run", "tmp", "tables-tmp")),
            *agent_volumes(gateway),
            *(_certificate(spec.tls.secret_name) if spec.tls else []),
        ],
    )
    claim = {"metadata": {"name": "queue"}, "spec": claim_spec(spec.storage)}
    return stateful_set(
        gateway,
        COMPONENT,
        spec.replicas,
        template,
        volumeClaimTemplates=[{"apiVersion": "v1", "kind": "PersistentVolumeClaim", **claim}],
        # Undelivered mail may be in the queue.
        persistentVolumeClaimRetentionPolicy={"whenDeleted": "Retain", "whenScaled": "Retain"},
    )


def services(gateway: Gateway) -> list[Object]:
    """The gateway's address, the way of releases, and the pods' names."""
    wanted = gateway.spec.postfix.service
    outside = service(gateway, COMPONENT, COMPONENT, {"smtp": 25}, type=wanted.type)
    if wanted.annotations:
        outside["metadata"]["annotations"] = dict(wanted.annotations)
    if wanted.type != "ClusterIP":
        outside["spec"]["externalTrafficPolicy"] = wanted.external_traffic_policy
        if wanted.node_port is not None:
            outside["spec"]["ports"][0]["nodePort"] = wanted.node_port
    if wanted.type == "LoadBalancer" and wanted.load_balancer_class:
        outside["spec"]["loadBalancerClass"] = wanted.load_balancer_class
    # Its type is never that of the outside: behind a load balancer that hides clients everybody would be a client.
    outgoing = service(gateway, "outgoing", COMPONENT, {"outgoing": 25}, type="ClusterIP")
    releases = {"reinjection": REINJECTION_PORT} | ({"signed": SIGNED_PORT} if gateway.spec.outgoing else {})
    return [
        outside,
        *([outgoing] if gateway.spec.outgoing else []),
        service(gateway, "reinjection", COMPONENT, releases),
        headless(gateway, COMPONENT, {"smtp": SMTP_PORT}),
    ]


def objects(gateway: Gateway) -> list[Object]:
    """All objects of the component."""
    return [config(gateway), *services(gateway), disruption_budget(gateway, COMPONENT), workload(gateway)]


def _certificate(secret: str) -> list[Object]:
    """The Secret, without which the pod starts, too, and the pair that is in use, in memory."""
    return [
        {"name": "certificate", "secret": {"secretName": secret, "optional": True}},
        empty_dir("tls", medium="Memory"),
    ]


def _main_cf(gateway: Gateway) -> str:
    return postfix.main_cf(postfix.parameters(gateway.spec, gateway.names))
