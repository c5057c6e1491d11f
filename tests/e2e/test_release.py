"""Held mail is given back: to whom it is owed, as it came, once for each release; and status never says more."""

import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import yaml

from mailfilter.plugin import agent
from mailfilter.plugin.errors import PluginError
from mailfilter.plugin.forward import forward
from mailfilter.plugin.gateway import token
from mailfilter.plugin.kubectl import Kubectl
from support import ROOT, install
from support.cluster import Cluster, Object
from support.gateway import SMALL, Gateway
from support.mail import Post, Received, message, virus
from support.run import CommandError, run, wait_for
from support.tenant import Tenant

RULES = "body E2E_OFFER /cheap pills for tests/\nscore E2E_OFFER 7\n"
OFFER = "Buy our cheap pills for tests.\n"
# Postfix expands no mail to more than 1000 recipients: it answers 451 on its reinjection port until this is undone.
TOO_MANY = {
    "bob": [f"team{number}@example.com" for number in range(25)],
    **{f"team{number}": [f"t{number}-{one}@example.com" for one in range(50)] for number in range(25)},
}


@pytest.fixture(scope="module")
def mx(cluster: Cluster, operator: str, post: Post) -> Gateway:
    basis = {
        "domains": domains(post, "example.com", "example.org"),
        "spam": {"localTestsOnly": True, "rules": RULES},
    }
    gateway = Gateway(cluster, post, basis)
    gateway.apply()
    return gateway


@pytest.fixture
def gateway(mx: Gateway) -> Gateway:
    """The module's gateway with the policy that it started with."""
    mx.apply()
    return mx


def domains(post: Post, *names: str, **more: object) -> list[Object]:
    return [{"name": name, "relay": {"host": post.sink_host}, **more} for name in names]


def offer(**kwargs: Any) -> EmailMessage:
    """A mail that is held as spam."""
    return message("offer", OFFER, **kwargs)


def create(gateway: Gateway, *messages: str, **spec: object) -> str:
    """Create a QuarantineRelease; its name."""
    body = {
        "apiVersion": "mailfilter.dev/v1alpha1",
        "kind": "QuarantineRelease",
        "metadata": {"generateName": "release-"},
        "spec": {"mailFilter": gateway.name, **({"messages": list(messages)} if messages else {}), **spec},
    }
    return gateway.cluster.create(body, gateway.namespace)


def status(gateway: Gateway, name: str) -> Object:
    found: Object = gateway.cluster.get("quarantinerelease", name, gateway.namespace).get("status", {})
    return found


def ended(gateway: Gateway, name: str) -> Object:
    """The status of a release that has ended."""
    gateway.cluster.wait_condition("quarantinerelease", name, gateway.namespace, "Complete")
    return status(gateway, name)


def release(gateway: Gateway, *messages: str, **spec: object) -> Object:
    """Create a QuarantineRelease and wait for its end; its status."""
    return ended(gateway, create(gateway, *messages, **spec))


def retrying(gateway: Gateway, name: str) -> Object:
    """The first message of a release, once a try of it was put off."""

    def put_off() -> Object:
        one: Object = next(iter(status(gateway, name).get("messages", [])), {})
        assert one.get("result") == "Retrying", one
        return one

    return wait_for(put_off, f"{name}: Retrying")


@contextmanager
def refusing_for_a_while(gateway: Gateway) -> Iterator[dict[str, list[Object]]]:
    """Postfix answers mail to bob@example.com with 451 on the reinjection port; the value is what makes it do so."""
    refusing = {"domains": domains(gateway.post, "example.com", aliases=TOO_MANY)}
    gateway.apply(**refusing)
    yield refusing
    gateway.apply()


def copies_after(gateway: Gateway, name: str, mail: EmailMessage, wanted: int = 1) -> list[Received]:
    """All copies of a mail whose release has ended; a mail sent later shows that no more are on their way."""
    ended(gateway, name)
    wait_for(lambda: len(gateway.post.copies(mail)) >= wanted, f"{wanted} copies of '{mail['Subject']}'")
    last = message("last")
    gateway.send(last)
    gateway.post.expect(last)
    return gateway.post.copies(mail)


