"""`kubectl mailfilter release`: the QuarantineRelease that it makes, and what it says of the end."""

import json

import pytest

from mailfilter.api.release import QuarantineReleaseSpec

ONE, OTHER = "spam/h/hAbcDEfgh123.gz", "virus/x/xAbcDEfgh123"


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr("mailfilter.plugin.progress.LOOK_SECONDS", 0)


def status(phase, message, *, done=True, **counts):
    complete = {"type": "Complete", "status": str(done), "reason": phase, "message": message}
    return {
        "phase": phase,
        "counts": {"total": 2, "released": 0, "failed": 0, **counts},
        "conditions": [complete],
        **({"completionTime": "2026-11-25T00:00:00Z"} if done else {}),
    }


@pytest.mark.parametrize(
    ("words", "spec"),
    [
        ([ONE, OTHER, ONE], {"messages": [ONE, OTHER]}),
        (
            ["--sender", "@a.test", "--since", "2026-11-24T10:00Z", "--min-score", "6.5", "--limit", "10"],
            {"selector": {"sender": "@a.test", "since": "2026-11-24T10:00:00+00:00", "minScore": 6.5, "limit": 10}},
        ),
        (
            [
                ONE,
                "--to",
                "a@example.com",
                "--to",
                "b@example.com",
                "--allow-virus",
                "--delete-after",
                "--allow-sender",
                "--report-to",
                "learn@example.com",
            ],
            {
                "messages": [ONE],
                "recipients": ["a@example.com", "b@example.com"],
                "allowVirus": True,
                "deleteAfter": True,
                "allowSender": True,
                "reportTo": ["learn@example.com"],
            },
        ),
    ],
)
def test_it_makes_a_release_and_prints_its_name(world, run, words, spec):
    result = run("release", *words)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "release-x7k2p\n", "")
    made = world.created()["spec"]
    assert made == {"mailFilter": "mx"} | spec
    QuarantineReleaseSpec.model_validate(made)
    # Who may only release has no token and reaches no pod.
    assert not world.calls("port-forward")
    assert not [call for call in world.calls("get") if "secrets" in call or "pods" in call]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "say which mails"),
        ([ONE, "--kind", "spam"], "say which mails"),
        ([ONE, "--limit", "5"], "--limit bounds what conditions find"),
        (["--kind", "spam", "--limit", "10001"], "10001 is not in the range"),
        ([f"spam/h/hAbcDEfgh{number}.gz" for number in range(101)], "101 ids are more than the 100"),
    ],
)
def test_what_is_no_release_is_refused_before_anything_is_asked(world, run, words, said):
    result = run("release", *words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not world.calls("get")


def test_waiting_ends_with_the_release(world, run):
    ended = status("Released", "all of 2 released", released=2)
    world.save(statuses=[status("Releasing", "1 of 2", done=False, released=1), ended])
    result = run("release", ONE, OTHER, "--wait")
    assert (result.exit_code, result.stdout) == (0, "release-x7k2p: Released, all of 2 released\n")
    assert len([call for call in world.calls("get") if "release-x7k2p" in call]) == 2


def test_failures_are_shown_with_their_replies(world, run):
    failures = [
        {"id": ONE, "result": "Failed", "reply": "554 5.7.1 <eve@a.test>: Relay \x1b[31maccess denied"},
        {"id": OTHER, "result": "Failed", "reason": "VirusNotAllowed"},
    ]
    world.save(statuses=[status("Failed", "2 of 2 not released", failed=2) | {"failures": failures}])
    result = run("release", ONE, OTHER, "--wait")
    assert result.exit_code == 1
    assert [" ".join(line.split()) for line in result.stdout.splitlines()] == [
        "release-x7k2p: Failed, 2 of 2 not released",
        "ID RESULT REASON REPLY",
        f"{ONE} Failed 554 5.7.1 <eve@a.test>: Relay \ufffd[31maccess denied",
        f"{OTHER} Failed VirusNotAllowed",
    ]


def test_a_single_failure_is_told_once(world, run):
    why = f"1 of 1 not released; {ONE}: NotFound no such held mail"
    failure = {"id": ONE, "result": "Failed", "reason": "NotFound", "reply": "no such held mail"}
    world.save(statuses=[status("Failed", why, failed=1) | {"failures": [failure]}])
    result = run("release", ONE, "--wait")
    assert (result.exit_code, result.stdout) == (1, f"release-x7k2p: Failed, {why}\n")


@pytest.mark.parametrize("wait", [[], ["--wait"]])
def test_a_document_is_the_object(world, run, wait):
    world.save(statuses=[status("PartiallyReleased", "1 of 2 not released", released=1, failed=1)])
    result = run("release", ONE, OTHER, "-o", "json", *wait)
    found = json.loads(result.stdout)
    assert found["metadata"]["name"] == "release-x7k2p"
    assert ("status" in found, result.exit_code) == ((True, 1) if wait else (False, 0))


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        ({}, "no operator has taken it up yet"),
        (status("NoAgent", "no amavis pod is ready: waiting for one", done=False), "no amavis pod is ready: waiting"),
        (status("Releasing", "2 of 2 messages are not done", done=False), "goes on: Releasing"),
    ],
)
def test_who_does_not_want_to_wait_longer_is_told_why_it_takes_so_long(world, run, monkeypatch, seen, said):
    world.save(statuses=[seen])
    # The clock jumps after the first look.
    clock = iter([0, 0])
    monkeypatch.setattr("mailfilter.plugin.progress.time.monotonic", lambda: next(clock, 100))
    result = run("release", ONE, "--wait", "--timeout", "10")
    assert result.exit_code == 1
    assert "release-x7k2p has not ended within 10 s and goes on" in result.stderr
    assert said in result.stderr


def test_a_release_for_no_gateway_is_not_made(world, run):
    result = run("release", ONE, "-m", "my", "-n", "mail")
    assert result.exit_code == 1
    assert "there is no MailFilter my in namespace mail; there is mx" in result.stderr
    assert not world.calls("create")


def test_who_may_only_release_names_the_gateway(world, run):
    world.save(forbidden=[["list", "mailfilters.mailfilter.dev"], ["get", "mailfilters.mailfilter.dev"]])
    assert run("release", ONE, "-m", "mx").exit_code == 0
    result = run("release", ONE)
    assert result.exit_code == 1
    assert "cannot list resource" in result.stderr


def test_who_may_not_release_is_told_so(world, run):
    world.save(forbidden=[["create", "quarantinereleases.mailfilter.dev"]])
    result = run("release", ONE)
    assert result.exit_code == 1
    assert 'cannot create resource "quarantinereleases.mailfilter.dev"' in result.stderr
    assert "docs/plugin.md" in result.stderr


def test_what_the_api_server_refuses_is_told_in_its_words(world, run):
    world.save(invalid='The QuarantineRelease "release-x" is invalid: spec: something is wrong')
    result = run("release", ONE, "--to", "nobody@elsewhere.example")
    assert result.exit_code == 1
    assert result.stderr.startswith('Error: The QuarantineRelease "release-x" is invalid: spec: something is')
