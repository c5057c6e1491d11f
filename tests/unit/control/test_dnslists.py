"""The condition DNSListsUsable with each of its reasons."""

import re
from dataclasses import replace
from pathlib import Path

from mailfilter.control import observe
from mailfilter.control.dnslists import ZONES, dns_lists_usable
from support.samples import spec
from support.situations import WELL, amavis, silent, with_pods, without


def test_no_list_refused() -> None:
    found = dns_lists_usable(WELL)
    assert (found.status, found.reason) == ("True", "NotRefused")


def test_b45_lists_that_refuse_are_named_with_the_cure() -> None:
    pods = (amavis("a", lists_refused=("URIBL_BLOCKED", "RCVD_IN_PSBL")), amavis("b"), silent(amavis("c")))
    facts = with_pods(*pods)
    found = dns_lists_usable(facts)
    assert (found.status, found.reason) == ("False", "Refused")
    assert "refuse to answer a: multi.uribl.com, that of RCVD_IN_PSBL." in found.message
    assert "the cluster's DNS may forward to one. Set spam.dnsServers" in found.message
    own = dns_lists_usable(replace(facts, spec=spec(spam={"dnsServers": ["192.0.2.53"]})))
    assert "spam.dnsServers (192.0.2.53) may forward" in own.message


def test_nobody_can_be_asked() -> None:
    for facts in (without("amavis"), with_pods(silent(amavis()))):
        assert (dns_lists_usable(facts).status, dns_lists_usable(facts).reason) == ("Unknown", "AgentsUnreachable")


def test_where_no_list_is_asked_there_is_no_condition() -> None:
    for spam in ({"localTestsOnly": True}, {"enabled": False}):
        kinds = [each.type for each in observe.observations(replace(WELL, spec=spec(spam=spam)))]
        assert "DNSListsUsable" not in kinds


def test_refusals_that_have_a_test_are_worth_nothing() -> None:
    """SpamAssassin gives 1 to a test without a score."""
    text = (Path(__file__).parents[3] / "images/amavis/spamassassin.cf").read_text()
    assert set(re.findall(r"^score (\w*BLOCKED\w*) 0\.000001$", text, re.MULTILINE)) == set(ZONES)