def test_b07_b09_held_spam_goes_to_its_recipient_as_it_came(gateway: Gateway) -> None:
    mail = offer(headers={"X-Of-Sender": "kept"})
    (held,) = gateway.held(mail)
    name = create(gateway, held)
    (copy,) = copies_after(gateway, name, mail)
    assert (copy.sender, copy.recipients) == ("alice@sender.example", ["bob@example.com"])
    for field in ("From", "To", "Date", "Message-ID", "Subject", "X-Of-Sender"):
        assert copy.header(field) == mail[field]
    # On its way in, on its way to the filter, and on its way out of the quarantine.
    hops = [value for field, value in copy.headers if field == "Received"]
    assert any("from client.sender.example" in hop for hop in hops), hops
    assert copy.header("Resent-To") == "<bob@example.com>"
    assert held[7:].removesuffix(".gz") in str(copy.header("Resent-Message-ID"))
    assert copy.header("Resent-Date")
    assert copy.header("X-Spam-Flag") is None
    found = status(gateway, name)
    (one,) = found["messages"]
    assert (found["phase"], found["progress"], one["result"], one["attempts"]) == ("Released", "1/1", "Released", 1)
    assert one["reply"].startswith("250 2.0.0 ")
    assert one["reply"].endswith(f"queued as {one['queueId']}")
    assert found["completionTime"]
    assert held in gateway.quarantined()


def test_columns_tell_the_state_and_the_spec_is_fixed(gateway: Gateway) -> None:
    (held,) = gateway.held(offer())
    name = create(gateway, held)
    ended(gateway, name)
    heads, cells = gateway.cluster.kubectl("-n", gateway.namespace, "get", "qrel", name).splitlines()
    assert heads.split() == ["NAME", "MAILFILTER", "PHASE", "RELEASED", "AGE"]
    assert cells.split()[:4] == [name, "mx", "Released", "1/1"]
    patch = '{"spec": {"allowVirus": true}}'
    with pytest.raises(CommandError, match="create another QuarantineRelease"):
        gateway.cluster.kubectl("-n", gateway.namespace, "patch", "qrel", name, "--type=merge", "-p", patch)


def test_another_release_sends_the_mail_again(gateway: Gateway) -> None:
    mail = offer()
    (held,) = gateway.held(mail)
    assert release(gateway, held)["phase"] == "Released"
    name = create(gateway, held)
    assert len(copies_after(gateway, name, mail, 2)) == 2


def test_b04_both_blocked_recipients_get_it_and_nobody_else(gateway: Gateway) -> None:
    mail = offer(to="outsider@example.net")
    (held,) = gateway.held(mail, to=["bob@example.com", "dave@example.org"])
    name = create(gateway, held)
    copies = copies_after(gateway, name, mail)
    assert sorted(who for copy in copies for who in copy.recipients) == ["bob@example.com", "dave@example.org"]
    (one,) = status(gateway, name)["messages"]
    assert {each["address"]: each["released"] for each in one["recipients"]} == {
        "bob@example.com": True,
        "dave@example.org": True,
    }


def test_other_recipients_get_it_instead(gateway: Gateway) -> None:
    mail = offer()
    (held,) = gateway.held(mail)
    name = create(gateway, held, recipients=["audit@example.org"])
    assert [copy.recipients for copy in copies_after(gateway, name, mail)] == [["audit@example.org"]]


