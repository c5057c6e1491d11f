"""Nobody but the right recipients ever gets a released mail, each once, and no virus leaves that was not allowed to."""

import asyncio
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from mailfilter.agent import bulk as module
from mailfilter.agent.bulk import BulkReleases, BulkRequest
from mailfilter.agent.heldmail import plain
from mailfilter.agent.index import Index
from mailfilter.agent.jobs import Jobs
from mailfilter.agent.release import Releases
from mailfilter.agent.volume import Volume
from support.amavis import DIES_AFTER, DIES_BEFORE, Amavis
from support.releasing import INFECTED, mail_id, name, settled

WHO = ["a@one.test", "b@one.test", "c@two.test", '"d, e"@two.test']
SENDERS = ["x@far.test", "y@far.test", ""]
REFUSALS = ["451 4.3.0 later", "550 5.7.1 no", DIES_BEFORE, DIES_AFTER]

mails = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["spam", "virus", "banned"]),
        "infected": st.booleans(),
        "sender": st.sampled_from(SENDERS),
        "envelope": st.sets(st.sampled_from(WHO), min_size=1),
        # Part of the envelope; None where the file does not say.
        "blocked": st.none() | st.sets(st.sampled_from(WHO)),
        "refusals": st.lists(st.sampled_from(REFUSALS), max_size=3),
        "report_refusals": st.lists(st.sampled_from(REFUSALS), max_size=1),
    }
)
releases = st.fixed_dictionaries(
    {
        "chosen": st.sets(st.integers(0, 5), min_size=1) | st.sampled_from(["x@far.test", "@far.test", "virus", "all"]),
        "recipients": st.just(()) | st.sampled_from([("a@one.test",), ("audit@one.test", "b@one.test")]),
        "allow_virus": st.booleans(),
        "delete_after": st.booleans(),
        "allow_sender": st.booleans(),
        "report_to": st.sampled_from([(), ("a@one.test", "learn@one.test")]),
        # Whether another agent takes it up after each answer.
        "restarted": st.booleans(),
    }
)


def owed(mail: dict) -> set[str]:
    return mail["envelope"] if mail["blocked"] is None else mail["blocked"] & mail["envelope"]


def listed(addresses: set[str]) -> str:
    return ",\n ".join(f"<{one}>" for one in sorted(addresses))


def chooses(release: dict, number: int, mail: dict) -> bool:
    chosen = release["chosen"]
    if isinstance(chosen, set):
        return number in chosen
    wanted = {"virus": mail["kind"] == "virus", "all": True, "@far.test": mail["sender"].endswith("@far.test")}
    return wanted.get(chosen, mail["sender"] == chosen)


def request(number: int, release: dict, there: list[dict]) -> BulkRequest:
    chosen = release["chosen"]
    selectors = {"virus": {"kind": "virus"}, "all": {"since": "1970-01-01T00:00:00Z"}}
    what = (
        {"messages": [name(one, there[one]["kind"] if one < len(there) else "spam") for one in sorted(chosen)]}
        if isinstance(chosen, set)
        else {"selector": selectors.get(chosen, {"sender": chosen})}
    )
    options = {field: release[field] for field in ("recipients", "allow_virus", "delete_after", "allow_sender")}
    return BulkRequest.model_validate(
        {
            "key": f"key-{number}",
            **what,
            **options,
            "recipients": [*release["recipients"]],
            "report_to": [*release["report_to"]],
            "receipts": {},
        }
    )


@given(st.lists(mails, min_size=1, max_size=6), st.lists(releases, min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_nobody_else(there, wanted):
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(check(Path(directory), there, wanted))


async def check(directory: Path, there: list[dict], wanted: list[dict]) -> None:
    root = directory / "quarantine"
    amavis = Amavis(root)
    for number, mail in enumerate(there):
        path = root / name(number, mail["kind"])
        path.parent.mkdir(parents=True, exist_ok=True)
        blocked = f"X-Envelope-To-Blocked: {listed(owed(mail))}\n" if mail["blocked"] is not None else ""
        path.write_text(
            f"X-Envelope-From: <{mail['sender']}>\nX-Envelope-To: {listed(mail['envelope'])}\n{blocked}"
            f"X-Quarantine-ID: <{mail_id(number)}>\n{INFECTED if mail['infected'] else ''}"
            "To: outsider@else.test\nX-Envelope-To: <outsider@else.test>\n\nbody\n"
        )
        amavis.refusals[mail_id(number)] = list(mail["refusals"])
        amavis.report_refusals[mail_id(number)] = list(mail["report_refusals"])
    agents = 0

    def agent() -> BulkReleases:
        nonlocal agents
        agents += 1
        volume = Volume(root, Index(directory / f"{agents}.sqlite"))
        volume.sync()
        return BulkReleases(
            volume, Jobs(root), Releases(root, directory / "amavisd.sock", CollectorRegistry()), parallel=2
        )

    pause, module.FIRST_PAUSE_SECONDS = module.FIRST_PAUSE_SECONDS, 0
    try:
        async with await asyncio.start_unix_server(amavis.talk, directory / "amavisd.sock"):
            for number, release in enumerate(wanted):
                had, told = set(amavis.sent), len(amavis.reported)
                asked = request(number, release, there)
                progress = await agent().work(asked) if release["restarted"] else None
                progress = await settled(agent(), asked, amavis)
                assert "Interrupted" not in {one.reason for one in progress.failures}
                new = [one for one, key in zip(amavis.sent, amavis.keys, strict=True) if key == f"key-{number}"]
                judge(release, there, new, had)
                reports = amavis.reported[told:]
                assert not [one for one, times in Counter(reports).items() if times > 1]
                assert {who for _, who in reports} <= set(release["report_to"])
                assert all(chooses(release, int(one[1:]), there[int(one[1:])]) for one, _ in reports)
                assert all(release["allow_virus"] or clean(there[int(one[1:])]) for one, _ in reports)
                allowed = {there[int(one[1:])]["sender"] for one, _ in new if clean(there[int(one[1:])])}
                assert set(progress.senders) <= (allowed - {""} if release["allow_sender"] else set())
    finally:
        module.FIRST_PAUSE_SECONDS = pause


def clean(mail: dict) -> bool:
    return mail["kind"] != "virus" and not mail["infected"]


def judge(release: dict, there: list[dict], new: list[tuple[str, str]], had: set[tuple[str, str]]) -> None:
    """What a release sent: `new`; `had`: what was sent before."""
    assert not [one for one, times in Counter(new).items() if times > 1]
    for one, who in new:
        mail = there[int(one[1:])]
        assert chooses(release, int(one[1:]), mail)
        assert who in (release["recipients"] or {*map(plain, owed(mail))})
        assert release["allow_virus"] or clean(mail)
        assert isinstance(release["chosen"], set) or (one, who) not in had
