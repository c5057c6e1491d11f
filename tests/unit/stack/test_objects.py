"""Owners, labels, Services and network policies of a gateway; what a change of the spec touches."""

from typing import Any

import pytest

from mailfilter.policy.names import Names
from mailfilter.stack import desired_objects
from support.samples import FULL, SAMPLES, SMALL, gateway

Object = dict[str, Any]
WORKLOADS = ("StatefulSet", "Deployment")


def by_id(*args: Any, **changes: Any) -> dict[tuple[str, str], Object]:
    """Kind and name → object."""
    objects = desired_objects(gateway(*args, **changes))
    found = {(each["kind"], each["metadata"]["name"]): each for each in objects}
    assert len(found) == len(objects)
    return found


def changed(base: Object = SMALL, **changes: Any) -> set[tuple[str, str]]:
    """The objects that differ after a change of the spec."""
    before, after = by_id(base), by_id(base, **changes)
    return {one for one in before.keys() | after.keys() if before.get(one) != after.get(one)}


@pytest.mark.parametrize("sample", SAMPLES)
def test_owners_and_labels(sample: str) -> None:
    objects = by_id(SAMPLES[sample])
    loose = [one for one, body in objects.items() if "ownerReferences" not in body["metadata"]]
    # Held mail outlives the MailFilter unless reclaim is Delete, which the full sample says.
    assert loose == ([("PersistentVolumeClaim", "mx-quarantine")] if sample == "small" else [])
    for _, body in objects.items():
        metadata = body["metadata"]
        assert metadata["namespace"] == "mail"
        assert metadata["labels"]["app.kubernetes.io/managed-by"] == "mailfilter-operator"
        assert metadata["labels"]["app.kubernetes.io/instance"] == "mx"
        for owner in metadata.get("ownerReferences", []):
            assert (owner["kind"], owner["name"], owner["uid"], owner["controller"]) == (
                "MailFilter",
                "mx",
                "uid-1",
                True,
            )


@pytest.mark.parametrize("sample", SAMPLES)
def test_selectors_select_the_pods_that_they_mean(sample: str) -> None:
    objects = by_id(SAMPLES[sample])
    pods = {
        name.removeprefix("mx-"): body["spec"]["template"]["metadata"]["labels"]
        for (kind, name), body in objects.items()
        if kind in WORKLOADS
    }
    assert set(pods) == {"postfix", "amavis", "clamd", "freshclam"}

    def selected(labels: dict[str, str]) -> list[str]:
        return [name for name, found in pods.items() if labels.items() <= found.items()]

    expected = {"reinjection": "postfix", "outgoing": "postfix", "quarantine": "amavis"}
    for (kind, name), body in objects.items():
        part = name.removeprefix("mx-").removesuffix("-pods")
        part = expected.get(part, part)
        spec = body.get("spec", {})
        if kind == "Service":
            assert selected(spec["selector"]) == [part], name
        elif kind == "NetworkPolicy":
            assert selected(spec["podSelector"]["matchLabels"]) == [part], name
        elif kind in (*WORKLOADS, "PodDisruptionBudget"):
            assert selected(spec["selector"]["matchLabels"]) == [part], name
    for (kind, _), body in objects.items():
        if kind == "StatefulSet":
            service = objects["Service", body["spec"]["serviceName"]]
            assert service["spec"]["clusterIP"] == "None"


def test_services_reach_named_ports() -> None:
    objects = by_id()
    found = {
        name: [(port["port"], port["targetPort"]) for port in body["spec"]["ports"]]
        for (kind, name), body in objects.items()
        if kind == "Service"
    }
    assert found == {
        "mx-postfix": [(25, "smtp")],
        "mx-reinjection": [(10025, "reinjection")],
        "mx-amavis": [(10024, "amavis"), (10026, "before-queue")],
        "mx-clamd": [(3310, "clamd")],
        "mx-freshclam": [(8080, "signatures")],
        "mx-postfix-pods": [(2525, "smtp")],
        "mx-amavis-pods": [(10024, "amavis")],
        "mx-freshclam-pods": [(8080, "signatures")],
    }
    numbers = {
        port["name"]: port["containerPort"]
        for (kind, _), body in objects.items()
        if kind in WORKLOADS
        for one in body["spec"]["template"]["spec"]["containers"]
        for port in one.get("ports", [])
    }
    assert {target for ports in found.values() for _, target in ports} <= set(numbers)
    assert numbers["smtp"] == 2525