def test_a_recipient_outside_the_domains_is_refused_with_the_reply(gateway: Gateway) -> None:
    mail = offer()
    (held,) = gateway.held(mail)
    name = create(gateway, held, recipients=["bob@example.com", "eve@elsewhere.example"])
    assert [copy.recipients for copy in copies_after(gateway, name, mail)] == [["bob@example.com"]]
    found = status(gateway, name)
    (one,) = found["messages"]
    assert (found["phase"], one["result"]) == ("Failed", "Failed")
    replies = {each["address"]: each["reply"] for each in one["recipients"]}
    assert replies["bob@example.com"].startswith("250 2.0.0 ")
    assert replies["eve@elsewhere.example"].startswith("554 5.7.1 ")
    assert one["reply"] == replies["eve@elsewhere.example"]


def test_b01_a_final_refusal_is_a_failure_with_the_reply(gateway: Gateway) -> None:
    mail = offer(to="dave@example.org")
    (held,) = gateway.held(mail, to="dave@example.org")
    gateway.apply(domains=domains(gateway.post, "example.com"))
    found = release(gateway, held)
    (one,) = found["messages"]
    assert (found["phase"], one["result"]) == ("Failed", "Failed")
    assert one["reply"].startswith("554 5.7.1 ")
    assert "dave@example.org" in one["reply"]
    assert held in gateway.quarantined()
    gateway.apply()
    assert release(gateway, held)["phase"] == "Released"
    assert gateway.post.expect(mail).recipients == ["dave@example.org"]


def test_b01_a_temporary_refusal_is_tried_again_until_it_is_gone(gateway: Gateway) -> None:
    mail = offer()
    (held,) = gateway.held(mail)
    with refusing_for_a_while(gateway):
        name = create(gateway, held)
        one = retrying(gateway, name)
        assert one["reply"].startswith("451 4.")
        assert status(gateway, name)["phase"] == "Releasing"
        assert held in gateway.quarantined()
    assert len(copies_after(gateway, name, mail)) == 1
    (one,) = status(gateway, name)["messages"]
    assert (one["result"], one["attempts"] > 1) == ("Released", True)


def test_b02_what_is_not_there_is_not_released(gateway: Gateway) -> None:
    found = release(gateway, "spam/A/AAAAAAAAAAAA.gz")
    (one,) = found["messages"]
    assert (found["phase"], one["result"], one["reason"], one["attempts"]) == ("Failed", "Failed", "NotFound", 1)


def test_b02_a_mail_that_nobody_is_owed_is_not_released(gateway: Gateway) -> None:
    gateway.apply(spam=gateway.basis["spam"] | {"destiny": "Pass"})
    mail = offer()
    (held,) = gateway.held(mail)
    name = create(gateway, held)
    assert len(copies_after(gateway, name, mail)) == 1
    found = status(gateway, name)
    (one,) = found["messages"]
    assert (found["phase"], found["progress"], one["result"]) == ("Failed", "0/1", "Failed")
    assert one["reason"] == "NothingToDo"


def test_b03_banned_mail_is_released_without_naming_recipients(gateway: Gateway) -> None:
    mail = message("tool", attachments={"tool.exe": b"harmless"})
    (held,) = gateway.held(mail)
    assert held.startswith("banned/")
    assert release(gateway, held)["phase"] == "Released"
    copy = gateway.post.expect(mail)
    assert copy.recipients == ["bob@example.com"]
    assert 'filename="tool.exe"' in copy.body


def test_a_virus_is_released_only_when_that_is_said(gateway: Gateway) -> None:
    mail = virus()
    (held,) = gateway.held(mail)
    found = release(gateway, held)
    assert (found["phase"], found["messages"][0]["reason"]) == ("Failed", "VirusNotAllowed")
    name = create(gateway, held, allowVirus=True)
    assert len(copies_after(gateway, name, mail)) == 1
    assert status(gateway, name)["phase"] == "Released"


