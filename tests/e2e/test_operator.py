"""What the operator makes stays as it should be, whoever changes it and whenever the operator dies."""

import json
from collections import Counter
from collections.abc import Iterator

import pytest

from mailfilter.plugin import agent
from mailfilter.plugin import gateway as gateways
from mailfilter.plugin.errors import PluginError
from mailfilter.plugin.forward import forward
from mailfilter.plugin.kubectl import Kubectl
from mailfilter.stack import KINDS
from support.cluster import Cluster, Object
from support.gateway import INSTANCE
from support.mail import Post, message, spam, virus
from support.metrics import samples
from support.run import wait_for
from support.victim import Victim

DEPLOYMENT = "deployment/mailfilter-operator"
OPERATOR_PODS = "app.kubernetes.io/name=mailfilter-operator"
# Kind, part of the name, and a change by somebody else that must not last.
DRIFT: list[tuple[str, str, Object]] = [
    ("serviceaccount", "mailfilter", {"automountServiceAccountToken": True}),
    ("secret", "agent", {"metadata": {"labels": {INSTANCE: "mx", "app.kubernetes.io/name": "other"}}}),
    ("configmap", "policy", {"data": {"policy.json": "{}"}}),
    ("configmap", "postfix", {"data": {"relay_domains": "evil.example\tOK\n"}}),
    ("persistentvolumeclaim", "quarantine", {"metadata": {"labels": {"app.kubernetes.io/component": "other"}}}),
    ("service", "amavis", {"spec": {"ports": [{"port": 10024, "targetPort": 1}]}}),
    ("networkpolicy", "amavis", {"spec": {"ingress": [{}]}}),
    ("poddisruptionbudget", "amavis", {"spec": {"maxUnavailable": 0}}),
    ("poddisruptionbudget", "clamd", {"metadata": {"labels": {INSTANCE: "another"}}}),
    ("statefulset", "freshclam", {"spec": {"replicas": 0}}),
    ("deployment", "clamd", {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 31}}}}),
]
DELETED = [
    *("serviceaccount/mx-mailfilter", "configmap/mx-policy", "configmap/mx-clamav", "service/mx-postfix"),
    *("networkpolicy/mx-amavis", "poddisruptionbudget/mx-postfix", "statefulset/mx-postfix", "deployment/mx-clamd"),
    "secret/mx-agent",
]


@pytest.fixture(scope="module")
def gateway(cluster: Cluster, operator: str, post: Post) -> Victim:
    return Victim(cluster, post).start()


@pytest.fixture
def other_namespace(cluster: Cluster, namespace: str) -> Iterator[str]:
    name = f"{namespace}-other"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")


def wanted(body: Object) -> Object:
    """What was asked for in an object."""
    return {key: value for key, value in body.items() if key not in ("metadata", "status")} | {
        "labels": body["metadata"]["labels"]
    }


def children(gateway: Victim) -> dict[str, Object]:
    """All objects that were made for the gateway, but for its pods."""
    kinds = ",".join(kind for _, kind in KINDS)
    labels = f"{INSTANCE}={gateway.name},app.kubernetes.io/managed-by=mailfilter-operator"
    found = json.loads(gateway.kubectl("get", kinds, "-l", labels, "-o", "json"))["items"]
    return {f"{body['kind']}/{body['metadata']['name']}": body for body in found}


def of_operator(gateway: Victim, operator: str, path: str) -> str:
    """What the operator's pod answers; one before it may be on its way out."""
    found = gateway.cluster.objects("pod", operator, {"app.kubernetes.io/name": "mailfilter-operator"})
    (pod,) = [one for one in found if not one["metadata"].get("deletionTimestamp")]
    return gateway.post.http(f"http://{pod['status']['podIP']}:8080/{path}")


def operator_metrics(gateway: Victim, operator: str) -> str:
    return of_operator(gateway, operator, "metrics")


def rounds(text: str) -> float:
    return sum(
        value
        for labels, value in samples(text, "mailfilter_operator_reconciles_total")
        if labels["kind"] == "MailFilter"
    )


