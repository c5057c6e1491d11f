"""Searching the index."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mailfilter.agent.heldmail import HeldMail
from mailfilter.agent.index import Index, Stored
from mailfilter.agent.search import Cursor, Query

START = 1_790_000_000


def stored(number: int, kind: str = "spam", *, subject: str = "", at: float | None = None, **mail) -> Stored:
    name = f"{kind}/n/n{number:09d}"
    held = HeldMail(
        **{
            "mail_id": f"n{number:09d}",
            "sender": "alice@client.test",
            "recipients": ("bob@example.test",),
            "blocked": None,
            "score": float(number),
            "alerts": (),
            "letter": {"subject": subject},
        }
        | mail
    )
    return Stored(name, int((START + number if at is None else at) * 10**9), 1000, held)


@pytest.fixture
def index(tmp_path) -> Index:
    return Index(tmp_path / "held.sqlite")


def numbers(index: Index, **query) -> list[int]:
    found = [int(one.id.rpartition("/n")[2]) for one in index.search(Query(**query), 100)]
    assert index.count(Query(**query)) == len(found)
    return found


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, [4, 3, 2, 1]),
        ({"kind": "virus"}, [2]),
        ({"sender": "ALICE@Client.Test"}, [3, 2, 1]),
        ({"sender": "@CLIENT.test"}, [3, 2, 1]),
        ({"sender": "client.test"}, []),
        ({"sender": "@test"}, []),
        ({"recipient": "carol@example.test"}, [3]),
        ({"recipient": "@example.test"}, [3, 2, 1]),
        ({"recipient": '"odd @ one"@quoted.test'}, [4]),
        ({"recipient": "@quoted.test"}, [4]),
        ({"subject": "GRÜSS"}, [1]),
        ({"subject": "%"}, [2]),
        ({"subject": "' OR 1 --"}, []),
        ({"since": datetime.fromtimestamp(START + 2, UTC)}, [4, 3, 2]),
        ({"until": datetime.fromtimestamp(START + 2, UTC)}, [1]),
        ({"min_score": 2, "max_score": 3}, [3, 2]),
        ({"min_score": -10}, [3, 2, 1]),
        ({"kind": "spam", "subject": "grüße", "recipient": "bob@example.test"}, [1]),
        ({"kind": "banned", "subject": "grüße"}, []),
    ],
)
def test_all_conditions_hold(index, query, found):
    index.store(
        [
            stored(1, subject="Viele Grüße"),
            stored(2, "virus", subject="100 % off"),
            stored(3, recipients=("bob@example.test", "carol@example.test")),
            stored(4, sender="", recipients=('"odd @ one"@quoted.test',), score=None),
        ]
    )
    assert numbers(index, **query) == found


def test_recipients_who_got_the_mail_are_not_found(index):
    index.store([stored(1, recipients=("bob@example.test", "carol@example.test"), blocked=("bob@example.test",))])
    assert numbers(index, recipient="carol@example.test") == []
    assert index.get("spam/n/n000000001").recipients == ("bob@example.test",)


def test_pages_hold_each_mail_once_whatever_comes_meanwhile(index):
    # Many of the same time, and times that no float keeps.
    index.store([stored(number, at=START + number // 7 * 0.123456789) for number in range(50)])
    seen: list[str] = []
    after = None
    while page := index.search(Query(), 8, after):
        seen += [one.id for one in page]
        after = Cursor.parsed(Cursor(page[-1].time.timestamp(), page[-1].id).token())
        index.store([stored(1000 + len(seen))])
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == len(set(seen)) == 50


def test_amounts_by_age(index):
    now = float(START + 100 * 86400)
    index.store([stored(days, at=now - days * 86400) for days in (0, 2, 6, 8, 29, 31, 90)])
    assert [count.messages for count in index.ages(now)["spam"]] == [1, 2, 2, 2]
    assert [count.bytes for count in index.ages(now)["virus"]] == [0, 0, 0, 0]


@pytest.mark.parametrize("token", ["", "x", "é", "AAAA", "////////////"])
def test_a_strange_cursor_is_refused(token):
    with pytest.raises(ValueError, match="next"):
        Cursor.parsed(token)


@pytest.mark.parametrize(
    "query", [{"kind": "x"}, {"sender": ""}, {"since": "2026-01-01T00:00:00"}, {"minScore": "nan"}]
)
def test_a_senseless_query_is_refused(query):
    with pytest.raises(ValidationError):
        Query.model_validate(query)


text = st.text(max_size=40)


@given(sender=text, recipient=text, subject=text)
def test_whatever_a_mail_says_is_kept_and_found(tmp_path_factory, sender, recipient, subject):
    index = Index(tmp_path_factory.mktemp("index") / "held.sqlite")
    index.store([stored(1, sender=sender, recipients=(recipient,), subject=subject)])
    (entry,) = index.search(Query(), 10)
    assert (entry.sender, entry.recipients, entry.subject) == (sender, (recipient,), subject)
    if subject:
        assert numbers(index, subject=subject) == [1]
    assert numbers(index, sender="nobody@example.test") == []
