"""What the gateway takes in at its door, from whom, and for whom."""

import time
from pathlib import Path

import pytest

from support.certificates import pair, private_key
from support.cluster import Cluster
from support.gateway import SMALL, Gateway
from support.install import Images
from support.mail import Post, message, spam
from support.run import wait_for

LIMIT = 200_000
ODD = "o'brien+a$b|c&d{e}@example.com"
NAMED, UNNAMED, LISTED = "203.0.113.7", "203.0.113.8", "203.0.113.50"
"""Clients: in the SPF record of strict.test.com, not in it, and one of which a DNS list refuses to tell."""
COPIES = {"junior": ["junior@example.com", "team@example.com"], "abuse": ["desk@isp.example.org"], "x$y|z": [ODD]}


@pytest.fixture(scope="module")
def mx(cluster: Cluster, operator: str, post: Post) -> Gateway:
    relay = {"host": post.sink_host}
    (client,) = cluster.objects("pod", post.namespace, {"post": "client"})
    metadata = {"name": "signs-example-com"}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"private.key": private_key()}}
    cluster.apply(secret, post.namespace)
    basis = {
        "hostname": "mx.filter.example",
        "domains": [
            {"name": "example.com", "relay": relay, "aliases": COPIES},
            {"name": "example.org", "relay": relay, "subdomains": False},
        ],
        "admin": "admin@example.org",
        # Also for the tests of the door: who may send by that Service gets nothing out by port 25.
        "outgoing": {
            "clients": [client["status"]["podIP"]],
            "relay": relay,
            "dkim": [{"domain": "example.com", "selector": "s1", "secretName": metadata["name"]}],
        },
        "messageSizeLimit": LIMIT,
        "spam": {"localTestsOnly": True},
        "postfix": SMALL["postfix"] | {"service": {"type": "NodePort", "externalTrafficPolicy": "Cluster"}},
    }
    gateway = Gateway(cluster, post, basis)
    gateway.apply()
    return gateway


@pytest.fixture
def gateway(mx: Gateway) -> Gateway:
    """The module's gateway as it was at first."""
    mx.apply()
    return mx


def node_port(gateway: Gateway) -> tuple[str, int]:
    """Where the gateway is reached from outside of the cluster."""
    (node,) = gateway.cluster.objects("node", gateway.namespace)
    address = next(one["address"] for one in node["status"]["addresses"] if one["type"] == "InternalIP")
    service = gateway.cluster.get("service", "mx-postfix", gateway.namespace)
    return address, service["spec"]["ports"][0]["nodePort"]


def greeting(gateway: Gateway) -> str:
    """The banner and the answer to EHLO."""
    script = (
        "import smtplib; smtp = smtplib.SMTP(); print(smtp.connect('mx-postfix', 25)[1].decode()); "
        "print(smtp.ehlo('client.sender.example')[1].decode())"
    )
    return gateway.cluster.kubectl("-n", gateway.namespace, "exec", "client", "--", "python", "-c", script)


def recipients(gateway: Gateway, *, to: str) -> list[str]:
    """Who gets a mail to that address; each mail to each recipient counts."""
    mail, last = message(to=to), message("last")
    gateway.send(mail, to=to)
    gateway.report(mail)
    wait_for(lambda: gateway.post.copies(mail), f"mail to {to}")
    gateway.send(last)
    gateway.post.expect(last)
    return sorted(who for copy in gateway.post.copies(mail) for who in copy.recipients)


def test_the_gateway_greets_by_its_name(gateway: Gateway) -> None:
    banner, name, *capabilities = greeting(gateway).splitlines()
    assert banner == "mx.filter.example ESMTP"
    assert name == "mx.filter.example"
    assert {f"SIZE {LIMIT}", "PIPELINING", "8BITMIME"} <= set(capabilities)
    # The next hop does not have it.
    assert "SMTPUTF8" not in capabilities
    mail = message()
    gateway.send(mail)
    received = [value for name, value in gateway.post.expect(mail).headers if name == "Received"]
    assert any("from client.sender.example" in hop and "by mx.filter.example" in hop for hop in received)


