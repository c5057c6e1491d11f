"""amavis' reports as metrics."""

import asyncio
import json
import socket

import pytest
from prometheus_client import CollectorRegistry

from mailfilter.agent.reports import Reports, verdict

GTUBE = {
    "action": ["DISCARD"],
    "content_type": "Spam",
    "elapsed": {"Amavis": 0.048, "Decoding": 0.028, "Receiving": 0.005, "SpamCheck": 0.061, "Total": 0.113},
    "mail_id": "eV1lJVlIrMwQ",
    "size": 260,
    "spam_score": 999.998,
}


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def held() -> list[str]:
    return []


@pytest.fixture
def reports(registry, held) -> Reports:
    return Reports(registry, held.append)


def test_only_a_mail_that_is_held_is_announced(reports, held):
    for report in (GTUBE, GTUBE | {"quarantine": "spam/e/eV1lJVlIrMwQ.gz"}, {"content_type": "Clean"}):
        reports.datagram_received(json.dumps(report).encode(), None)
    assert held == ["spam/e/eV1lJVlIrMwQ.gz"]


def test_a_report_counts(reports, registry):
    assert reports.silence == float("inf")
    reports.datagram_received(json.dumps(GTUBE).encode(), None)
    value = registry.get_sample_value
    assert value("mailfilter_mails_total", {"verdict": "Spam"}) == 1
    assert value("mailfilter_mail_bytes_total") == 260
    assert value("mailfilter_spam_score_bucket", {"le": "100.0"}) == 0
    assert value("mailfilter_spam_score_bucket", {"le": "+Inf"}) == 1
    assert value("mailfilter_stage_seconds_sum", {"stage": "SpamCheck"}) == pytest.approx(0.061)
    assert value("mailfilter_reports_malformed_total") == 0
    assert value("mailfilter_spam_truncated_total") == 0
    assert reports.silence < 60


def test_b51_mail_that_spamassassin_did_not_see_whole_counts(reports, registry):
    for truncated in (True, False, True):
        reports.datagram_received(json.dumps(GTUBE | {"spam_truncated": truncated}).encode(), None)
    assert registry.get_sample_value("mailfilter_spam_truncated_total") == 2


def test_a_rule_that_took_too_long_is_named(reports, registry):
    for left in ([], ["SLOW"], ["SLOW", "OTHER"]):
        reports.datagram_received(json.dumps(GTUBE | {"spam_rules_left": left}).encode(), None)
    value = registry.get_sample_value
    assert value("mailfilter_spam_rule_timeouts_total", {"rule": "SLOW"}) == 2
    assert value("mailfilter_spam_rule_timeouts_total", {"rule": "OTHER"}) == 1


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("Clean", "Clean"),
        ("CleanTag", "Clean"),
        ("Spammy", "Spammy"),
        ("Spammy3", "Spammy"),
        ("Spam", "Spam"),
        ("Virus", "Virus"),
        ("Banned", "Banned"),
        ("BadHdrMime", "BadHeader"),
        ("UncheckedAmbiguousContent", "Unchecked"),
        ("Oversized", "Oversized"),
        ("MtaFailed", "MtaFailed"),
        ("MtaTempFailed", "MtaFailed"),
        ("CatchAll", "Other"),
        ("", "Other"),
    ],
)
def test_verdicts(name, found):
    assert verdict(name) == found


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"content_type": 1}',
        b'{"content_type": "Spam"',
        b'{"content_type": "Spam", "size": -1}',
        b'{"content_type": "Spam", "spam_score": NaN}',
        b'{"content_type": "Spam", "elapsed": {"Total": "x"}}',
        b"[" * 200_000,
    ],
)
def test_malformed_datagrams_are_counted_and_count_for_nothing_else(reports, registry, datagram):
    reports.datagram_received(datagram, None)
    assert registry.get_sample_value("mailfilter_reports_malformed_total") == 1
    assert registry.get_sample_value("mailfilter_mails_total", {"verdict": "Spam"}) is None
    assert reports.silence == float("inf")


def test_a_hostile_subject_does_not_hide_a_mail(reports, registry):
    reports.datagram_received(b'{"content_type": "Virus", "subject": "\xed\xa0\x80 \\ud800"}', None)
    assert registry.get_sample_value("mailfilter_mails_total", {"verdict": "Virus"}) == 1


def test_stages_that_are_no_words_make_no_series(reports, registry):
    reports.datagram_received(json.dumps(GTUBE | {"elapsed": {'x"} 1\n': 1, "Total": 1}}).encode(), None)
    stages = {
        sample.labels["stage"] for metric in registry.collect() for sample in metric.samples if "stage" in sample.labels
    }
    assert stages == {"Total"}


async def test_datagrams_come_through_the_socket_even_after_a_crash_left_one(reports, registry, tmp_path):
    path = tmp_path / "report.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as left_over:
        left_over.bind(str(path))
    received = asyncio.Event()
    count = reports.datagram_received
    reports.datagram_received = lambda data, addr: (count(data, addr), received.set())  # type: ignore[method-assign]
    listening = asyncio.create_task(reports.listen(path))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as amavis:
        async with asyncio.timeout(5):
            while True:
                try:
                    amavis.sendto(json.dumps(GTUBE).encode(), str(path))
                    break
                except ConnectionRefusedError:
                    await asyncio.sleep(0)
            await received.wait()
    listening.cancel()
    assert registry.get_sample_value("mailfilter_mails_total", {"verdict": "Spam"}) == 1