def sources(policy: Object, port: int) -> list[str]:
    """Who may connect to a port: components, `operator` or `anybody`."""
    found = []
    for rule in policy["spec"]["ingress"]:
        if port not in [each["port"] for each in rule["ports"]]:
            continue
        for peer in rule.get("from", [None]):
            if peer is None:
                found.append("anybody")
            elif peer.get("podSelector") == {"matchLabels": {"app": "oauth2-proxy"}}:
                found.append("proxy")
            elif "ipBlock" in peer:
                found.append(peer["ipBlock"]["cidr"])
            elif peer == {"namespaceSelector": {}}:
                found.append("pods")
            elif "namespaceSelector" in peer:
                assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "mailfilter-system"}
                assert peer["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "mailfilter-operator"}
                found.append("operator")
            else:
                labels = peer["podSelector"]["matchLabels"]
                assert labels["app.kubernetes.io/instance"] == "mx"
                found.append(labels["app.kubernetes.io/component"])
    return found


OPEN = {
    "postfix": {
        2525: ["anybody"],
        2587: ["pods", "10.1.2.3/32", "192.0.2.0/24", "2001:db8:1::/48"],
        10025: ["amavis"],
        10029: ["amavis"],
        8081: ["operator"],
        9090: ["anybody"],
    },
    "amavis": {
        10024: ["postfix"],
        10026: ["postfix"],
        10028: ["postfix"],
        8081: ["operator", "proxy", "192.0.2.64/28"],
        9090: ["anybody"],
    },
    "clamd": {3310: ["amavis"]},
    "freshclam": {8080: ["clamd"], 8081: ["operator"], 9090: ["anybody"]},
}


@pytest.mark.parametrize("component", OPEN)
def test_b21_ports_are_open_to_those_who_use_them(component: str) -> None:
    """Least of all the reinjection port, through which mail goes on unfiltered."""
    policy = by_id(FULL)["NetworkPolicy", f"mx-{component}"]
    assert "Ingress" in policy["spec"]["policyTypes"]
    ports = {each["port"] for rule in policy["spec"]["ingress"] for each in rule["ports"]}
    assert {port: sources(policy, port) for port in ports} == OPEN[component]


def test_the_page_is_reached_by_those_whom_the_spec_names_alone() -> None:
    assert ("Service", "mx-quarantine") not in by_id()
    assert sources(by_id()["NetworkPolicy", "mx-amavis"], 8081) == ["operator"]
    objects = by_id(quarantine={"access": {"from": [{"podSelector": {}}, {"namespaceSelector": {}}]}})
    rule = objects["NetworkPolicy", "mx-amavis"]["spec"]["ingress"][2]
    # An empty selector is all pods of the namespace, or all namespaces: never nobody's rule without `from`.
    assert rule == {
        "from": [{"podSelector": {}}, {"namespaceSelector": {}}],
        "ports": [{"port": 8081, "protocol": "TCP"}],
    }
    spec = objects["Service", "mx-quarantine"]["spec"]
    assert (spec["ports"], spec["sessionAffinity"]) == (
        [{"name": "agent", "port": 8081, "targetPort": "agent", "protocol": "TCP"}],
        "ClientIP",
    )


def test_what_opens_the_mail_of_strangers_reaches_little() -> None:
    objects = by_id()
    for component, ports in (("amavis", {53, 10025, 3310}), ("clamd", {53, 8080})):
        spec = objects["NetworkPolicy", f"mx-{component}"]["spec"]
        assert "Egress" in spec["policyTypes"]
        assert {each["port"] for rule in spec["egress"] for each in rule["ports"]} == ports


def test_b21_no_spec_makes_postfix_trust_networks() -> None:
    """What goes into main.cf for a gateway are these parameters; relaying is by domains alone."""
    assert {
        line.split(" = ")[0] for line in by_id(FULL)["ConfigMap", "mx-postfix"]["data"]["main.cf"].splitlines()
    } == {
        "amavis_destination_concurrency_limit",
        "content_filter",
        "default_process_limit",
        "default_transport",
        "mailfilter_filter_timeout",
        "mailfilter_outgoing_filter",
        "mailfilter_proxy_filter",
        "mailfilter_smarthost_tls",
        "mailfilter_tls_minimum",
        "postscreen_dnsbl_sites",
        "postscreen_dnsbl_threshold",
        "smtpd_client_connection_count_limit",
        "smtpd_client_connection_rate_limit",
        "smtpd_client_message_rate_limit",
        "smtpd_client_recipient_rate_limit",
        "mailfilter_upstream_proxy",
        "message_size_limit",
        "myhostname",
        "outgoing_destination_concurrency_limit",
    }


def test_b15_proxy_protocol_is_a_matter_of_the_outside_port_alone() -> None:
    """One parameter that master.cf gives to 2525; Postfix' own, which all ports would obey, is never set."""
    touched = changed(postfix={"proxyProtocol": True})
    assert touched == {("ConfigMap", "mx-postfix"), ("StatefulSet", "mx-postfix")}
    for value, on in (("", False), ("haproxy", True)):
        objects = by_id(postfix={"proxyProtocol": on})
        text = objects["ConfigMap", "mx-postfix"]["data"]["main.cf"]
        assert f"mailfilter_upstream_proxy = {value}\n" in text
        assert "smtpd_upstream_proxy_protocol" not in text
        agent = next(
            one
            for one in objects["StatefulSet", "mx-postfix"]["spec"]["template"]["spec"]["containers"]
            if one["name"] == "agent"
        )
        assert {"name": "AGENT_UPSTREAM_PROXY", "value": str(int(on))} in agent["env"]


def test_the_filters_address_depends_on_the_name_alone() -> None:
    """Queued mail holds it."""
    addresses = set()
    for sample in SAMPLES.values():
        objects = by_id(sample)
        assert ("Service", "mx-amavis") in objects
        lines = objects["ConfigMap", "mx-postfix"]["data"]["main.cf"].splitlines()
        addresses |= {line for line in lines if line.startswith("content_filter")}
    assert addresses == {"content_filter = amavis:[mx-amavis.mail.svc]:10024"}


POLICY, TABLES, CLAMAV = ("ConfigMap", "mx-policy"), ("ConfigMap", "mx-postfix"), ("ConfigMap", "mx-clamav")
AMAVIS, POSTFIX = ("StatefulSet", "mx-amavis"), ("StatefulSet", "mx-postfix")
CLAMD, FRESHCLAM = ("Deployment", "mx-clamd"), ("StatefulSet", "mx-freshclam")


@pytest.mark.parametrize(
    ("change", "touched"),
    [
        ({"spam": {"killLevel": 7}}, {POLICY}),
        ({"spam": {"rules": "score X 1"}}, {POLICY}),
        ({"spam": {"enabled": False, "subjectTag": "x"}}, {POLICY}),
        ({"lists": {"allow": ["a@b"], "deny": ["c.example"]}}, {POLICY}),
        ({"banned": {"names": []}, "virus": {"destiny": "Pass"}, "badHeader": {"destiny": "Discard"}}, {POLICY}),
        ({"recipients": [{"address": "a@example.com", "policy": {"spam": {"killLevel": 6}}}]}, {POLICY}),
        ({"banned": {"destiny": "Bounce"}}, {POLICY, TABLES}),
        ({"filtering": {"mode": "BeforeQueue"}}, {TABLES, AMAVIS, POSTFIX}),
        ({"notifications": {"virusAdmin": "a@b"}}, {POLICY, TABLES}),
        ({"admin": "a@b"}, {TABLES}),
        ({"domains": [*SMALL["domains"], {"name": "second.example", "relay": {"host": "x"}}]}, {POLICY, TABLES}),
        ({"domains": [{"name": "example.com", "relay": {"host": "elsewhere"}}]}, {TABLES}),
        ({"hostname": "other.example.com"}, {TABLES, AMAVIS, POSTFIX}),
        ({"messageSizeLimit": 65536}, {POLICY, TABLES, POSTFIX, CLAMAV, CLAMD}),
        ({"spam": {"localTestsOnly": True}}, {AMAVIS}),
        ({"spam": {"dnsServers": ["192.0.2.53"]}}, {AMAVIS}),
        ({"amavis": {"logLevel": 3}}, {POLICY}),
        (
            {"virus": {"enabled": False}, "decoding": {"maxLevels": 5}, "quarantine": {"kinds": {"spam": False}}},
            {POLICY},
        ),
        ({"amavis": {"resources": {"limits": {"memory": "1Gi"}}}}, {AMAVIS}),
        ({"freshclam": {"mirror": "http://m"}}, {CLAMAV, FRESHCLAM}),
        ({"freshclam": {"customURLs": ["http://m/x.ndb"]}}, {CLAMAV, FRESHCLAM, CLAMD}),
        ({"freshclam": {"checks": 1}}, {FRESHCLAM}),
        ({"clamd": {"replicas": 0}}, {CLAMD}),
        ({"postfix": {"service": {"type": "NodePort"}}}, {("Service", "mx-postfix")}),
        (
            {"quarantine": {"access": {"from": [{"podSelector": {}}]}}},
            {("Service", "mx-quarantine"), ("NetworkPolicy", "mx-amavis")},
        ),
        ({"quarantine": {"reclaim": "Delete"}}, {("PersistentVolumeClaim", "mx-quarantine")}),
    ],
    # A set has another order in another process.
    ids=lambda value: str(sorted(value) if isinstance(value, set) else value),
)
def test_a_change_touches_what_it_must(change: Object, touched: set[tuple[str, str]]) -> None:
    """Lists, levels, rules, domains and routes never restart a pod; what only a new process reads always does."""
    assert changed(**change) == touched
    before, after = by_id(), by_id(**change)
    for kind, name in touched & {AMAVIS, POSTFIX, CLAMD, FRESHCLAM}:
        if "replicas" not in str(change):
            assert before[kind, name]["spec"]["template"] != after[kind, name]["spec"]["template"]


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        ({}, {"type": "ClusterIP"}),
        ({"type": "NodePort"}, {"type": "NodePort", "externalTrafficPolicy": "Local"}),
        (
            {"type": "LoadBalancer", "externalTrafficPolicy": "Cluster"},
            {"type": "LoadBalancer", "externalTrafficPolicy": "Cluster"},
        ),
        (
            {"type": "LoadBalancer", "loadBalancerClass": "a/b"},
            {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "loadBalancerClass": "a/b"},
        ),
    ],
)
def test_outside_service(service: Object, expected: Object) -> None:
    """Local traffic policy by default: the client's address is what a mail filter judges by."""
    spec = by_id(postfix={"service": service})["Service", "mx-postfix"]["spec"]
    assert {key: value for key, value in spec.items() if key not in ("selector", "ports")} == expected


def test_b24_queues_are_kept_and_not_shared() -> None:
    spec = by_id()[POSTFIX]["spec"]
    assert [claim["metadata"]["name"] for claim in spec["volumeClaimTemplates"]] == ["queue"]
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}


@pytest.mark.parametrize("name", ["mx-postfix", "mx-amavis", "mx-freshclam", "m"])
def test_gateways_with_similar_names_share_no_object(name: str) -> None:
    assert by_id().keys().isdisjoint(by_id(SMALL, Names(name, "mail")))