def calls(text: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for labels, value in samples(text, "mailfilter_operator_api_calls_total"):
        found["read" if labels["verb"] == "get" else f"{labels['verb']} {labels['resource']}"] += int(value)
    return found


@pytest.mark.parametrize(("kind", "part", "change"), DRIFT, ids=[f"{kind}-{part}" for kind, part, _ in DRIFT])
def test_drift_is_corrected(gateway: Victim, kind: str, part: str, change: Object) -> None:
    name = f"{gateway.name}-{part}"
    before = gateway.cluster.get(kind, name, gateway.namespace)
    gateway.kubectl("patch", kind, name, "--type=merge", "-p", json.dumps(change))

    def corrected() -> bool:
        now = gateway.cluster.get(kind, name, gateway.namespace)
        assert now["metadata"]["uid"] == before["metadata"]["uid"]
        assert now["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]
        assert wanted(now) == wanted(before)
        return True

    wait_for(corrected, f"{kind} {name} as it was")


def test_what_is_deleted_comes_back(gateway: Victim) -> None:
    gateway.ready()
    before = children(gateway)
    gateway.kubectl("delete", *DELETED, "--wait=false")
    gone = {key for key in before if f"{key.split('/')[0].lower()}/{key.split('/')[1]}" in DELETED}
    assert len(gone) == len(DELETED)

    def back() -> bool:
        now = children(gateway)
        assert now.keys() == before.keys()
        return all(now[key]["metadata"]["uid"] != before[key]["metadata"]["uid"] for key in gone)

    wait_for(back, "new objects in place of those that were deleted")
    gateway.ready()
    mail = message()
    assert gateway.post.send(mail)[0].code == 250
    gateway.post.expect(mail)


def test_a_settled_gateway_is_only_looked_at(gateway: Victim, operator: str) -> None:
    """No write, no event, and few reads in each round, however many rounds there are."""
    gateway.ready()
    # Mail is filtered before the mirror has the new token.
    gateway.wait("SignaturesFresh")

    def alone() -> bool:
        found = json.loads(gateway.cluster.kubectl("get", "mailfilters", "-A", "-o", "json"))["items"]
        return [one["metadata"]["namespace"] for one in found] == [gateway.namespace]

    wait_for(alone, "the other tests' MailFilters gone", 300)

    def state() -> dict[str, str]:
        own = gateway.cluster.get("mailfilter", gateway.name, gateway.namespace)
        events = gateway.kubectl("get", "events", "--field-selector=involvedObject.kind=MailFilter", "-o", "name")
        versions = {key: body["metadata"]["resourceVersion"] for key, body in children(gateway).items()}
        return versions | {"own": own["metadata"]["resourceVersion"], "events": events}

    def another_round() -> None:
        last = rounds(operator_metrics(gateway, operator))
        # A pod that changes wakes the operator.
        gateway.kubectl("annotate", "pod", "mx-amavis-0", f"test/round={last}", "--overwrite")
        wait_for(lambda: rounds(operator_metrics(gateway, operator)) > last, "another round")

    def settled() -> bool:
        # Events of the last transition are written after the status that has it.
        before = state()
        another_round()
        return state() == before

    wait_for(settled, "a round that changed nothing")
    before, text = state(), operator_metrics(gateway, operator)
    for _ in range(5):
        another_round()
    after = operator_metrics(gateway, operator)
    new, made = rounds(after) - rounds(text), calls(after) - calls(text)
    assert state() == before
    assert new >= 5
    assert set(made) == {"read"}, f"writes: {made}"
    # One more may be in its middle.
    assert made["read"] <= 2 * (new + 1)


def test_events_tell_of_transitions_only(gateway: Victim) -> None:
    found = json.loads(
        gateway.kubectl("get", "events", "--field-selector=involvedObject.kind=MailFilter", "-o", "json")
    )["items"]
    assert {"Filtering", "InForce", "Answering", "Fetched"} <= {event["reason"] for event in found}
    assert all(event["count"] == 1 and event["message"] for event in found)
    assert {event["type"] for event in found if event["reason"] == "Filtering"} == {"Normal"}


def test_a_new_operator_restarts_no_pod(gateway: Victim, operator: str) -> None:
    gateway.ready()
    before = gateway.uids()
    versions = {
        key: body["metadata"]["generation"]
        for key, body in children(gateway).items()
        if "generation" in body["metadata"]
    }
    gateway.cluster.kubectl("-n", operator, "rollout", "restart", DEPLOYMENT)
    gateway.cluster.kubectl("-n", operator, "rollout", "status", DEPLOYMENT, "--timeout=180s", timeout=190)
    wait_for(lambda: rounds(operator_metrics(gateway, operator)) > 0, "the new operator's first round")
    gateway.ready()
    assert gateway.uids() == before
    now = children(gateway)
    assert {key: now[key]["metadata"]["generation"] for key in versions} == versions


def test_the_operator_is_healthy(gateway: Victim, operator: str) -> None:
    assert of_operator(gateway, operator, "healthz") == "ok"


def tokens_are_apart(ours: Victim, theirs: Victim) -> None:
    """One gateway's token opens no other's quarantine."""
    (held,) = ours.held(virus())
    here, there = (Kubectl(one.namespace, kubeconfig=str(ours.cluster.kubeconfig)) for one in (ours, theirs))
    with forward(here, gateways.pod(here, "mx", "amavis"), agent.PORT) as to:
        own = agent.Agent(to, gateways.token(here, "mx"), "mx-agent")
        wait_for(lambda: held in [one["id"] for one in own.search({}, 1000)["items"]], "the held mail in the list")
        other = agent.Agent(to, gateways.token(there, "mx"), "mx-agent")
        with pytest.raises(PluginError, match="refuses the token"):
            other.search({}, 1)


def test_two_gateways_in_one_namespace_and_one_in_another(
    cluster: Cluster, operator: str, gateway: Victim, post: Post, other_namespace: str
) -> None:
    """Each has its own, also when the operator is killed while it makes them; one that goes takes nothing with it."""
    before = gateway.uids()
    second, third = Victim(cluster, post, "second"), Victim(cluster, post, "mx")
    second.put()
    elsewhere = Post(cluster, other_namespace)
    far = Victim(cluster, elsewhere, client=post, domains=[{"name": "example.com", "relay": {"host": post.sink_host}}])
    far.put(
        freshclam={"officialDatabases": False, "customURLs": [post.signatures_url], "storage": {"size": "1Gi"}},
        spam={"localTestsOnly": True, "killLevel": 2000, "cutoffLevel": 3000},
    )
    wait_for(lambda: cluster.find("secret", "second-agent", post.namespace), "the first object of the second gateway")
    cluster.kubectl("-n", operator, "delete", "pod", "-l", OPERATOR_PODS, "--grace-period=0", "--force")
    second.ready()
    far.ready()
    assert third.uids() == before
    assert {key.replace("/second-", "/mx-") for key in children(second)} == set(children(gateway))
    mails = {host: message() for host in ("mx-postfix", "second-postfix", f"mx-postfix.{other_namespace}.svc")}
    for host, mail in mails.items():
        assert post.send(mail, host=host)[0].code == 250
    for mail in mails.values():
        post.expect(mail)
    passed, stopped = spam(), spam()
    post.send(passed, host=f"mx-postfix.{other_namespace}.svc")
    post.send(stopped, host="second-postfix")
    assert post.expect(passed).header("X-Spam-Flag") == "YES"
    assert not post.copies(stopped)
    tokens_are_apart(gateway, far)

    cluster.delete_object("mailfilter", "second", post.namespace)
    claims = {"PersistentVolumeClaim/second-quarantine"}
    wait_for(lambda: set(children(second)) <= claims and not second.live(), "nothing but the claim of held mail")
    assert set(children(second)) == claims
    assert cluster.find("pvc", "queue-second-postfix-0", post.namespace), "undelivered mail may be in the queue"
    signatures = "signatures-second-freshclam-0"
    wait_for(lambda: not cluster.find("pvc", signatures, post.namespace), "the signatures' claim gone")
    gateway.ready()
    assert third.uids() == before


def test_a_namespace_goes_while_the_operator_is_away(cluster: Cluster, operator: str, namespace: str) -> None:
    name = f"{namespace}-gone"
    cluster.kubectl("create", "namespace", name)
    far = Victim(cluster, Post(cluster, name))
    far.put()
    wait_for(lambda: cluster.find("deployment", "mx-clamd", name), "the gateway's objects")
    cluster.kubectl("-n", operator, "scale", DEPLOYMENT, "--replicas=0")
    try:
        cluster.kubectl(
            "-n", operator, *("wait", "pod", "-l", OPERATOR_PODS, "--for=delete", "--timeout=180s"), timeout=190
        )
        cluster.kubectl("delete", "namespace", name, "--timeout=300s", timeout=310)
    finally:
        cluster.kubectl("-n", operator, "scale", DEPLOYMENT, "--replicas=1")
        cluster.kubectl("-n", operator, "rollout", "status", DEPLOYMENT, "--timeout=180s", timeout=190)


def test_held_mail_outlives_its_mailfilter(cluster: Cluster, gateway: Victim, post: Post) -> None:
    mail = virus()
    (held,) = gateway.held(mail)
    volume = cluster.get("pvc", "mx-quarantine", post.namespace)["spec"]["volumeName"]
    cluster.delete_object("mailfilter", "mx", post.namespace)
    wait_for(
        lambda: set(children(gateway)) == {"PersistentVolumeClaim/mx-quarantine"} and not gateway.live(),
        "no gateway",
    )

    gateway.start()
    assert cluster.get("pvc", "mx-quarantine", post.namespace)["spec"]["volumeName"] == volume
    release = {
        "apiVersion": "mailfilter.dev/v1alpha1",
        "kind": "QuarantineRelease",
        "metadata": {"generateName": "later-"},
        "spec": {"mailFilter": "mx", "messages": [held], "allowVirus": True},
    }
    name = cluster.create(release, post.namespace)
    assert cluster.wait_condition("quarantinerelease", name, post.namespace, "Complete")["reason"] == "Released"
    post.expect(mail)

    gateway.put(quarantine={"storage": {"size": "1Gi"}, "reclaim": "Delete"})
    wait_for(
        lambda: cluster.get("pvc", "mx-quarantine", post.namespace)["metadata"].get("ownerReferences"), "an owned claim"
    )
    cluster.delete_object("mailfilter", "mx", post.namespace)
    wait_for(lambda: not children(gateway), "nothing of the gateway")
