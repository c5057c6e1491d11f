"""What DNS said of the records that a gateway needs."""

from dataclasses import replace

import pytest

from mailfilter.control import observe, records
from mailfilter.control.conditions import Observation
from mailfilter.control.facts import Facts
from mailfilter.policy.dns import Record, State, Wanted
from support.samples import spec
from support.situations import WELL

MX = Wanted("example.com", "MX", "mx.example.com")
HOST = Wanted("mx.example.com", "A")


def answered(*states: State) -> Facts:
    return replace(WELL, dns=[Record(MX, state, ("10 other.example",), "timed out") for state in states])


@pytest.mark.parametrize(
    ("facts", "status", "reason", "text"),
    [
        (answered("Present", "Present"), "True", "RecordsFound", "name mx.example.com"),
        (answered("Present", "Missing"), "False", "RecordsMissing", "add example.com. IN MX 10 mx.example.com."),
        (answered("Different", "Missing", "Missing"), "False", "RecordsMissing", "(1 more: status.dns)"),
        (answered("Unknown", "Different"), "False", "RecordsDiffer", "name 10 other.example"),
        (answered("Present", "Unknown"), "Unknown", "NoAnswer", "timed out"),
        (WELL, "Unknown", "NotChecked", "not asked yet"),
        (replace(WELL, dns_before=Observation("DNSReady", "True", "RecordsFound", "m")), "True", "RecordsFound", "m"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_dns_ready(facts: Facts, status: str, reason: str, text: str) -> None:
    found = next(one for one in observe.observations(facts) if one.type == "DNSReady")
    assert (found.status, found.reason) == (status, reason)
    assert text in found.message
    assert observe.observations(facts)[0].status == "True", "mail flows all the same"


def test_dns_that_is_not_checked_has_no_condition() -> None:
    facts = replace(WELL, spec=spec(dns={"check": False}))
    assert "DNSReady" not in [one.type for one in observe.observations(facts)]


def test_status_of_dns_counts_all_and_lists_the_first_hundred() -> None:
    assert records.dns(WELL) is None
    many = [Record(replace(MX, name=f"d{number}.example"), "Present", (), None) for number in range(150)]
    many.append(Record(HOST, "Missing", (), None))
    found = records.dns(replace(WELL, dns=many))
    assert found
    listed = found.pop("records")
    assert found == {"present": 150, "missing": 1, "different": 0, "unknown": 0}
    assert len(listed) == 100
    assert listed[0] == {"name": "mx.example.com", "type": "A", "state": "Missing", "found": []}
    assert listed[1]["expected"] == "mx.example.com"
