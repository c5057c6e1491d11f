"""`kubectl mailfilter list` and `show`, and what may go wrong on the way to the agent."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from support.heldmail import MAIL

NAME = "spam/h/hAbcDEfgh123.gz"


def cells(printed):
    return [line.split() for line in printed.splitlines()]


def test_a_table_has_the_newest_first(world, run):
    world.hold("virus/x/xAbcDEfgh123", age=7200, score=1.25, sender="")
    world.hold(NAME, age=60)
    result = run("list", "-n", "mail")
    assert (result.exit_code, result.stderr) == (0, "")
    heads, first, second = cells(result.stdout)
    assert heads == ["ID", "TIME", "KIND", "SCORE", "SENDER", "RECIPIENTS", "SUBJECT"]
    assert first[0] == NAME
    assert first[3:] == ["spam", "1000.0", "alice@client.test", "bob@example.test", "hello"]
    assert second[0] == "virus/x/xAbcDEfgh123"
    assert second[3:] == ["virus", "1.2", "<>", "bob@example.test", "hello"]
    assert all("--namespace=mail" in call for call in world.calls("get"))


def test_it_goes_to_a_ready_pod(world, run):
    run("list")
    (call,) = world.calls("port-forward")
    assert call == ["port-forward", "--address=127.0.0.1", "pod/mx-amavis-0", ":8081"]


def test_a_list_is_as_long_as_is_asked_and_says_what_is_left_out(world, run, monkeypatch):
    monkeypatch.setattr("mailfilter.plugin.agent.LONGEST_PAGE", 10)
    expected = [world.quarantine.hold(f"spam/h/hAbcDEfgh{n}.gz", age=1000 - n) for n in range(100, 125)][::-1]
    world.look()
    result = run("list", "--limit", "23")
    assert [row[0] for row in cells(result.stdout)[1:]] == expected[:23]
    assert result.stderr == "23 of 25 held mails; --limit shows more\n"
    found = json.loads(run("list", "--limit", "100", "-o", "json").stdout)
    assert [one["id"] for one in found["items"]] == expected
    assert (found["total"], found["next"]) == (25, None)


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        (["--kind", "virus"], ["virus/x/xAbcDEfgh123"]),
        (["--sender", "@other.test"], ["virus/x/xAbcDEfgh123"]),
        (["--recipient", "bob@example.test", "--min-score", "100"], [NAME]),
        (["--subject", "HELL", "--max-score", "100"], ["virus/x/xAbcDEfgh123"]),
        (["--since", "1h"], [NAME]),
        (["--until", "1h"], ["virus/x/xAbcDEfgh123"]),
        (["--since", "2026-01-01T00:00Z", "--until", "2026-01-02"], []),
        (["--seen"], []),
        (["--not-released", "--not-seen", "--kind", "spam"], [NAME]),
    ],
)
def test_conditions_are_the_agents(world, run, conditions, expected):
    world.hold("virus/x/xAbcDEfgh123", age=7200, score=1, sender="eve@other.test")
    world.hold(NAME)
    result = run("list", *conditions, "-o", "json")
    assert [one["id"] for one in json.loads(result.stdout)["items"]] == expected
    if not expected:
        assert result.stderr == "no held mail is like that\n"


def test_documents_are_those_of_the_api(world, run):
    world.hold(NAME, mail="From: a@b.test\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\n\nbody\n")
    as_json, as_yaml = run("list", "-o", "json").stdout, run("list", "-o", "yaml").stdout
    assert "Grüße" in as_json
    assert "Grüße" in as_yaml
    assert json.loads(as_json) == yaml.safe_load(as_yaml)
    (item,) = json.loads(as_json)["items"]
    assert (item["id"], item["subject"], item["seen"]) == (NAME, "Grüße", False)


def test_details_have_the_score_of_each_rule(world, run):
    world.hold(NAME)
    printed = run("show", NAME).stdout
    assert "Sender         alice@client.test\n" in printed
    assert "Recipients     bob@example.test\nGot it         carol@example.test\n" in printed
    assert cells(printed)[-4:] == [
        ["SCORE", "RULE"],
        ["1000.000", "GTUBE"],
        ["-1.900", "BAYES_00"],
        ["0.001", "LOCAL_NO_ADDRESS"],
    ]
    assert json.loads(run("show", NAME, "-o", "json").stdout)["tests"]["GTUBE"] == 1000


def test_a_preview_is_text_and_marks_the_mail_as_seen(world, run):
    world.hold(NAME, mail="From: a@b.test\nSubject: x\n\nred \x1b[31m alert \u202e\x9b31m\ttab\n")
    assert json.loads(run("show", NAME, "-o", "json").stdout)["seen"] is False
    printed = run("show", NAME, "--preview").stdout
    assert "red \ufffd[31m alert \ufffd" in printed
    assert "\ttab\n" in printed
    assert all(one.isprintable() or one in "\n\t" for one in printed)
    found = json.loads(run("show", NAME, "--preview", "-o", "json").stdout)
    assert found["seen"] is True
    assert found["preview"]["parts"] == [{"type": "text/plain", "name": "", "size": 29}]


def test_the_raw_mail_is_whole_or_an_error(world, run):
    world.hold(NAME, mail=MAIL + "".join(f"line {number}\n" for number in range(100_000)))
    result = run("show", NAME, "--raw")
    assert result.stdout_bytes == gzip.decompress((world.quarantine.root / NAME).read_bytes())
    path = world.quarantine.root / NAME
    path.write_bytes(path.read_bytes()[:-4000])
    result = run("show", NAME, "--raw")
    assert result.exit_code == 1
    assert "the connection to pod mx-amavis-0 broke" in result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["show", "spam/../x"], "must be a quarantine id"),
        (["show", NAME, "--raw", "-o", "json"], "--raw prints the mail alone"),
        (["list", "--since", "yesterday"], "is no time such as"),
        (["list", "--since", "999999w"], "is no time such as"),
        (["list", "--kind", "junk"], "is not one of 'spam', 'virus', 'banned', 'bad-header'"),
    ],
)
def test_what_is_wrong_is_told_before_the_cluster_is_asked(world, run, words, said):
    result = run(*words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not world.calls("get")


def others(*names):
    return [{"metadata": {"name": name}} for name in names]


@pytest.mark.parametrize(
    ("objects", "words", "said"),
    [
        (
            {"mailfilters.mailfilter.dev": []},
            [],
            "there is no MailFilter in namespace mail: choose another one with -n",
        ),
        (
            {"mailfilters.mailfilter.dev": others("a", "b")},
            [],
            "several MailFilters in namespace mail, choose one with",
        ),
        ({}, ["-m", "my"], "there is no MailFilter my in namespace mail; there is mx"),
        ({"secrets": []}, [], "the MailFilter mx in namespace mail is not set up yet: kubectl mailfilter status"),
        ({"pods": []}, [], "no amavis pod of mx in namespace mail is ready: kubectl mailfilter status says why"),
        ({"pods": [], "mailfilters.mailfilter.dev": []}, ["-m", "mx"], "there is no MailFilter mx"),
    ],
)
def test_where_there_is_no_agent_it_says_what_there_is(world, run, objects, words, said):
    world.save(objects=world.state["objects"] | objects)
    result = run("list", "-n", "mail", *words)
    assert (result.exit_code, result.stdout) == (1, "")
    assert said in result.stderr


@pytest.mark.parametrize(
    ("verb", "resource"),
    [
        ("list", "mailfilters.mailfilter.dev"),
        ("get", "secrets"),
        ("list", "pods"),
        ("create", "pods/portforward"),
    ],
)
def test_a_right_that_is_missing_is_named(world, run, verb, resource):
    world.save(forbidden=[[verb, resource]])
    result = run("list")
    assert (result.exit_code, result.stdout) == (1, "")
    assert f'cannot {verb} resource "{resource}"' in result.stderr
    assert "The example Roles in docs/plugin.md" in result.stderr


def test_a_cluster_without_the_operator_is_told_so(world, run):
    (world.folder / "bin/kubectl").write_text(
        "#!/bin/sh\necho 'error: the server doesn'\"'\"'t have a resource type \"mailfilters\"' >&2; exit 1\n"
    )
    assert "install the operator or its CRDs first" in run("list").stderr


def test_without_kubectl_it_says_so(world, run, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    assert "kubectl is not on PATH" in run("list").stderr


def test_a_token_of_another_gateway_is_refused(world, run):
    world.save(objects=world.state["objects"] | {"secrets": [{**world.state["objects"]["secrets"][0], "data": {}}]})
    world.hold(NAME)
    result = run("list")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "refuses the token of Secret mx-agent" in result.stderr


def test_a_port_forward_that_dies_says_why(world, run):
    world.save(dies="error: unable to forward port because pod is not running. \x1b[31mCurrent status=Pending")
    result = run("list")
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: unable to forward port because pod is not running. \ufffd[31mCurrent status=Pending\n"
    )


def test_a_port_forward_that_is_refused_names_the_right(world, run):
    said = 'pods "mx-amavis-0" is forbidden: User "anna" cannot create resource "pods/portforward" in API group ""'
    world.save(dies=f"error: error upgrading connection: {said}")
    result = run("list")
    assert result.exit_code == 1
    assert said in result.stderr
    assert "The example Roles in docs/plugin.md" in result.stderr


def test_an_agent_that_is_not_there_is_told(world, run):
    world.save(port=1)
    result = run("list")
    assert result.exit_code == 1
    assert "the connection to pod mx-amavis-0 broke: [Errno 111] Connection refused" in result.stderr


def test_a_mail_that_is_gone_is_told(world, run):
    result = run("show", NAME)
    assert (result.exit_code, result.stderr) == (1, "Error: no such held mail\n")


def test_the_program_on_path_is_the_plugin(world):
    world.hold(NAME)
    program = Path(sys.executable).with_name("kubectl-mailfilter")
    done = subprocess.run([program, "list"], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    assert NAME in done.stdout
