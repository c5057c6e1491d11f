"""Whatever breaks: mail that was taken in is delivered, held, or waits. Nothing is lost, nothing bounces."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from email.message import EmailMessage

import pytest

from support.cluster import Cluster, Object
from support.gateway import reports
from support.mail import Post, message, virus
from support.run import wait_for
from support.victim import Victim

MANY = 100
CLAMD_PORT = 3310
AGENTS = (("postfix", "agent"), ("amavis", "agent"), ("freshclam", "mirror"))


@pytest.fixture(scope="module")
def gateway(cluster: Cluster, operator: str, post: Post) -> Victim:
    domains = [
        {"name": "example.com", "relay": {"host": post.sink_host}},
        {"name": "example.org", "relay": {"host": f"later.{post.namespace}.svc"}},
    ]
    return Victim(cluster, post, domains=domains).start()


@contextmanager
def no_operator(cluster: Cluster, namespace: str) -> Iterator[None]:
    """The operator is not there."""
    deployment = "deployment/mailfilter-operator"
    cluster.kubectl("-n", namespace, "scale", deployment, "--replicas=0")
    gone = ("-l", "app.kubernetes.io/name=mailfilter-operator", "--for=delete", "--timeout=180s")
    cluster.kubectl("-n", namespace, "wait", "pod", *gone, timeout=190)
    try:
        yield
    finally:
        cluster.kubectl("-n", namespace, "scale", deployment, "--replicas=1")
        cluster.kubectl("-n", namespace, "rollout", "status", deployment, "--timeout=180s", timeout=190)


@contextmanager
def nothing_passed_on(gateway: Victim) -> Iterator[None]:
    """Postfix takes mail and leaves all of it in its queue."""
    gateway.signal("postfix", "postfix", "SIGSTOP", "qmgr")
    try:
        yield
    finally:
        gateway.signal("postfix", "postfix", "SIGCONT", "qmgr")


@contextmanager
def no_next_hop(gateway: Victim) -> Iterator[None]:
    """The next hop's Service has nobody behind it."""

    def point_to(pod: str) -> None:
        gateway.kubectl("patch", "service", "sink", "-p", f'{{"spec": {{"selector": {{"post": "{pod}"}}}}}}')

    point_to("nobody")
    wait_for(lambda: not gateway.post.reaches("sink", 25), "an unreachable next hop")
    try:
        yield
    finally:
        point_to("sink")
        wait_for(lambda: gateway.post.reaches("sink", 25), "a next hop")


def counts(post: Post, mails: list[EmailMessage]) -> list[int]:
    """How often the sink has each mail."""
    subjects = [copy.subject for copy in post.received()]
    return [subjects.count(mail["Subject"]) for mail in mails]


def all_there(post: Post, mails: list[EmailMessage]) -> Callable[[], list[int]]:
    def check() -> list[int]:
        found = counts(post, mails)
        missing = found.count(0)
        assert not missing, f"{missing} of {len(mails)} mails are missing"
        return found

    return check


def bounces(post: Post) -> list[str]:
    """Mail from the null sender that the sink got."""
    return [copy.subject for copy in post.received() if not copy.sender]


def deferrals(gateway: Victim, reason: str) -> list[str]:
    """Postfix' log lines of mail that waits for this reason."""
    log = gateway.cluster.logs("mx-postfix-0", gateway.namespace, "postfix")
    return [line for line in log.splitlines() if "status=deferred" in line and reason in line]


def resolves(gateway: Victim, host: str) -> bool:
    """Whether DNS knows a name of the gateway's namespace."""
    script = "import socket, sys\ntry: socket.getaddrinfo(sys.argv[1], 25)\nexcept OSError: print('unknown')"
    return not gateway.kubectl("exec", "client", "--", "python", "-c", script, host)


def scans(gateway: Victim) -> int:
    """Connections from amavis to clamd."""
    lines = gateway.kubectl("exec", "mx-amavis-0", "-c", "amavis", "--", "cat", "/proc/net/tcp", "/proc/net/tcp6")
    established = [line.split() for line in lines.splitlines() if " 01 " in line]
    return sum(fields[2].endswith(f":{CLAMD_PORT:04X}") for fields in established)


def kill_agents(gateway: Victim) -> None:
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda agent: gateway.kill_container(*agent), AGENTS))


KILLED: dict[str, Callable[[Victim], None]] = {
    "postfix": lambda gateway: gateway.kill("postfix"),
    "amavis": lambda gateway: gateway.kill("amavis"),
    "clamd": lambda gateway: gateway.kill("clamd"),
    "freshclam": lambda gateway: gateway.kill("freshclam"),
    "agents": kill_agents,
}


@pytest.mark.parametrize("killed", KILLED)
def test_a_kill_with_mail_in_flight_loses_none(
    gateway: Victim, post: Post, record_property: Callable[[str, object], None], killed: str
) -> None:
    mails = [message(f"{killed} {number}") for number in range(MANY)]
    with nothing_passed_on(gateway):
        assert {reply.code for reply in post.send(*mails)} == {250}
    assert counts(post, mails).count(0), "nothing is in flight any more"
    KILLED[killed](gateway)
    found = wait_for(all_there(post, mails), f"all mails after {killed} was killed", 300)
    duplicates = sum(found) - MANY
    record_property("duplicates", duplicates)
    # What a child of amavis and a client of Postfix had in hand may come twice, and nothing else.
    assert duplicates <= 10
    assert not bounces(post)
    gateway.ready()


