"""amavis' records of releases."""

import fcntl
import json

import pytest

from mailfilter.agent import records
from mailfilter.agent.records import Record, State, queue_id

TAKEN = "250 2.0.0 from MTA(smtp:[mx]:10025): 250 2.0.0 Ok: queued as 4F1"
DEFERRED = "451 4.3.0 from MTA(smtp:[mx]:10025): 451 4.3.0 later"


def done(**replies: str) -> str:
    return json.dumps(
        {"state": "done", "recipients": [f"{name}@x" for name in replies], "replies": list(replies.values())}
    )


def past(quarantine) -> Record:
    return records.read(quarantine.root / ".releases" / "key-1.hAbcDEfgh123")


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        (TAKEN, "4F1"),
        ("250 2.0.0 from MTA(smtp:[mx]:10025): 250 2.0.0 Ok: queued as 3Pt2mN2VXxznjll", "3Pt2mN2VXxznjll"),
        ("250 2.6.0 from MTA(x): 250 2.6.0 Ok, id=rel-1, from MTA: 250 2.0.0 Ok: queued as AB12", "AB12"),
        ("250 2.5.0 No recipients, nothing to do", None),
        ("250 2.0.0 Ok", None),
        ("250 Ok: queued as 4F1", None),
        ("451 4.5.0 from MTA: 250 2.0.0 Ok: queued as 4F1", None),
        ("550 5.7.1 queued as 4F1", None),
        ("", None),
    ],
)
def test_b10_only_a_queue_id_of_an_accepted_mail_counts(reply, found):
    assert queue_id(reply) == found


def test_nothing_recorded_means_free(quarantine):
    assert past(quarantine) == Record(State.FREE)


def test_an_empty_record_never_started(quarantine):
    quarantine.record("")
    assert past(quarantine) == Record(State.FREE)


@pytest.mark.parametrize("content", ['{"state": "do', '{"state": "odd"}', "[]", "null", "\0"])
def test_a_record_that_cannot_be_read_is_interrupted(quarantine, content):
    quarantine.record(content)
    assert past(quarantine) == Record(State.INTERRUPTED)


@pytest.mark.parametrize(("state", "found"), [("done", State.FREE), ("started", State.INTERRUPTED)])
def test_replies_are_known_in_every_state(quarantine, state, found):
    record = quarantine.record(done(bob=TAKEN, carol=DEFERRED).replace("done", state))
    assert past(quarantine) == Record(found, {"bob@x": TAKEN, "carol@x": DEFERRED})
    assert past(quarantine).released == {"bob@x": TAKEN}
    with record.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert past(quarantine) == Record(State.RUNNING, {"bob@x": TAKEN, "carol@x": DEFERRED})


def test_where_nobody_is_said_to_be_sent_to_postfix_cannot_be_asked(quarantine):
    quarantine.record('{"state": "started", "receipt": "ab"}')
    assert past(quarantine).receipt is None


def test_an_outcome_that_replaces_the_opened_file_is_seen(quarantine, monkeypatch):
    path = quarantine.record('{"state": "started"}')
    lock = fcntl.flock

    def replace_first(file, operation):
        monkeypatch.setattr(fcntl, "flock", lock)
        new = path.with_suffix(".new")
        new.write_text(done(bob=TAKEN))
        new.rename(path)
        return lock(file, operation)

    monkeypatch.setattr(fcntl, "flock", replace_first)
    assert past(quarantine).released == {"bob@x": TAKEN}