@pytest.mark.parametrize("from_outside", [False, True], ids=["service", "node-port"])
def test_b21_nothing_is_relayed_for_anybody(gateway: Gateway, from_outside: bool) -> None:
    """The node port hides the client behind an address of the cluster, which must not make it a friend."""
    host, port = node_port(gateway) if from_outside else ("mx-postfix", 25)
    wait_for(lambda: gateway.post.reaches(host, port), f"{host}:{port}")
    for to in ("eve@gmail.example", "eve@gmail.example@example.com", "@example.com:eve@gmail.example"):
        (reply,) = gateway.post.send(message(), to=to, host=host, port=port)
        assert reply.refused, (to, reply)
    reply = gateway.refusal(message(), to="eve@gmail.example", host=host, port=port)
    assert (reply.code, "Relay access denied" in reply.text) == (554, True)
    (reply,) = gateway.post.send(message(), to="eve@gmail.example", sender="bob@example.com", host=host, port=port)
    assert reply.refused["eve@gmail.example"][0] == 554
    mail = message()
    gateway.send(mail, host=host, port=port)
    gateway.post.expect(mail)


def test_own_servers_send_to_the_world_by_a_service_of_their_own(gateway: Gateway) -> None:
    out = {"to": "friend@far.example", "host": "mx-outgoing"}
    signing = gateway.cluster.wait_condition("mailfilter", "mx", gateway.namespace, "SigningReady")
    assert signing["reason"] == "KeysLoaded"
    mail = message(sender="bob@example.com", to=out["to"])
    gateway.send(mail, sender="bob@example.com", **out)
    received = gateway.post.expect(mail)
    assert received.recipients == [out["to"]]
    assert "d=example.com; " in (received.header("DKIM-Signature") or "")
    (published,) = gateway.cluster.get("mailfilter", "mx", gateway.namespace)["status"]["dkim"]
    assert published["record"] == "s1._domainkey.example.com"
    assert published["value"].startswith("v=DKIM1; k=rsa; p=MII")
    assert gateway.refusal(message(), **out).code == 554
    # The pods of the gateway are pods as others are: not every address of the cluster is a client's.
    script = "import smtplib; smtp = smtplib.SMTP('mx-outgoing', 25, 'x.example'); smtp.ehlo(); "
    script += "smtp.mail('bob@example.com'); print(smtp.rcpt('friend@far.example')[0])"
    other = gateway.cluster.kubectl("-n", gateway.namespace, "exec", "signatures", "--", "python", "-c", script)
    assert other.strip() == "554"


def test_only_declared_domains_are_taken(gateway: Gateway) -> None:
    for to in ("bob@example.com", "bob@sub.example.com", "bob@a.b.example.com", "dave@example.org", "BOB@EXAMPLE.COM"):
        assert [who.lower() for who in recipients(gateway, to=to)] == [to.lower()]
    for to in ("bob@sub.example.org", "bob@example.net", "bob@badexample.com", "root@mx.filter.example", "root"):
        assert gateway.refusal(message(), to=to).code == 554


def test_mail_to_each_domain_is_marked(gateway: Gateway) -> None:
    gateway.apply(spam={"localTestsOnly": True, "tagLevel": -100})
    for to in ("bob@example.com", "bob@sub.example.com", "dave@example.org"):
        mail = message(to=to)
        gateway.send(mail, to=to)
        assert gateway.post.expect(mail).header("X-Spam-Status")


def test_b14_an_alias_gives_exactly_one_copy_to_each(gateway: Gateway) -> None:
    assert recipients(gateway, to="junior@example.com") == ["junior@example.com", "team@example.com"]
    assert recipients(gateway, to="Junior@Example.com") == ["junior@example.com", "team@example.com"]