@pytest.mark.parametrize("lost", ["clamd", "amavis"])
def test_a_lost_node_keeps_no_mail_for_long(gateway: Victim, post: Post, lost: str) -> None:
    """No FIN and no RST comes from there: who waits for an answer has to find out."""
    mails = [message(f"lost {number}") for number in range(4)]
    with nothing_passed_on(gateway):
        assert {reply.code for reply in post.send(*mails)} == {250}
        # Last: a few seconds later it is not ready, and amavis finds none.
        gateway.signal("clamd", "clamd", "SIGSTOP")
    wait_for(lambda: scans(gateway) == 2, "two mails in the scanner's hands")
    gateway.cut_off(lost)
    gateway.kill(lost)
    if lost != "clamd":
        gateway.signal("clamd", "clamd", "SIGCONT")
    # Much sooner than amavis' (288 s) and Postfix' (1200 s) patience with one that says nothing ends.
    wait_for(all_there(post, mails), f"all mails after the node of {lost} was lost", 180)
    assert not bounces(post)
    gateway.ready()


def test_mail_flows_without_the_operator(cluster: Cluster, operator: str, gateway: Victim, post: Post) -> None:
    with no_operator(cluster, operator):
        mails = [message() for _ in range(5)]
        bad = virus()
        assert {reply.code for reply in post.send(*mails, bad)} == {250}
        wait_for(all_there(post, mails), "all mails")
        assert gateway.report(bad)["quarantine"].startswith("virus/")
    assert counts(post, [*mails, bad]) == [1, 1, 1, 1, 1, 0]


def test_b24_waiting_mail_survives_a_new_pod(gateway: Victim, post: Post) -> None:
    mails = [message() for _ in range(5)]
    before = gateway.uids()["mx-postfix-0"]
    with no_next_hop(gateway):
        assert {reply.code for reply in post.send(*mails)} == {250}
        wait_for(lambda: gateway.deferred() == 5, "five waiting mails")
        gateway.put(messageSizeLimit=1048576)
        wait_for(lambda: gateway.uids().get("mx-postfix-0", before) != before, "another Postfix pod")
        gateway.ready()
        assert counts(post, mails) == [0] * 5
    wait_for(all_there(post, mails), "all five mails", 600)
    wait_for(lambda: gateway.status()["queue"] == {"active": 0, "deferred": 0, "oldestSeconds": 0}, "an empty queue")
    assert counts(post, mails) == [1] * 5


def test_b23_b27_stale_pid_files_do_not_keep_daemons_from_starting(gateway: Victim, post: Post) -> None:
    """The number of a living process in them: what a new process of another program may have got by then."""
    write = "echo 1 > "
    gateway.kubectl(
        "exec", "mx-postfix-0", "-c", "postfix", "--", "sh", "-c", f"{write} /var/spool/postfix/pid/master.pid"
    )
    gateway.kubectl("exec", "mx-amavis-0", "-c", "amavis", "--", "sh", "-c", f"{write} /run/amavis/amavisd.pid")
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda name: gateway.kill_container(name, name), ("postfix", "amavis")))
    gateway.ready()
    mail = message()
    assert post.send(mail)[0].code == 250
    post.expect(mail)


def test_mail_waits_while_the_filter_has_no_name(cluster: Cluster, operator: str, gateway: Victim, post: Post) -> None:
    mail = message()
    with no_operator(cluster, operator):
        gateway.kubectl("delete", "service", "mx-amavis")
        wait_for(lambda: not resolves(gateway, "mx-amavis"), "a DNS that has heard of it")
        assert post.send(mail)[0].code == 250
        wait_for(lambda: deferrals(gateway, "dsn=4.4.4"), "a mail that waits for the filter's name")
        assert not post.copies(mail)
    wait_for(lambda: cluster.find("service", "mx-amavis", post.namespace), "the Service made anew")
    post.expect(mail, timeout=300)
    assert not bounces(post)


def test_mail_waits_while_the_next_hop_has_no_name(cluster: Cluster, gateway: Victim, post: Post) -> None:
    mail = message(to="bob@example.org")
    assert post.send(mail, to="bob@example.org")[0].code == 250
    wait_for(lambda: deferrals(gateway, f"later.{post.namespace}.svc"), "a mail that waits for its next hop's name")
    assert all("dsn=4.4.4" in line for line in deferrals(gateway, f"later.{post.namespace}.svc"))
    spec = {"selector": {"post": "sink"}, "ports": [{"port": 25, "targetPort": 2525}]}
    cluster.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "later"}, "spec": spec}, post.namespace)
    post.expect(mail, timeout=300)
    assert not bounces(post)


def test_what_cannot_be_held_waits(cluster: Cluster, gateway: Victim, post: Post) -> None:
    volume = gateway.volume("mx-quarantine")
    gateway.on_node("chmod", "-R", "a-w", f"{volume}/virus")
    try:
        mail, clean = virus(), message()
        assert [reply.code for reply in post.send(mail, clean)] == [250, 250]
        assert gateway.wait("QuarantineWritable", "False")["reason"] == "NotWritable"
        assert gateway.wait("Ready", "False")["reason"] == "NotWritable"
        post.expect(clean)
        wait_for(lambda: gateway.deferred() == 1, "a mail that waits")
    finally:
        gateway.on_node("chmod", "-R", "u+w", f"{volume}/virus")
    gateway.ready()

    def held() -> str:
        report: Object = reports(cluster, post.namespace).get(mail["Message-ID"].strip("<>"), {})
        found: str = report.get("quarantine", "")
        assert gateway.on_node("ls", f"{volume}/{found}")
        return found

    assert wait_for(held, "the mail in quarantine", 300).startswith("virus/")
    assert not post.copies(mail)
