"""Refusals of DNS lists, seen in reports on mail."""

import json

import pytest
from prometheus_client import CollectorRegistry

from mailfilter.agent.dnslists import MEMORY_SECONDS, DnsLists
from mailfilter.agent.reports import Reports


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def test_b45_a_refusal_is_remembered_until_mail_went_without_for_a_while(registry: CollectorRegistry) -> None:
    clock = Clock()
    lists = DnsLists(registry, clock)
    assert lists.status() == {"refused": []}
    lists.judged(["URIBL_BLOCKED", "RCVD_IN_ZEN_BLOCKED"])
    lists.judged([])
    assert lists.status() == {"refused": ["RCVD_IN_ZEN_BLOCKED", "URIBL_BLOCKED"]}
    clock.now += MEMORY_SECONDS - 1
    lists.judged(["URIBL_BLOCKED"])
    clock.now += 1
    assert lists.status() == {"refused": ["RCVD_IN_ZEN_BLOCKED", "URIBL_BLOCKED"]}, "without mail nothing is known"
    lists.judged([])
    assert lists.status() == {"refused": ["URIBL_BLOCKED"]}
    clock.now += MEMORY_SECONDS
    lists.judged([])
    assert lists.status() == {"refused": []}


def test_b45_reports_tell_and_count(registry: CollectorRegistry) -> None:
    reports = Reports(registry, held=lambda _: None)
    for more in ({"spam_lists_refused": ["URIBL_BLOCKED"]}, {"spam_lists_refused": ["URIBL_BLOCKED"]}, {}):
        reports.datagram_received(json.dumps({"content_type": "Clean", "spam_score": 1.5} | more).encode(), None)
    reports.datagram_received(b'{"content_type": "Clean", "spam_score": 1, "spam_lists_refused": ["a b"]}', None)
    assert reports.dns_lists.status() == {"refused": ["URIBL_BLOCKED"]}
    value = registry.get_sample_value
    assert value("mailfilter_spam_list_refusals_total", {"test": "URIBL_BLOCKED"}) == 2
    assert value("mailfilter_reports_malformed_total") == 1