def test_b32_special_characters_in_addresses_are_only_characters(gateway: Gateway) -> None:
    assert recipients(gateway, to="x$y|z@example.com") == [ODD]
    assert recipients(gateway, to=ODD) == [ODD]


def test_mail_to_the_postmaster_goes_to_the_admin(gateway: Gateway) -> None:
    for name in ("root", "postmaster", "abuse", "webmaster"):
        assert recipients(gateway, to=f"{name}@example.org") == ["admin@example.org"]
    assert recipients(gateway, to="postmaster@example.com") == ["admin@example.org"]


def test_an_alias_goes_before_the_admin(gateway: Gateway) -> None:
    isp = {"name": "isp.example.org", "relay": {"host": gateway.post.sink_host}}
    gateway.apply(domains=[*gateway.basis["domains"], isp])
    assert recipients(gateway, to="abuse@example.com") == ["desk@isp.example.org"]


def test_mail_above_the_limit_is_refused_at_once(gateway: Gateway) -> None:
    big = message(attachments={"big.bin": bytes(LIMIT)})
    assert gateway.refusal(big).code == 552
    # What the filter adds must not make a mail too big for the rest of its way.
    close = message(body="x" * 70 + "\n")
    raw = close.as_bytes()
    close.set_content(("x" * 70 + "\n") * ((LIMIT - len(raw) - 5000) // 72))
    gateway.send(close)
    assert gateway.post.expect(close).size > LIMIT - 8000


def test_recipients_that_the_next_hop_does_not_know_are_refused(gateway: Gateway) -> None:
    verified = gateway.basis["domains"][0] | {"recipients": {"verify": "CallOut"}}
    listed = gateway.basis["domains"][1] | {"recipients": {"verify": "List", "list": ["dave"]}}
    gateway.apply(domains=[verified, listed])
    for unknown in ("nobody+550@example.com", "nobody@example.org"):
        assert gateway.refusal(message(), to=unknown).code == 550
    assert gateway.refusal(message(), to="later+452@example.com").code == 450
    for known in ("bob@example.com", "dave@example.org"):
        assert recipients(gateway, to=known) == [known]
    # No probe is a mail.
    assert recipients(gateway, to="postmaster@example.org") == ["admin@example.org"]


def test_b16_suspended_mail_waits_and_is_then_filtered(gateway: Gateway) -> None:
    pods = {pod["metadata"]["uid"] for pod in gateway.pods("postfix")}
    gateway.declare(filtering={"suspended": "Hold"})
    assert gateway.cluster.wait_condition("mailfilter", "mx", gateway.namespace, "Suspended")["reason"] == "Hold"
    clean, gtube = message(), spam()
    gateway.send(clean, gtube)
    wait_for(
        lambda: gateway.cluster.get("mailfilter", "mx", gateway.namespace)["status"]["queue"]["deferred"] == 2,
        "both wait",
    )
    gateway.apply()
    gateway.post.expect(clean)
    assert gateway.report(gtube)["content_type"] == "Spam"
    gateway.declare(filtering={"suspended": "PassThrough"})
    gateway.cluster.wait_condition("mailfilter", "mx", gateway.namespace, "Suspended")
    passed = spam()
    gateway.send(passed)
    assert gateway.post.expect(passed).header("X-Unfiltered")
    gateway.apply()
    again = spam()
    gateway.send(again)
    assert gateway.report(again)["content_type"] == "Spam"
    told = {("Warning", "Hold"), ("Warning", "PassThrough"), ("Normal", "NotSuspended")}

    def events() -> set[tuple[str, str]]:
        found = gateway.cluster.objects("event", gateway.namespace)
        return {(one["type"], one["reason"]) for one in found if one["involvedObject"]["name"] == "mx"}

    wait_for(lambda: told <= events(), "the events, which are written after the status")
    assert {pod["metadata"]["uid"] for pod in gateway.pods("postfix")} == pods


def test_only_the_doors_are_open(gateway: Gateway) -> None:
    def address(component: str) -> str:
        (pod,) = gateway.pods(component)
        found: str = pod["status"]["podIP"]
        return found

    closed = {
        "postfix": (10025, 10029, 8081),
        "amavis": (10024, 10026, 10028, 8081),
        "clamd": (3310,),
        "freshclam": (8080, 8081),
    }
    opened = {"postfix": (2525, 2587, 9090), "amavis": (9090,), "freshclam": (9090,)}
    services = {
        ("mx-reinjection", 10025),
        ("mx-amavis", 10024),
        ("mx-reinjection", 10029),
        ("mx-amavis", 10026),
        ("mx-amavis", 10028),
        ("mx-clamd", 3310),
        ("mx-freshclam", 8080),
    }
    reached = {(component, port) for component, ports in closed.items() for port in ports}
    reached = {one for one in reached if gateway.post.reaches(address(one[0]), one[1])}
    assert not reached
    assert not {one for one in services if gateway.post.reaches(*one)}
    for component, ports in opened.items():
        for port in ports:
            to = (address(component), port)
            wait_for(lambda to=to: gateway.post.reaches(*to), f"an open port {port} of {component}")  # type: ignore[misc]


def test_the_page_is_for_those_whom_the_spec_names(gateway: Gateway) -> None:
    pods = {pod["metadata"]["uid"] for pod in gateway.pods("amavis")}
    named = {"from": [{"podSelector": {"matchLabels": {"post": "client"}}}]}
    gateway.apply(quarantine=SMALL["quarantine"] | {"access": named})
    page = wait_for(lambda: gateway.post.http("http://mx-quarantine:8081/"), "the page of the quarantine")
    assert "<title>Quarantine</title>" in page
    assert not gateway.post.reaches("mx-quarantine", 8081, pod="signatures")
    gateway.apply()
    wait_for(lambda: not gateway.post.reaches("mx-quarantine", 8081), "the page is closed again")
    assert {pod["metadata"]["uid"] for pod in gateway.pods("amavis")} == pods


def served(gateway: Gateway) -> str:
    """The certificate that a client gets, empty without TLS."""
    script = (
        "import smtplib, ssl; smtp = smtplib.SMTP('mx-postfix', 25); smtp.ehlo('client.sender.example'); "
        "context = ssl._create_unverified_context(); "
        "smtp.has_extn('starttls') and smtp.starttls(context=context) and "
        "print(ssl.DER_cert_to_PEM_cert(smtp.sock.getpeercert(True)))"
    )
    return gateway.cluster.kubectl("-n", gateway.namespace, "exec", "client", "--", "python", "-c", script).strip()


def test_the_certificate_of_a_secret_is_renewed_without_a_restart(gateway: Gateway, tmp_path: Path) -> None:
    def store(data: dict[str, str]) -> None:
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "certificate"},
            "type": "kubernetes.io/tls",
        }
        gateway.cluster.apply(secret | {"stringData": data}, gateway.namespace)

    def says(status: str, reason: str, certificate: str) -> None:
        """Wait for the condition, and for what clients get by then."""

        def look() -> bool:
            # The kubelet looks at the volumes of a pod that changes, maybe before it has heard of the Secret; else
            # a minute later.
            hurry = ("annotate", "--overwrite", "pod", "mx-postfix-0", f"test/at={time.time()}")
            gateway.cluster.kubectl("-n", gateway.namespace, *hurry)
            conditions = gateway.cluster.get("mailfilter", "mx", gateway.namespace)["status"]["conditions"]
            (found,) = [one for one in conditions if one["type"] == "TLSActive"]
            assert (found["status"], found["reason"]) == (status, reason), found
            assert served(gateway) == certificate.strip()
            return True

        wait_for(look, f"TLSActive={status} {reason}", interval=2)

    gateway.apply(postfix=gateway.basis["postfix"] | {"tls": {"secretName": "certificate"}})
    says("False", "SecretMissing", "")
    mail = message()
    gateway.send(mail)
    gateway.post.expect(mail)
    pods = {pod["metadata"]["uid"] for pod in gateway.pods("postfix")}
    first, second = pair(tmp_path, "first.example"), pair(tmp_path, "second.example")
    store(first)
    says("True", "Offered", first["tls.crt"])
    store(second)
    says("True", "Offered", second["tls.crt"])
    store(second | {"tls.key": first["tls.key"]})
    says("False", "BrokenPair", second["tls.crt"])
    assert {pod["metadata"]["uid"] for pod in gateway.pods("postfix")} == pods


