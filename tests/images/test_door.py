"""Whom the door of the Postfix image lets in: recipients that exist, clients that are listed."""

from collections.abc import Iterator

import pytest

from images.configuration import TABLES, main_cf
from images.docker import Container, Lab, eventually
from images.gateway import started_dns
from images.nexthop import NextHop, started_next_hop
from images.pod import Client, Pod, started_pod

UNKNOWN = "550 5.1.1 user unknown"
LISTED = {
    "relay_domains": TABLES["relay_domains"] + "open.example\tOK\n",
    "recipients": f"example.org\t{UNKNOWN}\nbob@example.org\tOK\ninfo@example.org\tOK\n"
    ".example.com\treject_unverified_recipient\nexample.com\treject_unverified_recipient\nalias@example.com\tOK\n",
}


def tables(hop: NextHop, **changes: str) -> dict[str, str]:
    domains = ("example.com", ".example.com", "example.org", "open.example")
    return TABLES | LISTED | {"transport": "".join(f"{one}\tnexthop:{hop.address}\n" for one in domains)} | changes


@pytest.fixture(scope="module")
def started(
    images: dict[str, str], network: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Pod, NextHop]]:
    lab = Lab(images, network, tmp_path_factory.mktemp("door"))
    with (
        started_next_hop(lab, "bob@example.com", "bob@deep.example.com") as hop,
        started_pod(lab, tables(hop), mailfilter_upstream_proxy="haproxy") as pod,
    ):
        yield pod, hop


@pytest.fixture
def hop(started: tuple[Pod, NextHop]) -> NextHop:
    return started[1]


@pytest.fixture
def pod(started: tuple[Pod, NextHop], hop: NextHop) -> Iterator[Pod]:
    """With the tables that it started with."""
    yield started[0]
    hop.temporary = False
    started[0].set_tables(tables(hop))


def test_recipients_of_a_list_and_nobody_else(pod: Pod, hop: NextHop) -> None:
    for known in ("bob@example.org", "BOB@Example.ORG", "info@example.org", "postmaster@example.org", "x@open.example"):
        assert pod.rejects(known) == "", known
    for unknown in ("alice@example.org", "bob+x@example.org", "xbob@example.org", "root@example.org"):
        reply = pod.rejects(unknown)
        assert reply.startswith("550 5.1.1 "), reply
    assert pod.rejects("bob@elsewhere.example").startswith("554 5.7.1 ")
    assert hop.asked == []


def test_the_list_changes_without_a_restart(pod: Pod, hop: NextHop) -> None:
    pod.set_tables(tables(hop, recipients=LISTED["recipients"] + "alice@example.org\tOK\n"))
    assert pod.rejects("alice@example.org") == ""
    pod.set_tables(tables(hop, recipients=""))
    assert pod.rejects("nobody@example.org") == ""


def test_the_next_hop_is_asked_once_and_gets_no_mail(pod: Pod, hop: NextHop) -> None:
    assert pod.rejects("bob@example.com") == ""
    reply = pod.rejects("alice@example.com")
    assert reply.startswith("550 5.1.1 "), reply
    assert "secret-host" not in reply
    assert pod.rejects("bob@deep.example.com") == ""
    assert pod.rejects("alice@deep.example.com").startswith("550 5.1.1 ")
    asked = sorted(hop.asked)
    assert asked == sorted(["bob@example.com", "alice@example.com", "bob@deep.example.com", "alice@deep.example.com"])
    for _ in range(3):
        assert pod.rejects("bob@example.com") == ""
        assert pod.rejects("alice@example.com").startswith("550 5.1.1 ")
    assert sorted(hop.asked) == asked
    assert pod.rejects("bob@elsewhere.example").startswith("554 5.7.1 ")
    assert pod.rejects("alias@example.com") == pod.rejects("postmaster@deep.example.com") == ""
    assert sorted(hop.asked) == asked
    assert hop.mails == []
    eventually(lambda: not pod.queue(), "no probe is left in the queue")
    # A reload, which each change of tables is, forgets nothing.
    pod.set_tables(tables(hop, client_deny_networks="203.0.113.0/24\treject\n"))
    assert pod.rejects("bob@example.com") == ""
    assert pod.rejects("alice@example.com").startswith("550 5.1.1 ")
    assert sorted(hop.asked) == asked


def test_while_the_next_hop_puts_off_the_client_has_to_wait(pod: Pod, hop: NextHop) -> None:
    assert pod.rejects("bob@example.com") == ""
    hop.temporary = True
    reply = pod.rejects("later@example.com")
    assert reply.startswith("450 4.1.1 "), reply
    assert "secret-host" not in reply
    assert pod.rejects("bob@example.com") == ""
    assert "status=bounced" not in pod.postfix.log


def test_while_the_next_hop_is_down_it_is_remembered_who_is_known(lab: Lab) -> None:
    with started_pod(lab) as pod:
        with started_next_hop(lab, "bob@example.com") as hop:
            pod.set_tables(tables(hop))
            assert pod.rejects("bob@example.com") == ""
        assert pod.rejects("carol@example.com").startswith("450 4.1.1 ")
        assert pod.rejects("bob@example.com") == ""