def test_messages_fail_for_themselves(gateway: Gateway) -> None:
    good, infected = offer(), virus()
    gone, one, other = "spam/A/AAAAAAAAAAAA.gz", *gateway.held(good, infected)
    found = release(gateway, gone, one, other, reportTo=["learn@example.org"])
    assert (found["phase"], found["progress"]) == ("PartiallyReleased", "1/3")
    assert {each["id"]: each.get("reason") for each in found["messages"]} == {
        gone: "NotFound",
        one: None,
        other: "VirusNotAllowed",
    }
    wait_for(lambda: len(gateway.post.copies(good)) == 2, "the mail and the report of it")
    assert {each.recipients[0]: each.subject for each in gateway.post.copies(good)} == {
        "bob@example.com": good["Subject"],
        "learn@example.org": f"Fw: {good['Subject']}",
    }
    assert not gateway.post.copies(infected)


def test_a_finished_release_is_deleted_when_its_time_has_come_and_its_sender_stays_allowed(gateway: Gateway) -> None:
    mail, later = offer(), offer()
    (held,) = gateway.held(mail, sender="partner@sender.example")
    name = create(gateway, held, allowSender=True, ttlSecondsAfterFinished=1)
    wait_for(lambda: gateway.cluster.find("qrel", name, gateway.namespace) is None, f"the end of {name}")
    assert gateway.post.expect(mail).recipients == ["bob@example.com"]
    gateway.cluster.wait_condition("mailfilter", gateway.name, gateway.namespace, "Ready")
    gateway.send(later, sender="partner@sender.example")
    assert gateway.post.expect(later).recipients == ["bob@example.com"]


def test_a_release_for_a_gateway_that_is_not_there_waits_and_says_so(gateway: Gateway) -> None:
    body = {
        "apiVersion": "mailfilter.dev/v1alpha1",
        "kind": "QuarantineRelease",
        "metadata": {"name": "elsewhere"},
        "spec": {"mailFilter": "elsewhere", "messages": ["spam/A/AAAAAAAAAAAA.gz"]},
    }
    gateway.cluster.apply(body, gateway.namespace)
    seen = gateway.cluster.wait_condition("qrel", "elsewhere", gateway.namespace, "Complete", status="False")
    assert seen["reason"] == "NoAgent"
    assert status(gateway, "elsewhere")["phase"] == "Pending"


def test_an_administrator_of_the_quarantine_needs_no_more_than_the_documented_role(gateway: Gateway) -> None:
    mails = [offer(), offer()]
    given, deleted = gateway.held(*mails)
    anna = Tenant(gateway.cluster, gateway.namespace, "quarantine-administrator")
    listed = anna.document("list", "--subject", str(mails[0]["Subject"]))
    assert [one["id"] for one in listed["items"]] == [given]
    assert anna.document("show", given)["tests"]["E2E_OFFER"] == 7
    assert OFFER in anna.run("show", given, "--preview")[1]
    status, printed, errors = anna.run("release", given, "--wait")
    assert (status, errors) == (0, ""), errors
    assert "Released, all of 1 released" in printed
    assert gateway.post.expect(mails[0]).recipients == ["bob@example.com"]
    assert anna.run("delete", deleted, "--yes") == (0, "1 deleted\n", "")
    assert deleted not in gateway.quarantined()
    seen = anna.document("status")
    assert seen["quarantine"]["kinds"]["spam"]["oneDay"]["messages"] > 0
    for kind in ("clean", "virus"):
        status, printed, errors = anna.run("probe", "bob@example.com", "--send", kind)
        assert status == 0, printed + errors


def test_who_may_only_release_can_do_nothing_else(gateway: Gateway) -> None:
    mail = offer()
    (held,) = gateway.held(mail)
    bert = Tenant(gateway.cluster, gateway.namespace, "quarantine-release")
    status, printed, errors = bert.run("release", held, "-m", "mx", "--wait")
    assert status == 0, errors
    gateway.post.expect(mail)
    for words in (("list",), ("show", held), ("delete", held, "--yes"), ("status",), ("probe", "bob@example.com")):
        status, printed, errors = bert.run(*words, "-m", "mx")
        assert (status, printed) == (1, ""), words
        assert "is forbidden" in errors
    assert held in gateway.quarantined()


@pytest.fixture
def other_namespace(cluster: Cluster, namespace: str) -> Iterator[str]:
    name = f"{namespace}-other"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