@pytest.fixture(scope="module")
def behind_a_proxy(mx: Gateway, images: Images) -> Gateway:
    """For the last tests here: the gateway hears from a load balancer who the client is, and has DNS to ask."""
    spf = {"TXT": [f'"v=spf1 ip4:{NAMED} -all"']}
    records = {
        "strict.test.com": spf | {"A": ["192.0.2.10"]},
        "mail.strict.test.com": spf,
        "_dmarc.strict.test.com": {"TXT": ['"v=DMARC1; p=reject"']},
        "50.113.0.203.zen.spamhaus.org": {"A": ["127.255.255.254"]},
    }
    server = mx.post.start_name_server(images["operator"], records)
    mx.apply(
        postfix=mx.basis["postfix"] | {"proxyProtocol": True},
        spam={"localTestsOnly": False, "dnsServers": [server]},
    )
    return mx


def test_b15_the_proxy_protocol_is_for_the_door_alone(behind_a_proxy: Gateway) -> None:
    gateway, mail = behind_a_proxy, message()
    gateway.send(mail, proxy=f"PROXY TCP4 {NAMED} 198.51.100.1 4711 25")
    assert gateway.report(mail)["client_ip"] == NAMED
    received = [value for name, value in gateway.post.expect(mail).headers if name == "Received"]
    assert any(f"[{NAMED}]" in hop for hop in received)
    (unknown,) = gateway.post.send(message(), timeout=10)
    assert unknown.code != 250
    reply = gateway.refusal(message(), to="eve@gmail.example", proxy="PROXY TCP4 10.0.0.7 198.51.100.1 4711 25")
    assert reply.code == 554


