"""Postfix' queue from its directories."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from mailfilter.agent import queue
from mailfilter.agent.queue import QueueMetrics, arrival, look

ALPHABET = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz"


def encoded(number: int, width: int) -> str:
    digits = ""
    while number or len(digits) < width:
        number, digit = divmod(number, 52)
        digits = ALPHABET[digit] + digits
    return digits


def queue_id(moment: float) -> str:
    seconds, micros = divmod(round(moment * 1_000_000), 1_000_000)
    return f"{encoded(seconds, 6)}{encoded(micros, 4)}znjll"


def test_the_example_of_postconf_is_from_the_weekend_on_which_long_ids_were_published():
    came = arrival("3Pt2mN2VXxznjll")
    assert came is not None
    assert datetime.fromtimestamp(came, UTC) == datetime(2011, 3, 20, 14, 31, 48, 353025, UTC)


@pytest.mark.parametrize("moment", [0.0, 1_300_000_000.999999, 1_795_563_055.614, 19_770_609_664.5, 52**7 + 1.25])
def test_long_ids_tell_the_time(moment):
    assert arrival(queue_id(moment)) == pytest.approx(moment, abs=1e-6)


@pytest.mark.parametrize("name", ["BEC8F41", "34D3F31A0B", "", "z", "3Pt2mNz1", "3Pt2mN2VXAznjll", "maildrop.tmp"])
def test_other_names_do_not(name):
    assert arrival(name) is None


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    for name in ("incoming", "active", "deferred/3", "deferred/F"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "active" / queue_id(1000)).touch()
    (tmp_path / "deferred/3" / queue_id(400)).touch()
    (tmp_path / "deferred/F" / "FEC8F41").touch()
    return tmp_path


def test_a_mail_counts_when_it_is_whole(spool):
    path = spool / "incoming" / queue_id(900)
    path.touch(0o600)
    assert look(spool, 1010).messages["incoming"] == 0
    path.chmod(0o700)
    found = look(spool, 1010)
    assert found.messages["incoming"] == 1
    assert found.oldest("incoming") == pytest.approx(110)


def test_hashed_directories_are_counted_as_one_queue(spool):
    found = look(spool, 1010)
    assert found.status() == {"incoming": 0, "active": 1, "deferred": 2, "hold": 0, "oldestSeconds": 610}
    assert found.oldest("active") == pytest.approx(10)
    assert found.oldest("hold") == 0


def test_a_clock_that_went_back_gives_no_negative_age(spool):
    assert look(spool, 0).oldest("active") == 0


def test_an_empty_queue_is_no_error(tmp_path):
    assert look(tmp_path, 0).status()["oldestSeconds"] == 0


def test_metrics(spool, monkeypatch):
    monkeypatch.setattr(queue.time, "time", lambda: 1010.0)
    registry = CollectorRegistry()
    registry.register(QueueMetrics(spool))
    value = registry.get_sample_value
    assert value("mailfilter_queue_messages", {"queue": "deferred"}) == 2
    assert value("mailfilter_queue_oldest_seconds", {"queue": "deferred"}) == pytest.approx(610)
    ages = [value("mailfilter_queue_age_messages", {"seconds": bound}) for bound in ("60", "300", "900", "+Inf")]
    assert ages == [1, 1, 2, 2]


async def test_the_queue_manager_is_told_to_try_all_mail(tmp_path: Path) -> None:
    told: list[bytes] = []

    async def queue_manager(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        told.append(await reader.read(100))
        writer.close()

    (tmp_path / "public").mkdir()
    async with await asyncio.start_unix_server(queue_manager, tmp_path / "public/qmgr"):
        await queue.flush(tmp_path)
    assert [sorted(order) for order in told] == [sorted(b"FADI")]


async def test_a_queue_manager_that_is_not_there_is_told_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        await queue.flush(tmp_path)