def test_b61_without_a_next_hop_for_it_smtputf8_is_refused_at_the_door(pod: Pod, hop: NextHop) -> None:
    def reply(*options: str) -> int:
        with Client(pod.postfix.address, 2525, pod.stranger) as smtp:
            smtp.ehlo()
            assert smtp.has_extn("smtputf8") == offered
            smtp.command_encoding = "utf-8"
            return smtp.docmd("MAIL", " ".join(["FROM:<пример@client.example>", *options]))[0]

    offered = True
    assert reply("SMTPUTF8", "BODY=8BITMIME") == 250
    assert reply() == 553
    pod.set_tables(tables(hop, ehlo_networks="0.0.0.0/0\tsmtputf8\n::/0\tsmtputf8\n"))
    offered = False
    assert reply("SMTPUTF8", "BODY=8BITMIME") == 555
    assert reply() == 553
    assert pod.rejects("bob@example.org") == ""


CLIENTS = {
    "client_deny_networks": "203.0.113.0/24\treject\n2001:db8::/32\treject\n",
    "client_allow_networks": "203.0.113.9/32\tpermit\n198.51.100.0/25\tpermit\n",
}


def test_denied_clients_are_refused_whatever_else_is_said(pod: Pod, hop: NextHop) -> None:
    pod.set_tables(tables(hop, **CLIENTS))
    for denied in ("203.0.113.7", "203.0.113.9", "2001:db8:1::5"):
        assert pod.rejects("bob@example.org", client=denied).startswith("554 5.7.1 "), denied
    for other in ("203.0.114.7", "2001:db9::1", "198.51.100.1", "198.51.100.200"):
        assert pod.rejects("bob@example.org", client=other) == "", other
    pod.set_tables(tables(hop))
    assert pod.rejects("bob@example.org", client="203.0.113.7") == ""


def test_allowed_clients_skip_what_looks_at_the_client_and_nothing_else(pod: Pod, hop: NextHop) -> None:
    pod.set_tables(tables(hop, **CLIENTS))

    def reply(client: str, sender: str, recipient: str) -> str:
        with Client(pod.postfix.address, 2525, client) as smtp:
            smtp.ehlo("-bad-.helo..name")
            smtp.mail(sender)
            return str(smtp.rcpt(recipient)[0])

    assert reply("192.0.2.5", "a@b.example", "bob@example.org") == "501"
    assert reply("198.51.100.1", "a@b.example", "bob@example.org") == "250"
    assert reply("198.51.100.1", "a", "bob@example.org") == "250"
    assert reply("198.51.100.1", "a@b.example", "bob@elsewhere.example") == "554"
    assert reply("198.51.100.1", "a@b.example", "nobody@example.org") == "550"


def test_rate_limits_are_not_for_allowed_clients(lab: Lab, hop: NextHop) -> None:
    limit = {"smtpd_client_message_rate_limit": "2", "mailfilter_upstream_proxy": "haproxy"}
    with started_pod(lab, tables(hop, **CLIENTS), **limit) as pod:

        def replies(client: str) -> list[str]:
            with Client(pod.postfix.address, 2525, client) as smtp:
                smtp.ehlo()
                found = [(*smtp.mail("alice@client.example"), smtp.rset())[:2] for _ in range(3)]
            return [f"{code} {text.decode()[:5]}" for code, text in found]

        assert replies("198.51.100.1") == ["250 2.1.0"] * 3
        assert replies("192.0.2.5") == ["250 2.1.0", "250 2.1.0", "450 4.7.1"]


@pytest.mark.parametrize("broken", ["203.0.113.0/33\treject\n", "a.example\treject\n", "203.0.113.7/24\treject\n"])
def test_a_bad_network_leaves_all_old_tables(pod: Pod, hop: NextHop, broken: str) -> None:
    old = pod.in_force()
    pod.config.write(
        {"main.cf": main_cf(mailfilter_upstream_proxy="haproxy"), **tables(hop, client_deny_networks=broken)}
    )
    assert "line 1" in eventually(pod.error, "the error is told")
    assert pod.in_force() == old


@pytest.fixture
def dns(lab: Lab) -> Iterator[Container]:
    """A DNS server in which one name is confirmed and another one lies."""
    zone = (
        "mx.partner.example=203.0.113.20",
        "21.113.0.203.in-addr.arpa=PTR:liar.partner.example.",
        "liar.partner.example=203.0.113.99",
    )
    with started_dns(lab, *zone) as dns:
        yield dns


def test_names_count_when_they_resolve_back(lab: Lab, hop: NextHop, dns: Container) -> None:
    named = tables(
        hop, client_deny_names=".partner.example\treject\n", client_allow_names="ok.partner.example\tpermit\n"
    )
    with started_pod(lab, named, dns=dns.address, mailfilter_upstream_proxy="haproxy") as pod:
        assert pod.rejects("bob@example.org", client="203.0.113.20").startswith(
            "554 5.7.1 <mx.partner.example[203.0.113.20]>"
        )
        # Its name resolves to another address: it is anybody's.
        assert pod.rejects("bob@example.org", client="203.0.113.21") == ""
        assert pod.rejects("bob@example.org", client="203.0.113.22") == ""
