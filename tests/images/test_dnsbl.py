"""DNS block lists asked by postscreen, from a DNS server of the tests."""

import smtplib
from collections.abc import Iterator
from contextlib import contextmanager

from images.configuration import TABLES
from images.docker import Lab
from images.gateway import started_dns
from images.pod import Pod, started_pod

# 203.0.113.n and 198.51.100.n are clients.
ZONE = (
    "7.113.0.203.one.test=127.0.0.2",
    "8.113.0.203.one.test=127.0.0.4",
    "8.113.0.203.two.test=127.0.0.11",
    "9.113.0.203.one.test=127.0.0.3",
    "9.113.0.203.two.test=127.0.0.10",
    "9.113.0.203.good.test=127.0.0.2",
    "10.113.0.203.one.test=127.0.0.12",
    "10.113.0.203.two.test=127.0.1.2",
)
SITES = "one.test=127.0.0.[2..11]*2, two.test=127.0.0.[2..11]*2, good.test=127.0.0.[2..11]*-3"
CLIENTS = {"client_allow_networks": "198.51.100.8/32\tpermit\n", "client_deny_networks": "198.51.100.9/32\treject\n"}


@contextmanager
def screened(lab: Lab, *zone: str, proxy: str = "haproxy", threshold: int = 3) -> Iterator[Pod]:
    parameters = {"postscreen_dnsbl_sites": SITES, "postscreen_dnsbl_threshold": str(threshold)}
    with (
        started_dns(lab, *zone) as dns,
        started_pod(lab, TABLES | CLIENTS, dns=dns.address, mailfilter_upstream_proxy=proxy, **parameters) as pod,
    ):
        yield pod


def test_b44_only_answers_that_mean_listed_count_and_weights_add_up(lab: Lab) -> None:
    zone = (*ZONE, *(f"{number}.100.51.198.{site}=127.0.0.2" for number in (8, 9) for site in ("one.test", "two.test")))
    with screened(lab, *zone) as pod:
        assert pod.rejects("bob@example.com", client="203.0.113.8").startswith("550 5.7.1 "), "2 + 2"
        for taken, why in (("7", "2"), ("9", "2 + 2 - 3"), ("10", "no such answers"), ("20", "unknown")):
            assert pod.rejects("bob@example.com", client=f"203.0.113.{taken}") == "", why
        assert pod.rejects("bob@example.com", client="198.51.100.8") == "", "an allowed client is not asked about"
        assert pod.rejects("bob@example.com", client="198.51.100.9").startswith("550 5.7.1 "), "a denied one"
        assert pod.rejects("x@elsewhere.example", client="203.0.113.7").startswith("554 5.7.1 ")
        pod.postfix.wait_for_log("CONNECT from [203.0.113.8]:5555")
        pod.postfix.wait_for_log("client=unknown[203.0.113.7]")
        # The probe of the kubelet's agent.
        assert pod.rejects("bob@example.com", client="127.0.0.1") == ""
        assert pod.rejects("bob@example.com", 10025) == ""


def test_b44_a_list_that_refuses_all_questions_refuses_nobody(lab: Lab) -> None:
    with screened(lab, "*=127.255.255.254", threshold=1) as pod:
        for client in ("203.0.113.8", "203.0.113.99"):
            assert pod.rejects("bob@example.com", client=client) == ""


def test_without_the_proxy_protocol_the_connections_address_is_asked_about(lab: Lab) -> None:
    listed = ".".join(reversed(lab.host.split(".")))
    with screened(lab, f"{listed}.one.test=127.0.0.2", proxy="", threshold=2) as pod:
        assert pod.rejects("bob@example.com").startswith("550 5.7.1 ")
    with screened(lab, proxy="") as pod:
        assert pod.rejects("bob@example.com") == ""
        with smtplib.SMTP(pod.postfix.address, 2525, "client.example", timeout=30) as client:
            assert client.ehlo()[0] == 250
        assert "warning" not in pod.postfix.log
        assert pod.postfix.run("postfix", "check").stderr == b""