def test_tenants_in_two_namespaces_are_apart(gateway: Gateway, other_namespace: str) -> None:
    """Who administers the quarantine of one namespace neither sees nor releases another's mail: RBAC refuses it. And so
    does the agent, whoever reaches it with another token."""
    (held,) = gateway.held(offer())
    before = len(gateway.cluster.objects("quarantinereleases", gateway.namespace))
    theirs = Tenant(gateway.cluster, other_namespace, "quarantine-administrator")
    for words in (("list",), ("show", held), ("release", held), ("delete", held, "--yes"), ("status",)):
        status, printed, errors = theirs.run(*words, "-m", gateway.name, namespace=gateway.namespace)
        assert (status, printed) == (1, ""), words
        assert "is forbidden" in errors
    assert len(gateway.cluster.objects("quarantinereleases", gateway.namespace)) == before
    kubectl = Kubectl(gateway.namespace, kubeconfig=str(gateway.cluster.kubeconfig))
    with forward(kubectl, gateway.pods("amavis")[0]["metadata"]["name"], agent.PORT) as to:
        with pytest.raises(PluginError, match="refuses the token"):
            agent.Agent(to, "of-another-gateway", "mx-agent").mail(held)
        own = token(kubectl, gateway.name)
        assert agent.Agent(to, own, "mx-agent").mail(held)["id"] == held


def kill_operator(gateway: Gateway) -> None:
    label = "app.kubernetes.io/name=mailfilter-operator"
    command = ("delete", "pod", "-l", label, "--grace-period=0", "--force")
    gateway.cluster.kubectl("-n", install.SYSTEM, *command)


def kill_agent(gateway: Gateway) -> None:
    gateway.cluster.kill_container(gateway.pods("amavis")[0]["metadata"]["name"], "agent", gateway.namespace)


def kill_pod(gateway: Gateway) -> None:
    """The pod of amavis with its agent, as when its node is lost."""
    name = gateway.pods("amavis")[0]["metadata"]["name"]
    gateway.cluster.kubectl("-n", gateway.namespace, "delete", "pod", name, "--grace-period=0", "--force")


def kill_postfix(gateway: Gateway) -> None:
    """The pod of Postfix with its agent."""
    name = gateway.pods("postfix")[0]["metadata"]["name"]
    gateway.cluster.kubectl("-n", gateway.namespace, "delete", "pod", name, "--grace-period=0", "--force")


def kill_amavis(gateway: Gateway) -> None:
    gateway.cluster.kill_container(gateway.pods("amavis")[0]["metadata"]["name"], "amavis", gateway.namespace)


@pytest.mark.parametrize("kill", [kill_operator, kill_agent])
def test_each_mail_is_released_once_whoever_dies_meanwhile(gateway: Gateway, kill: Any) -> None:
    mails = [offer() for _ in range(6)]
    waiting = gateway.held(mails[0], to="bob@example.com")
    others = gateway.held(*mails[1:], to="carol@example.com")
    with refusing_for_a_while(gateway):
        # Bob's cannot be sent yet: the release is in its middle as long as this lasts.
        name = create(gateway, *waiting, *others)
        retrying(gateway, name)
        kill(gateway)
    found = ended(gateway, name)
    assert (found["phase"], found["progress"]) == ("Released", "6/6")
    copies_after(gateway, name, mails[-1])
    assert [len(gateway.post.copies(mail)) for mail in mails] == [1] * 6


