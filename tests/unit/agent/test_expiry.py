"""Held mail comes to its end."""

import time

import pytest
from prometheus_client import CollectorRegistry

from mailfilter.agent import expiry as module
from mailfilter.agent.expiry import Expiry, ExpiryAnswer, ExpiryRequest
from mailfilter.agent.index import Index
from mailfilter.agent.jobs import Chosen, Jobs
from mailfilter.agent.search import Query
from mailfilter.agent.volume import RECORD_SECONDS, Volume
from mailfilter.api.status import MessageResult

DAY = 86400
MARGIN = 3600


@pytest.fixture
def volume(quarantine, tmp_path) -> Volume:
    return Volume(quarantine.root, Index(tmp_path / "held.sqlite"))


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def expire(volume, registry):
    expiry = Expiry(volume, Jobs(volume.root), registry)

    def run(now: float | None = None, **wanted) -> ExpiryAnswer:
        volume.sync()
        return expiry.run(ExpiryRequest(**wanted), time.time() if now is None else now)

    return run


def ids(volume: Volume) -> set[str]:
    return {one.id for one in volume.index.search(Query(), 1000)}


def on_disk(quarantine) -> set[str]:
    files = (path.relative_to(quarantine.root) for path in quarantine.root.rglob("*") if path.is_file())
    return {str(path) for path in files if not path.parts[0].startswith(".")}


def test_b64_each_kind_ends_at_its_age_below_letters_and_beside_them(quarantine, volume, expire, registry):
    names = [
        f"{kind}/{folder}{letter}AbcDEfgh123"
        for kind in ("spam", "virus", "banned", "bad-header")
        for letter, folder in (("a", "a/"), ("b", ""))
    ]
    for name in names:
        quarantine.hold(name, age=2 * DAY + MARGIN)
    fresh = {
        quarantine.hold(f"{kind}/c/cAbcDEfgh123", age=MARGIN) for kind in ("spam", "virus", "banned", "bad-header")
    }
    assert expire() == ExpiryAnswer(by_age=0, by_size=0)
    assert on_disk(quarantine) == {*names, *fresh}
    assert expire(seconds={"spam": 3 * DAY}).by_age == 0
    assert expire(seconds={"virus": DAY, "spam": DAY}).by_age == 4
    kept = {name for name in names if name.startswith("ba")} | fresh
    assert on_disk(quarantine) == ids(volume) == kept
    assert expire(seconds=dict.fromkeys(("spam", "virus", "banned", "bad-header"), DAY)).by_age == 4
    assert on_disk(quarantine) == ids(volume) == fresh
    assert registry.get_sample_value("mailfilter_quarantine_expired_total", {"reason": "age"}) == 8


def test_b64_a_mail_that_is_to_be_released_is_kept(quarantine, volume, expire):
    kept, gone = (
        quarantine.hold("spam/a/aAbcDEfgh123.gz", age=9 * DAY),
        quarantine.hold("spam/b/bAbcDEfgh123.gz", age=9 * DAY),
    )
    assert expire(seconds={"spam": DAY}, max_bytes=0, keep=[kept]) == ExpiryAnswer(by_age=1, by_size=0)
    assert on_disk(quarantine) == {kept}
    assert gone not in ids(volume)
    assert expire(seconds={"spam": DAY}).by_age == 1


def test_b64_what_a_release_has_chosen_and_not_released_is_kept(quarantine, volume, expire):
    done, left, other = (quarantine.hold(f"spam/{one}/{one}AbcDEfgh123", age=9 * DAY) for one in "abc")
    with Jobs(quarantine.root).taken("key-1") as file:
        file.begin(Chosen(mails={done: (), left: ()}, by_id=False))
        file.end(MessageResult(id=done, result="Released"))
    assert expire(seconds={"spam": DAY}, releases=["key-1", "key-2"]).by_age == 2
    assert on_disk(quarantine) == {left}
    assert other not in ids(volume)
    assert expire(seconds={"spam": DAY}).by_age == 1, "whose release is gone is kept no longer"


