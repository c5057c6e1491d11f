"""A changed policy is in force as soon as status says so, without a restart and without harm to the mail meanwhile."""

import re
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage
from threading import Event

import pytest

from support.cluster import Cluster, Object
from support.gateway import Gateway, mailfilter
from support.mail import Post, message, spam
from support.plan import Plan
from support.run import wait_for
from support.samples import with_changes

RULES = "body E2E_OFFER /cheap pills for tests/\nscore E2E_OFFER 7\n"
OFFER = "Buy our cheap pills for tests.\n"
FOUR = "body E2E_OFFER /cheap pills for tests/\nscore E2E_OFFER 4\n"


@pytest.fixture(scope="module")
def mx(cluster: Cluster, operator: str, post: Post) -> Gateway:
    basis = {"spam": {"localTestsOnly": True, "rules": RULES}}
    gateway = Gateway(cluster, post, basis)
    gateway.apply()
    return gateway


@pytest.fixture
def gateway(mx: Gateway) -> Gateway:
    """The module's gateway with the policy that it started with."""
    mx.apply()
    return mx


def pods(gateway: Gateway) -> dict[str, tuple[str, int]]:
    """Each pod's uid, and how often its containers were started anew."""
    return {
        pod["metadata"]["name"]: (
            pod["metadata"]["uid"],
            sum(container["restartCount"] for container in pod["status"]["containerStatuses"]),
        )
        for component in ("postfix", "amavis", "clamd", "freshclam")
        for pod in gateway.pods(component)
    }


def status(gateway: Gateway) -> Object:
    found: Object = gateway.cluster.get("mailfilter", gateway.name, gateway.namespace)["status"]
    return found


def verdict(gateway: Gateway, mail: EmailMessage) -> str:
    """Clean, Spam…, as soon as amavis is done with the mail; it must have been judged by the policy in status."""
    report = gateway.verdict(mail)
    assert f"P-{status(gateway)['policy']['inForce'][:12]}" in report["policy_banks"]
    found: str = report["content_type"]
    return found


def got_it(gateway: Gateway, mail: EmailMessage) -> list[str]:
    """Who has the mail; each copy counts."""
    return sorted(who for copy in gateway.post.copies(mail) for who in copy.recipients)


def test_the_next_mail_obeys_and_no_pod_is_touched(gateway: Gateway) -> None:
    before = pods(gateway)
    basis = gateway.basis["spam"]

    # The next hop's name leads nowhere for now: the mail waits, and goes to the next hop that is declared by then.
    gateway.apply(domains=[{"name": "example.com", "relay": {"host": f"nowhere.{gateway.namespace}.svc"}}])
    waiting = message()
    assert verdict(gateway, waiting) == "Clean"
    assert not gateway.post.copies(waiting)
    gateway.apply()

    gateway.apply(lists={"deny": ["alice@sender.example"]})
    assert verdict(gateway, message()) == "Spam"
    gateway.apply(lists={"allow": ["sender.example"]})
    assert verdict(gateway, spam()) == "Clean"

    gateway.apply(spam=basis | {"killLevel": 8})
    marked = message("offer", OFFER)
    gateway.send(marked)
    assert gateway.post.expect(marked).header("X-Spam-Flag") == "YES"
    gateway.apply(spam=basis | {"rules": FOUR})
    scored = message("offer", OFFER)
    gateway.send(scored)
    assert "E2E_OFFER=4" in str(gateway.post.expect(scored).header("X-Spam-Status"))
    gateway.apply(spam=basis | {"rules": RULES.replace("E2E_OFFER", "E2E_LATER")})
    assert gateway.verdict(message("offer", OFFER))["tests_spam"] == ["E2E_LATER"]

    assert verdict(gateway, message(attachments={"note.txt": b"text"})) == "Clean"
    gateway.apply(banned={"names": ["note.*"]})
    assert verdict(gateway, message(attachments={"note.txt": b"text"})) == "Banned"

    assert gateway.refusal(message(), to="dave@later.example").code == 554
    relay = {"host": gateway.post.sink_host}
    domains = [
        {"name": "example.com", "relay": relay, "aliases": {"team": ["bob@example.com", "dave@later.example"]}},
        {"name": "later.example", "relay": relay},
    ]
    gateway.apply(domains=domains, spam=basis | {"tagLevel": -100})
    later, team = message(to="dave@later.example"), message(to="team@example.com")
    gateway.send(later, to="dave@later.example")
    gateway.send(team, to="team@example.com")
    assert gateway.post.expect(later).header("X-Spam-Status")
    wait_for(lambda: got_it(gateway, team) == ["bob@example.com", "dave@later.example"], "mail to the alias")

    gateway.apply()
    assert gateway.refusal(message(), to="dave@later.example").code == 554
    gateway.post.expect(waiting, timeout=300)
    assert pods(gateway) == before