@pytest.mark.parametrize(
    ("trouble", "seen"),
    [("452", "status=deferred"), ("550", "status=bounced"), ("hang", ""), ("close", "status=deferred")],
)
def test_what_the_next_hop_does_later_loses_no_released_mail(gateway: Gateway, trouble: str, seen: str) -> None:
    mail = offer()
    (held,) = gateway.held(mail)
    postfix = ("-n", gateway.namespace, "exec", "mx-postfix-0", "-c", "postfix", "--")

    def log(queue_id: str) -> list[str]:
        lines = gateway.cluster.logs("mx-postfix-0", gateway.namespace, "postfix").splitlines()
        return [line for line in lines if f" {queue_id}: " in line]

    def came() -> bool:
        gateway.cluster.kubectl(*postfix, "postqueue", "-f")
        return bool(gateway.post.copies(mail))

    gateway.post.sink_mode(trouble)
    try:
        (one,) = release(gateway, held)["messages"]
        assert (one["result"], bool(one["queueId"])) == ("Released", True)

        def told() -> bool:
            if not seen:
                queue = gateway.cluster.get("mailfilter", gateway.name, gateway.namespace)["status"]["queue"]
                return bool(queue["active"])
            return any("to=<bob@example.com>" in line and seen in line for line in log(one["queueId"]))

        wait_for(told, "what became of it")
        assert not gateway.post.copies(mail)
    finally:
        gateway.post.sink_mode("")
    if trouble == "550":
        # It is still held.
        assert release(gateway, held)["phase"] == "Released"
    wait_for(came, "the mail at the next hop")
    assert gateway.post.expect(mail).recipients == ["bob@example.com"]
    about = log(one["queueId"])
    assert about
    assert not [line for line in about if "notification" in line], "somebody is sent a bounce"


# In the agent's container: copies of a held mail, each with an id and a subject of its own.
MULTIPLY = """
import gzip, pathlib, sys
held, number = sys.argv[1], int(sys.argv[2])
original = gzip.decompress(pathlib.Path(held).read_bytes()).replace(b"alice@sender", b"many@sender")
mail_id = held.rpartition("/")[2].removesuffix(".gz").encode()
pathlib.Path("spam/m").mkdir(exist_ok=True)
for one in range(number):
    name = f"m{one:011}"
    copy = original.replace(mail_id, name.encode()).replace(b"Subject: offer", f"Subject: {name} offer".encode())
    pathlib.Path(f"spam/m/{name}.gz").write_bytes(gzip.compress(copy))
    print(name)
"""


def in_quarantine(gateway: Gateway, *command: str) -> list[str]:
    """What a command prints, word for word; none while the agent's container starts."""
    pod = gateway.pods("amavis")[0]["metadata"]["name"]
    shell = ("sh", "-c", 'cd /var/lib/amavis/quarantine && exec "$@"', "sh")
    return gateway.cluster.kubectl("-n", gateway.namespace, "exec", pod, "-c", "agent", "--", *shell, *command).split()


