"""What the shell offers, through kubectl and by itself."""

import subprocess
import sys
from pathlib import Path

import pytest

from mailfilter.plugin import completion

ONE, OTHER = "spam/h/hAbcDEfgh123.gz", "virus/x/xAbcDEfgh123"


@pytest.fixture
def offered(world, monkeypatch, capsys):
    """Asks as kubectl does; the candidates, and the directive."""

    def ask(*words):
        monkeypatch.setattr(sys, "argv", ["kubectl_complete-mailfilter", *words])
        completion.main()
        *found, directive = capsys.readouterr().out.splitlines()
        return [line.split("\t") for line in found], directive

    return ask


def values(found):
    return [one[0] for one in found]


def test_commands_have_their_help(offered):
    found, directive = offered("re")
    assert found == [["release", "Give held mail to its recipients."]]
    assert directive == ":4"


def test_ids_are_those_of_the_newest_mails(world, offered):
    world.hold(ONE, age=10)
    world.hold(OTHER, age=5, mail="From: a@b.test\nSubject: a \x1b[31m b\n\nbody\n")
    assert offered("show", "") == (
        [[OTHER, "alice@client.test: a \ufffd[31m b"], [ONE, "alice@client.test: hello"]],
        ":4",
    )
    assert values(offered("release", ONE, "")[0]) == [OTHER]
    assert values(offered("release", "-n", "mail", "sp")[0]) == [ONE]
    assert "--namespace=mail" in world.calls("port-forward")[-1]


def test_filters_namespaces_and_contexts_are_the_clusters(world, offered):
    others = [{"metadata": {"name": name}} for name in ("mx", "my", "other")]
    world.save(objects={"mailfilters.mailfilter.dev": others, "namespaces": others})
    assert values(offered("list", "-m", "m")[0]) == ["mx", "my"]
    assert values(offered("list", "-n", "o")[0]) == ["other"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("list", "--kind", ""), ["spam", "virus", "banned", "bad-header"]),
        (("list", "--kind", "b"), ["banned", "bad-header"]),
        (("show", "-o", ""), ["json", "yaml"]),
        (("show", "--p"), ["--preview"]),
    ],
)
def test_what_is_fixed_needs_no_cluster(world, offered, words, expected):
    assert values(offered(*words)[0]) == expected
    assert not world.calls("get")


def test_files_are_the_shells(offered):
    assert offered("list", "--kubeconfig", "") == ([], ":0")


@pytest.mark.parametrize("change", [{"forbidden": [["list", "mailfilters.mailfilter.dev"]]}, {"dies": "error: no"}])
def test_nothing_is_said_where_nothing_can_be_offered(world, offered, capsys, change):
    world.save(**change)
    assert offered("show", "") == ([], ":4")
    assert capsys.readouterr().err == ""


def test_a_shell_without_kubectl_has_the_same(world, monkeypatch):
    monkeypatch.setenv("COMP_WORDS", "mailfilter quarantine li")
    monkeypatch.setenv("COMP_CWORD", "2")
    monkeypatch.setenv("_MAILFILTER_COMPLETE", "bash_complete")
    program = Path(sys.executable).with_name("mailfilter")
    done = subprocess.run([program], capture_output=True, text=True, timeout=30)
    assert done.stdout == "plain,list\n"