def test_a_long_list_is_watched(gateway: Gateway) -> None:
    """What its ConfigMap says is in force without a word to the MailFilter, and without a restart."""
    before = pods(gateway)
    generation = gateway.cluster.get("mailfilter", "mx", gateway.namespace)["metadata"]["generation"]
    many = "".join(f"pest{number}@elsewhere.example\n" for number in range(20_000))

    def write(text: str) -> None:
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "pests"}, "data": {"senders": text}}
        gateway.cluster.apply(body, gateway.namespace)

    def lists_are(status: str, reason: str, deny: int) -> Object:
        seen = gateway.cluster.wait_condition("mailfilter", "mx", gateway.namespace, "ListsValid", status)
        assert seen["reason"] == reason
        found = gateway.cluster.get("mailfilter", "mx", gateway.namespace)["status"]
        assert found["lists"]["deny"] == deny
        assert found["policy"].get("inForce") == found["policy"]["wanted"]
        return seen

    write(many)
    gateway.apply(lists={"from": [{"configMap": {"name": "pests", "key": "senders"}, "list": "Deny"}]})
    wait_for(lambda: lists_are("True", "Valid", 20_000), "the list")
    assert verdict(gateway, message()) == "Clean"
    write(f"{many}news*@sender.example\n*@Sender.example\n")
    seen = wait_for(lambda: lists_are("False", "Refused", 20_001), "the longer list")
    assert "ConfigMap pests key senders line 20001: news*@sender.example" in seen["message"]
    assert verdict(gateway, message()) == "Spam"
    gateway.cluster.delete_object("configmap", "pests", gateway.namespace)
    wait_for(lambda: lists_are("False", "NotRead", 20_001), "the missing list")
    assert verdict(gateway, message()) == "Spam"
    write(many)
    wait_for(lambda: lists_are("True", "Valid", 20_000), "the list as it was")
    assert verdict(gateway, message()) == "Clean"
    assert pods(gateway) == before
    assert gateway.cluster.get("mailfilter", "mx", gateway.namespace)["metadata"]["generation"] == generation + 1


def test_kubectl_wait_sees_the_change_through(gateway: Gateway) -> None:
    """Neither condition may be True from before the change."""
    gateway.declare(lists={"deny": ["alice@sender.example"]})
    wait = ("wait", "--for=condition=Ready", "mf/mx", "--timeout=180s")
    gateway.cluster.kubectl("-n", gateway.namespace, *wait, timeout=190)
    assert gateway.verdict(message())["content_type"] == "Spam"
    generation = gateway.cluster.get("mailfilter", "mx", gateway.namespace)["metadata"]["generation"]
    wait_for(lambda: status(gateway)["observedGeneration"] == generation, "observedGeneration")


def test_columns_tell_the_state(gateway: Gateway) -> None:
    rows = gateway.cluster.kubectl("-n", gateway.namespace, "get", "mf", "mx").splitlines()
    heads, cells = (row.split() for row in rows)
    assert heads == ["NAME", "READY", "REASON", "POLICY", "SCANNER", "QUEUED", "DEFERRED", "HELD", "AGE"]
    assert cells[:5] == ["mx", "True", "Filtering", "True", "True"]
    wide = gateway.cluster.kubectl("get", "mf", "-A")
    assert gateway.namespace in wide


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("header BAD eval:check_for_it()", "eval: runs code"),
        ("loadplugin Mail::SpamAssassin::Plugin::Evil", "must begin with one of"),
        ("body BAD /(?{ system('id') })/", "code in a pattern"),
        ("body BAD /(never closed/", "(never closed|[Uu]nmatched)"),
        ("score BAD much", "score must have"),
    ],
)
def test_a_broken_rule_leaves_the_last_good_policy_in_force(gateway: Gateway, line: str, reason: str) -> None:
    before, hash_before = pods(gateway), status(gateway)["policy"]["inForce"]
    gateway.declare(spam=gateway.basis["spam"] | {"rules": f"{FOUR}{line}\n"})

    def refused() -> Object:
        seen = gateway.cluster.wait_condition("mailfilter", "mx", gateway.namespace, "PolicyActive", "False")
        assert seen["reason"] == "InvalidRules"
        return seen

    assert re.search(f"line 3: .*{reason}", wait_for(refused, "the refusal")["message"])
    report = gateway.verdict(message("offer", OFFER))
    assert report["quarantine"].startswith("spam/")
    assert f"P-{hash_before[:12]}" in report["policy_banks"]
    assert pods(gateway) == before
    gateway.apply()
    assert verdict(gateway, message()) == "Clean"


def test_b19_a_stream_of_mail_does_not_feel_a_change(gateway: Gateway) -> None:
    """Nor is a new domain's first mail refused anywhere on its way, which would send it back."""
    relay = {"host": gateway.post.sink_host}
    domains: list[Object] = [{"name": "example.com", "relay": relay}]
    firsts: list[EmailMessage] = []
    changed = Event()

    def stream() -> list[EmailMessage]:
        mails: list[EmailMessage] = []
        while not changed.is_set() and len(mails) < 1000:
            mails.append(message(f"stream {len(mails)}"))
            gateway.send(mails[-1])
        return mails

    with ThreadPoolExecutor(1) as pool:
        sender = pool.submit(stream)
        try:
            for number in range(3):
                domains.append({"name": f"d{number}.example", "relay": relay})
                gateway.apply(domains=domains, lists={"deny": [f"pest{number}@client.example"]})
                firsts.append(message("first"))
                gateway.send(firsts[-1], to=f"bob@{domains[-1]['name']}")
        finally:
            changed.set()
        mails = sender.result()
    for mail in mails + firsts:
        gateway.post.expect(mail)
    assert len({gateway.report(mail)["policy_banks"][0] for mail in mails}) > 1


def test_a_plan_foresees_which_pods_roll(gateway: Gateway) -> None:
    """Of a gateway to whose objects the cluster's controllers write as well."""
    spec = mailfilter(gateway.post, gateway.name, **gateway.basis)["spec"]
    where = (gateway.cluster.kubeconfig, gateway.namespace, gateway.name)
    plan = Plan(*where, spec)
    assert (plan.status, plan.errors) == (0, ""), plan.printed
    plan = Plan(*where, with_changes(spec, amavis={"resources": {"limits": {"memory": "4Gi"}}}))
    assert plan.status == 1
    assert [line for line in plan.lines if line.startswith("rolls ")] == ["rolls mx-amavis-0 (StatefulSet mx-amavis)"]
    plan = Plan(*where, with_changes(spec, lists={"deny": ["bad@client.example"]}))
    assert plan.status == 1
    assert "rolls no pod" in plan.lines
