"""How much mail is held."""

from prometheus_client import CollectorRegistry

from mailfilter.agent import quarantine as module
from mailfilter.agent.quarantine import KINDS, look


def test_mails_are_counted_by_kind_below_their_letters(quarantine):
    for name in ("spam/a/aAbcDEfgh123.gz", "spam/b/bAbcDEfgh123.gz", "virus/c/cAbcDEfgh123"):
        quarantine.hold(name)
    size = (quarantine.root / "virus/c/cAbcDEfgh123").stat().st_size
    usage = look(quarantine.root)
    assert usage.messages == {"spam": 2, "virus": 1, "banned": 0, "bad-header": 0}
    assert usage.bytes["virus"] == size > 0
    assert usage.bytes["banned"] == 0
    assert usage.capacity >= usage.free > 0


def test_it_is_writable_only_when_each_kind_takes_a_file(quarantine):
    assert not look(quarantine.root).writable
    for kind in KINDS:
        (quarantine.root / kind).mkdir()
    assert look(quarantine.root).writable
    assert look(quarantine.root).messages == dict.fromkeys(KINDS, 0)
    # A file where the probe would write stands for a volume that refuses to.
    (quarantine.root / "banned" / ".writable").mkdir()
    assert not look(quarantine.root).writable


def test_a_look_is_good_for_a_while(quarantine, monkeypatch):
    seen = module.Quarantine(quarantine.root)
    registry = CollectorRegistry()
    registry.register(seen)
    quarantine.hold()
    first = seen.usage()
    assert registry.get_sample_value("mailfilter_quarantine_messages", {"kind": "spam"}) == first.messages["spam"]
    monkeypatch.setattr(module, "INTERVAL", -1.0)
    assert seen.usage().messages["spam"] == 1
    assert seen.usage() is not first