def test_a_selector_gives_each_of_many_back_once_whoever_dies_meanwhile(
    gateway: Gateway, request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> None:
    number, rounds = request.config.getoption("--held"), request.config.getoption("--kills")
    victims = (kill_pod, kill_operator, kill_postfix) * rounds if rounds else (kill_agent, kill_amavis, kill_operator)
    (held,) = gateway.held(offer())
    names = in_quarantine(gateway, "python", "-c", MULTIPLY, held, str(number))
    begun = time.monotonic()
    name = create(gateway, selector={"sender": "many@sender.example"})
    uid = gateway.cluster.get("quarantinerelease", name, gateway.namespace)["metadata"]["uid"]

    def tried() -> int:
        return len(in_quarantine(gateway, "find", ".releases", "-name", f"{uid}.*"))

    before = 0
    for kill in victims:
        wait_for(lambda before=before: tried() > before + 10, f"more than {before} mails were tried")  # type: ignore[misc]
        kill(gateway)
        before = wait_for(tried, "the number of tried mails")
        assert before < number, f"too late to {kill.__name__}"
    found = ended(gateway, name)
    record_property("mails", number)
    record_property("killed", len(victims))
    record_property("seconds", round(time.monotonic() - begun, 1))
    assert found["counts"] == {"total": number, "released": number, "failed": 0, "retrying": 0, "infected": 0}
    assert not found.get("messages")

    def arrived() -> Counter[str]:
        mails = [one for one in gateway.post.received() if one.sender == "many@sender.example"]
        assert {who for one in mails for who in one.recipients} <= {"bob@example.com"}
        return Counter(one.subject.split()[0] for one in mails)

    wait_for(lambda: set(names) <= arrived().keys(), "all mails at the next hop")
    assert set(arrived().values()) == {1}


def test_b64_the_oldest_ends_when_too_much_is_held_but_nothing_that_is_to_be_released(gateway: Gateway) -> None:
    mails = [offer(), offer()]
    kept, gone = gateway.held(*mails)
    with refusing_for_a_while(gateway) as refusing:
        name = create(gateway, kept)
        retrying(gateway, name)
        gateway.apply(**refusing, quarantine=SMALL["quarantine"] | {"maxSize": "1"})
        wait_for(lambda: held_messages(gateway) == 1, "the end of all other mail")
        assert release(gateway, gone)["messages"][0]["reason"] == "NotFound"
        assert status(gateway, name)["phase"] == "Releasing"
    assert ended(gateway, name)["phase"] == "Released"
    copies_after(gateway, name, mails[0])
    assert [len(gateway.post.copies(mail)) for mail in mails] == [1, 0]


def held_messages(gateway: Gateway) -> int:
    found: int = gateway.cluster.get("mailfilter", gateway.name, gateway.namespace)["status"]["quarantine"]["messages"]
    return found


def page(name: str) -> list[Object]:
    """The objects of the example on a page that has an object of this name."""
    blocks = re.findall(r"^```yaml\n(.*?)^```$", (ROOT / "docs/backup.md").read_text(), re.MULTILINE | re.DOTALL)
    examples = [list(yaml.safe_load_all(block)) for block in blocks]
    (found,) = [one for one in examples if any(body["metadata"]["name"] == name for body in one)]
    return found


def plugin(gateway: Gateway, *words: str) -> str:
    """What `kubectl mailfilter` prints."""
    program = Path(sys.executable).with_name("kubectl-mailfilter")
    return run(program, *words, "-n", gateway.namespace, env=gateway.cluster.env)


def nightly(gateway: Gateway, images: install.Images) -> str:
    """Begins the job of docs/backup.md; its name."""
    claim, policy, cron = page("quarantine-archives")
    claim["spec"]["resources"]["requests"]["storage"] = "1Gi"
    cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["image"] = images["operator"]
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "nightly"}, **cron["spec"]["jobTemplate"]}
    gateway.cluster.apply([claim, policy, cron, job], gateway.namespace)
    return "nightly"


def test_what_an_archive_brings_back_is_held_and_released_as_it_was_before(
    gateway: Gateway, images: install.Images, tmp_path: Path
) -> None:
    mails = [message("archived", OFFER) for _ in range(2)]
    given, kept = gateway.held(*mails)
    release(gateway, given)
    gateway.post.expect(mails[0])
    job = nightly(gateway, images)
    listed = plugin(gateway, "list", "--subject", "archived", "-o", "json")
    assert given in listed
    assert kept in listed
    archive = str(tmp_path / "held.tar")
    plugin(gateway, "export", archive, "--subject", "archived")
    in_quarantine(gateway, "rm", "-r", given, kept, ".releases", ".jobs")
    assert plugin(gateway, "import", archive) == "2 imported, 0 held already, 0 left out\n"
    assert plugin(gateway, "list", "--subject", "archived", "-o", "json") == listed
    found = release(gateway, selector={"subject": "archived"})
    assert (found["phase"], found["counts"]["total"]) == ("Released", 1)
    assert gateway.post.expect(mails[1]).recipients == ["bob@example.com"]
    assert len(gateway.post.copies(mails[0])) == 1
    gateway.cluster.kubectl(
        "-n", gateway.namespace, "wait", "job", job, "--for=condition=Complete", "--timeout=180s", timeout=190
    )
    assert "held mails are in /archives/quarantine-" in gateway.cluster.logs(f"job/{job}", gateway.namespace)
