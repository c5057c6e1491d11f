"""Which DNS records a gateway needs, and what an answer says of them."""

import pytest

from mailfilter.policy.dns import Answer, Record, Wanted, by_need, judged, wanted
from support.samples import FULL, SMALL, spec

MX = Wanted("example.com", "MX", "mx.example.com")
HOST = Wanted("mx.example.com", "A")
KEY_RECORD = "v=DKIM1; k=ed25519; p=AAA/BBB+"
KEY = Wanted("s1._domainkey.example.com", "TXT", KEY_RECORD)


def test_what_is_needed() -> None:
    assert wanted(spec(SMALL), {}) == [HOST, MX]
    assert wanted(spec(SMALL), {KEY.name: KEY_RECORD}) == [HOST, MX, KEY]
    assert wanted(spec(FULL), {}) == [
        Wanted("mx.filter.example", "A"),
        Wanted("example.com", "MX", "mx.filter.example"),
        Wanted("example.org", "MX", "mx.filter.example"),
    ]


@pytest.mark.parametrize(
    ("record", "answer", "state", "advice"),
    [
        (MX, Answer(("10 mx.example.com",)), "Present", ""),
        (MX, Answer(("5 other.example", "10 MX.Example.com")), "Present", ""),
        (MX, Answer(), "Missing", "example.com has no MX record: add example.com. IN MX 10 mx.example.com."),
        (
            MX,
            Answer(("10 other.example",)),
            "Different",
            "name 10 other.example, not the gateway: add example.com. IN MX",
        ),
        (MX, Answer(("10 notmx.example.com",)), "Different", "not the gateway"),
        (MX, Answer(("0 .",)), "Different", "name 0 ., not the gateway"),
        (MX, Answer(trouble="timed out"), "Unknown", "example.com MX: timed out"),
        (KEY, Answer((KEY_RECORD,)), "Present", ""),
        (KEY, Answer(("v=spf1 -all", "k=ed25519; t=s;p=AAA/ BBB+; n=x")), "Present", ""),
        (KEY, Answer(), "Missing", "s1._domainkey.example.com has no DKIM record: publish the TXT record"),
        (KEY, Answer(("v=DKIM1; k=ed25519; p=",)), "Different", "has another DKIM record than its key"),
        (KEY, Answer(("v=DKIM1; p=AAA/BBB+",)), "Different", "status.dkim"),
        (KEY, Answer(("p", "=")), "Different", ""),
        (KEY, Answer(trouble="timed out"), "Unknown", "s1._domainkey.example.com TXT: timed out"),
        (HOST, Answer(("192.0.2.1",)), "Present", ""),
        (HOST, Answer(), "Missing", "mx.example.com has no address: add an A or AAAA record"),
        (HOST, Answer(trouble="timed out"), "Unknown", "mx.example.com A: timed out"),
    ],
)
def test_judgement(record: Wanted, answer: Answer, state: str, advice: str) -> None:
    found = judged(record, answer)
    assert (found.state, found.found) == (state, answer.values)
    if advice:
        assert advice in found.advice


def test_what_wants_attention_comes_first() -> None:
    records = [Record(MX, state, (), None) for state in ("Present", "Unknown", "Missing", "Different")]
    assert [one.state for one in by_need(records)] == ["Missing", "Different", "Unknown", "Present"]
