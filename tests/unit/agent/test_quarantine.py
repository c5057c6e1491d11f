"""How much mail is held, and whether more can be."""

import pytest
from prometheus_client import CollectorRegistry

from mailfilter.agent import quarantine as module
from mailfilter.agent.index import Index
from mailfilter.agent.quarantine import Quarantine, look
from mailfilter.agent.search import KINDS
from mailfilter.agent.volume import Volume


@pytest.fixture
def volume(quarantine, tmp_path):
    return Volume(quarantine.root, Index(tmp_path / "held.sqlite"))


@pytest.fixture
def seen(volume):
    return Quarantine(volume)


def test_mails_are_counted_by_kind_when_all_are_known(quarantine, volume, seen):
    for name in ("spam/a/aAbcDEfgh123.gz", "spam/b/bAbcDEfgh123.gz", "virus/c/cAbcDEfgh123"):
        quarantine.hold(name)
    size = (quarantine.root / "virus/c/cAbcDEfgh123").stat().st_size
    assert seen.status()["messages"] is None
    assert seen.status()["bytes"] is None
    volume.sync()
    status = seen.status()
    assert status["messages"] == {"spam": 2, "virus": 1, "banned": 0, "bad-header": 0}
    assert status["bytes"]["virus"] == size
    assert status["bytes"]["banned"] == 0
    assert status["capacityBytes"] >= status["freeBytes"] > 0


def test_it_is_writable_only_when_each_kind_takes_a_file(quarantine):
    assert not look(quarantine.root).writable
    for kind in KINDS:
        (quarantine.root / kind).mkdir()
    assert look(quarantine.root).writable
    # A file where the probe would write stands for a volume that refuses to.
    (quarantine.root / "banned" / ".writable").mkdir()
    assert not look(quarantine.root).writable


def test_a_look_at_the_volume_is_good_for_a_while(seen, monkeypatch):
    first = seen.space()
    assert seen.space() is first
    monkeypatch.setattr(module, "INTERVAL", -1.0)
    assert seen.space() is not first


def test_metrics_do_not_say_zero_before_the_files_are_known(quarantine, volume, seen):
    quarantine.hold()
    registry = CollectorRegistry()
    registry.register(seen)
    assert registry.get_sample_value("mailfilter_quarantine_messages", {"kind": "spam"}) is None
    assert registry.get_sample_value("mailfilter_quarantine_free_bytes") > 0
    volume.sync()
    assert registry.get_sample_value("mailfilter_quarantine_messages", {"kind": "spam"}) == 1
    assert registry.get_sample_value("mailfilter_quarantine_messages", {"kind": "virus"}) == 0