def test_of_too_much_the_oldest_goes_whatever_its_kind(quarantine, volume, expire):
    names = [
        quarantine.hold(f"{kind}/{letter}/{letter}AbcDEfgh123", age=age * DAY)
        for kind, letter, age in (("spam", "a", 1), ("virus", "b", 4), ("banned", "c", 3), ("spam", "d", 2))
    ]
    sizes = [(quarantine.root / name).stat().st_size for name in names]
    room = sizes[0] + sizes[3]
    assert expire(max_bytes=room + 1) == ExpiryAnswer(by_age=0, by_size=2)
    assert on_disk(quarantine) == ids(volume) == {names[0], names[3]}
    assert expire(max_bytes=room).by_size == 0
    assert expire(max_bytes=room - 1).by_size == 1
    assert on_disk(quarantine) == {names[0]}


def test_what_ends_by_age_makes_room_before_anything_ends_by_size(quarantine, expire):
    quarantine.hold("spam/a/aAbcDEfgh123", age=3 * DAY)
    other = quarantine.hold("virus/b/bAbcDEfgh123", age=9 * DAY)
    room = (quarantine.root / other).stat().st_size
    assert expire(seconds={"spam": DAY}, max_bytes=room) == ExpiryAnswer(by_age=1, by_size=0)
    assert on_disk(quarantine) == {other}


def test_nothing_ends_before_all_is_known(quarantine, volume, registry):
    name = quarantine.hold(age=9 * DAY)
    volume.add(name)
    answer = Expiry(volume, Jobs(volume.root), registry).run(
        ExpiryRequest(seconds={"spam": 1}, max_bytes=0), time.time()
    )
    assert answer == ExpiryAnswer(by_age=0, by_size=0)
    assert on_disk(quarantine) == {name}


def test_a_long_work_is_done_in_parts(quarantine, expire, monkeypatch):
    monkeypatch.setattr(module, "MOST_DELETED", 3)
    for number in range(5):
        quarantine.hold(f"spam/h/hAbcDEfgh12{number}", age=(9 - number) * DAY)
    assert expire(seconds={"spam": DAY}, max_bytes=0) == ExpiryAnswer(by_age=3, by_size=0)
    assert on_disk(quarantine) == {"spam/h/hAbcDEfgh123", "spam/h/hAbcDEfgh124"}
    assert expire(seconds={"spam": DAY}).by_age == 2


def test_a_file_that_cannot_be_deleted_keeps_no_other(quarantine, volume, expire, monkeypatch):
    stuck, gone = (
        quarantine.hold("spam/a/aAbcDEfgh123", age=9 * DAY),
        quarantine.hold("spam/b/bAbcDEfgh123", age=8 * DAY),
    )

    def delete(one: str, really=volume.delete) -> None:
        if one == stuck:
            raise PermissionError(one)
        really(one)

    monkeypatch.setattr(volume, "delete", delete)
    expire(seconds={"spam": DAY})
    assert stuck in on_disk(quarantine)
    assert gone not in on_disk(quarantine)


def test_records_of_releases_outlive_their_mail_for_a_while(quarantine, volume, expire):
    now = time.time()
    name = quarantine.hold(age=MARGIN)
    record = quarantine.record('{"state": "done"}')
    later = now + RECORD_SECONDS + DAY
    expire(later)
    assert record.exists(), "its mail is still held"
    (quarantine.root / name).unlink()
    expire(later, releases=["key-1"])
    assert record.exists(), "its release has not ended"
    expire(now)
    assert record.exists(), "it is young"
    expire(later)
    assert not record.exists()


def test_jobs_of_releases_are_forgotten_after_a_while(quarantine, expire):
    now = time.time()
    with Jobs(quarantine.root).taken("key-1") as file:
        file.begin(Chosen(mails={}, by_id=False))
    expire(now + RECORD_SECONDS - MARGIN)
    expire(now + RECORD_SECONDS + MARGIN, releases=["key-1"])
    assert (quarantine.root / ".jobs/key-1").exists()
    expire(now + RECORD_SECONDS + MARGIN)
    assert not (quarantine.root / ".jobs/key-1").exists()