def test_spf_and_dmarc_are_judged_by_the_address_that_the_proxy_tells(behind_a_proxy: Gateway) -> None:
    gateway, found = behind_a_proxy, {}
    for client in (NAMED, UNNAMED, "10.1.2.3"):
        mail = message(sender="alice@strict.test.com")
        proxy = f"PROXY TCP4 {client} 198.51.100.1 4711 25"
        gateway.send(mail, sender="alice@strict.test.com", helo="mail.strict.test.com", proxy=proxy)
        tests = gateway.report(mail)["tests"]
        found[client] = {test for test in tests if test.startswith(("SPF_", "DMARC_"))}
    assert found == {
        NAMED: {"SPF_PASS", "SPF_HELO_PASS", "DMARC_PASS"},
        UNNAMED: {"SPF_FAIL", "SPF_HELO_FAIL", "DMARC_REJECT"},
        # Hidden behind something of the cluster's.
        "10.1.2.3": set(),
    }


def test_b45_a_list_that_refuses_to_answer_is_told_and_adds_nothing(behind_a_proxy: Gateway) -> None:
    gateway, scores = behind_a_proxy, []
    for client in (UNNAMED, LISTED):
        mail = message()
        gateway.send(mail, proxy=f"PROXY TCP4 {client} 198.51.100.1 4711 25")
        scores.append(gateway.report(mail)["spam_score"])
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)
    condition = gateway.cluster.wait_condition("mailfilter", gateway.name, gateway.namespace, "DNSListsUsable", "False")
    assert condition["reason"] == "Refused"
    assert "zen.spamhaus.org" in condition["message"]
