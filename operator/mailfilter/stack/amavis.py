"""The amavis pods: the filter, and the agent that knows the quarantine."""

from mailfilter.policy import outgoing
from mailfilter.policy.amavis import policy_json
from mailfilter.policy.capacity import capacity
from mailfilter.policy.longlists import FILES, file_name
from mailfilter.stack.common import (
    AGENT_PORT,
    AMAVIS_PORT,
    AMAVIS_UID,
    BEFORE_QUEUE_PORT,
    CLAMD_PORT,
    REINJECTION_PORT,
    SIGNER_PORT,
    Gateway,
    Object,
    agent,
    agent_volumes,
    build,
    claim_spec,
    config_hash,
    config_maps,
    container,
    disruption_budget,
    empty_dir,
    environment,
    headless,
    mount,
    pod_template,
    port,
    resources,
    secret_keys,
    service,
    stateful_set,
)

COMPONENT = "amavis"
DRAIN_SECONDS = 10
# Each release occupies a process of amavis: one is left for the mail that comes in.
MOST_RELEASES = 4


def ports(gateway: Gateway) -> dict[str, int]:
    """Where Postfix hands mail over."""
    found = {"amavis": AMAVIS_PORT, "before-queue": BEFORE_QUEUE_PORT}
    return found | {"signer": SIGNER_PORT} if gateway.spec.outgoing else found


def senders_part(number: int) -> str:
    """What the ConfigMap of a file of long lists is called behind the MailFilter's name."""
    return f"senders-{number}"


POLICY_PARTS = ("policy", *(senders_part(number) for number in range(FILES)))
"""The ConfigMaps of the policy, which belong together."""


def policy(gateway: Gateway, text: str | None = None) -> Object:
    """The ConfigMap of the policy; `text` keeps an older one in place of what the spec says."""
    if text is None:
        text = policy_json(gateway.spec, gateway.sender_files.hashes, gateway.digest_template)
    data = {
        "policy.json": text,
        # The agent's, which leaves room for such mails.
        "message-size-limit": str(gateway.spec.message_size_limit),
    }
    return build(gateway, "v1", "ConfigMap", "policy", COMPONENT, data=data)


def sender_files(gateway: Gateway) -> list[Object]:
    """The ConfigMaps of long lists, one for each file that there is."""
    content = gateway.sender_files.content
    return [
        build(gateway, "v1", "ConfigMap", senders_part(number), COMPONENT, binaryData={name: content[name]})
        for number, name in enumerate(map(file_name, range(FILES)))
        if name in content
    ]


def quarantine(gateway: Gateway) -> Object:
    """The claim of the held mail, which outlives the MailFilter unless `reclaim` says Delete."""
    wanted = gateway.spec.quarantine
    return build(
        gateway,
        "v1",
        "PersistentVolumeClaim",
        "quarantine",
        COMPONENT,
        owned=wanted.reclaim == "Delete",
        spec=claim_spec(wanted.storage, wanted.storage.access_mode),
    )


def workload(gateway: Gateway) -> Object:
    """The StatefulSet. A change of policy does not touch it."""
    spec, names = gateway.spec.amavis, gateway.names
    reinjection = f"{names.host('reinjection')}:{REINJECTION_PORT}"
    settings = {
        "AMAVIS_MAILFILTER": f"{names.namespace}/{names.name}",
        "AMAVIS_HOSTNAME": gateway.spec.hostname.lower(),
        "AMAVIS_MAX_SERVERS": str(spec.max_servers),
        "AMAVIS_CLAMD": f"{names.host('clamd')}:{CLAMD_PORT}",
        "AMAVIS_RELEASE_TO": reinjection,
        "AMAVIS_LOCAL_TESTS_ONLY": "1" if gateway.spec.spam.local_tests_only else "0",
        "AMAVIS_DNS_SERVERS": " ".join(gateway.spec.spam.dns_servers),
        "AMAVIS_OUTGOING": "1" if gateway.spec.outgoing else "0",
        "AMAVIS_CHILD_TIMEOUT": str(capacity(gateway.spec).child_seconds),
    }
    shared = [
        mount("policy", "/etc/mailfilter/policy", read_only=True),
        mount("run", "/run/amavis"),
        mount("quarantine", "/var/lib/amavis/quarantine"),
    ]
    keys = {f"{outgoing.key_name(one)}.pem": (one.secret_name, one.key) for one in outgoing.keys(gateway.spec)}
    daemon = container(
        gateway,
        "amavis",
        gateway.images.amavis,
        env=environment(settings),
        ports=[port(name, number) for name, number in ports(gateway).items()],
        resources=resources(spec.resources),
        volumeMounts=[
            mount("home", "/var/lib/amavis"),
            mount("work", "/var/lib/amavis/tmp"),
            mount("tmp", "/tmp"),
            *shared,
            *([mount("dkim", "/etc/mailfilter/dkim", read_only=True)] if keys else []),
        ],
        startupProbe={"tcpSocket": {"port": "amavis"}, "periodSeconds": 2, "failureThreshold": 150},
        livenessProbe={
            "tcpSocket": {"port": "amavis"},
            "periodSeconds": 20,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
        # SIGTERM breaks off mails in work: leave the Service and finish them first.
        lifecycle={"preStop": {"sleep": {"seconds": DRAIN_SECONDS}}},
    )
    releases = max(1, min(MOST_RELEASES, spec.max_servers - 1))
    environment_of_agent = {"AGENT_PARALLEL_RELEASES": str(releases), "AGENT_REINJECTION": reinjection} | (
        {"AGENT_SIGNS": "1"} if keys else {}
    )
    template = pod_template(
        gateway,
        COMPONENT,
        uid=AMAVIS_UID,
        config=config_hash(),
        restart_grace=DRAIN_SECONDS + 20,
        # A busy amavis greets late; that is no reason to take it out of the Service.
        containers=[daemon, agent(gateway, "amavis", shared, env=environment_of_agent, readiness_timeout=30)],
        volumes=[
            # All in one volume, which changes as a whole; lists come and go without another pod.
            config_maps("policy", *(names.of(part) for part in POLICY_PARTS)),
            *([secret_keys("dkim", keys)] if keys else []),
            {"name": "quarantine", "persistentVolumeClaim": {"claimName": names.of("quarantine")}},
            # Mails are unpacked in memory; what is used counts as the container's memory.
            empty_dir("work", medium="Memory"),
            *(empty_dir(name) for name in ("home", "run", "tmp")),
            *agent_volumes(gateway),
        ],
    )
    return stateful_set(gateway, COMPONENT, spec.replicas, template)


def page(gateway: Gateway) -> list[Object]:
    """The Service of the quarantine's page, where somebody is to reach it. Who reads stays with one pod: another one
    knows what was deleted some seconds later."""
    if not gateway.spec.quarantine.access:
        return []
    return [service(gateway, "quarantine", COMPONENT, {"agent": AGENT_PORT}, sessionAffinity="ClientIP")]


def objects(gateway: Gateway) -> list[Object]:
    """All objects of the component."""
    return [
        # Before the policy, which names them by their hashes.
        *sender_files(gateway),
        policy(gateway),
        quarantine(gateway),
        service(gateway, COMPONENT, COMPONENT, ports(gateway)),
        *page(gateway),
        headless(gateway, COMPONENT, {"amavis": AMAVIS_PORT}),
        disruption_budget(gateway, COMPONENT),
        workload(gateway),
    ]
