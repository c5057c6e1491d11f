"""No mail passes unscanned, and none is lost while there is nothing to scan it with."""

import json
import time
from collections.abc import Iterator

import pytest

from support.cluster import Cluster, Object, is_ready
from support.gateway import COMPONENT
from support.install import Images
from support.mail import SIGNATURE, Post, message, virus
from support.run import wait_for
from support.victim import Victim

PEST = "A pest that nobody knows yet."
LATER_SIGNATURE = f"Custom.Pest.ndb:0:*:{PEST.encode().hex()}\n"


@pytest.fixture(scope="module")
def gateway(cluster: Cluster, operator: str, post: Post) -> Victim:
    return Victim(cluster, post).start()


@pytest.fixture
def running_clamd(gateway: Victim) -> Iterator[None]:
    """Whatever a test does to clamd is undone."""
    yield
    gateway.put()
    gateway.ready()


def no_clamd(gateway: Victim) -> None:
    """Scale clamd to 0, and wait until none answers: one on its way out still scans."""
    gateway.put(clamd={"replicas": 0})
    gateway.wait("ScannerAvailable", "False")
    gateway.kubectl("wait", "pod", "-l", f"{COMPONENT}=clamd", "--for=delete", "--timeout=180s", timeout=190)


def serve(gateway: Victim, signatures: str) -> None:
    """What the server of signatures has from now on."""
    gateway.kubectl("patch", "configmap", "post", "-p", json.dumps({"data": {"custom.ndb": signatures}}))

    def served() -> bool:
        # Makes the kubelet bring the file into the pod now; it may look before it has heard of the change.
        gateway.kubectl("annotate", "pod", "signatures", f"test/at={time.time()}", "--overwrite")
        return gateway.post.http(gateway.post.signatures_url) == signatures

    wait_for(served, "the server's new file", interval=2)


def fetch_now(gateway: Victim) -> None:
    """Make the mirror ask the server again, as it does when it starts."""
    gateway.kubectl("delete", "pod", gateway.pod("freshclam"))


def fetch_fails(gateway: Victim) -> None:
    """Make the mirror ask the server again, in vain."""
    fetch_now(gateway)
    wait_for(
        lambda: "failed, next try" in gateway.cluster.logs(gateway.pod("freshclam"), gateway.namespace, "freshclam"),
        "a failed update of the mirror",
    )


def test_b34_mail_waits_while_no_clamd_runs(gateway: Victim, post: Post, running_clamd: None) -> None:
    no_clamd(gateway)
    clean, bad = message(), virus()
    assert [reply.code for reply in post.send(clean, bad)] == [250, 250]

    def waiting() -> Object:
        status = gateway.status()
        assert status["queue"]["deferred"] == 2
        conditions = {one["type"]: one for one in status["conditions"]}
        assert conditions["Ready"]["status"] == "False"
        assert conditions["Ready"]["reason"] == "VirusScannerDown"
        scanner: Object = conditions["ScannerAvailable"]
        assert "2 mails wait" in scanner["message"]
        return scanner

    scanner = wait_for(waiting, "two waiting mails in the conditions")
    assert (scanner["status"], scanner["reason"]) == ("False", "VirusScannerDown")
    assert not post.copies(clean)
    assert not post.copies(bad)

    gateway.put()
    gateway.ready()
    post.expect(clean)
    assert gateway.report(bad)["quarantine"].startswith("virus/")
    assert not post.copies(bad)
    wait_for(lambda: gateway.status()["queue"] == {"active": 0, "deferred": 0, "oldestSeconds": 0}, "an empty queue")
    assert len(post.copies(clean)) == 1


def test_waiting_mail_does_not_wait_for_the_next_try_when_clamd_is_back(
    gateway: Victim, post: Post, running_clamd: None
) -> None:
    """Postfix tries a mail the less often the longer it waits."""
    no_clamd(gateway)
    mail = message()
    assert post.send(mail)[0].code == 250
    wait_for(lambda: gateway.deferred() == 1, "the mail in the queue")
    # As if it had waited for long already: the file's time is when it is tried next.
    queue = gateway.volume(f"queue-{gateway.pod('postfix')}")
    gateway.on_node("find", f"{queue}/deferred", "-type", "f", "-exec", "touch", "-d", "+1 hour", "{}", "+")
    gateway.put()
    gateway.ready()
    post.expect(mail)


def test_b36_a_hanging_clamd_is_not_ready(gateway: Victim, post: Post) -> None:
    gateway.signal("clamd", "clamd", "SIGSTOP")
    try:
        wait_for(lambda: not is_ready(gateway.live("clamd")[0]), "a pod that is not ready")
        assert gateway.wait("ScannerAvailable", "False")["reason"] == "VirusScannerDown"
    finally:
        gateway.signal("clamd", "clamd", "SIGCONT")
    gateway.ready()
    assert gateway.live("clamd")[0]["status"]["containerStatuses"][0]["restartCount"] == 0
    mail = message()
    gateway.send(mail)
    post.expect(mail)


def test_a_broken_update_keeps_the_old_signatures(gateway: Victim, post: Post) -> None:
    before = gateway.uids()["mx-freshclam-0"]
    serve(gateway, "this is no signature\n")
    try:
        fetch_fails(gateway)
        gateway.ready()
        assert gateway.uids()["mx-freshclam-0"] != before
        assert gateway.wait("SignaturesFresh")["reason"] == "Fetched"
        mail = virus()
        gateway.send(mail)
        assert gateway.report(mail)["quarantine"].startswith("virus/")
    finally:
        serve(gateway, SIGNATURE)


def test_signatures_outlive_their_server(gateway: Victim, post: Post, images: Images) -> None:
    gateway.kubectl("delete", "service", "signatures")
    try:
        fetch_fails(gateway)
        gateway.ready()
        gateway.kubectl("delete", "pod", gateway.pod("clamd"))
        gateway.ready()
        mail = virus()
        gateway.send(mail)
        assert gateway.report(mail)["quarantine"].startswith("virus/")
    finally:
        post.start(images["operator"])


def test_a_new_signature_reaches_clamd(gateway: Victim, post: Post) -> None:
    first = message(body=f"{PEST}\n")
    gateway.send(first)
    post.expect(first)
    serve(gateway, SIGNATURE + LATER_SIGNATURE)
    fetch_now(gateway)
    clamd = gateway.pod("clamd")
    wait_for(
        lambda: "Database correctly reloaded (2 signatures)" in gateway.cluster.logs(clamd, gateway.namespace, "clamd"),
        "clamd with two signatures",
        300,
    )
    second = message(body=f"{PEST}\n")
    gateway.send(second)
    assert gateway.report(second)["quarantine"].startswith("virus/")
    assert not post.copies(second)


def test_a_gateway_without_signatures_waits_for_them(cluster: Cluster, operator: str, post: Post) -> None:
    young = Victim(cluster, post, "young")
    young.put(
        freshclam={"officialDatabases": False, "customURLs": [f"http://later.{post.namespace}.svc:8080/custom.ndb"]}
    )
    assert young.wait("SignaturesFresh", "False")["reason"] == "NoSignatures"
    assert young.wait("ScannerAvailable", "False")["reason"] == "WaitingForSignatures"
    assert young.wait("Ready", "False")
    spec = {"selector": {"post": "signatures"}, "ports": [{"port": 8080}]}
    cluster.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "later"}, "spec": spec}, post.namespace)
    young.ready()
    assert young.wait("SignaturesFresh")["reason"] == "Fetched"
