"""Nothing of a mail acts on a terminal, whatever the agent or the API server passes on."""

import json

import pytest
import yaml

from mailfilter.plugin import output
from mailfilter.plugin.errors import PluginError
from mailfilter.plugin.output import Column

HOSTILE = "a\x1b]0;t\x07\x9b31m\u202eb\rc\x00\n\u2028d"


def harmless(printed):
    return all(one.isprintable() or one == "\n" for one in printed)


def test_tables(capsys):
    output.table([Column("x"), Column("y")], [[HOSTILE, "[red]:smile: é"]])
    printed = capsys.readouterr().out
    assert harmless(printed)
    assert len(printed.splitlines()) == 2
    assert "[red]:smile: é" in printed


def test_documents_are_harmless_and_say_the_same(capsys):
    for form, read in (("json", json.loads), ("yaml", yaml.safe_load)):
        output.document({"x": HOSTILE, "y": "é😀"}, form)
        printed = capsys.readouterr().out
        assert harmless(printed)
        assert read(printed) == {"x": HOSTILE, "y": "é😀"}


def test_errors(capsys):
    PluginError(f"{HOSTILE}\n").show()
    assert harmless(capsys.readouterr().err)


@pytest.mark.parametrize(
    ("width", "row"),
    [
        ("200", ["spam/h/hAbcDEfgh123.gz", "sender@client.example", "7.3"]),
        ("50", ["spam/h/hAbcDEfgh123.gz", "sender@client.exam…", "7.3"]),
        # Where there is no room for it, nothing is cut.
        ("30", ["spam/h/hAbcDEfgh123.gz", "sender@client.example", "7.3"]),
    ],
)
def test_a_narrow_terminal_cuts_only_what_may_be_cut(capsys, monkeypatch, width, row):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", width)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    columns = [Column("id"), Column("sender", elastic=True), Column("score", right=True)]
    output.table(columns, [["spam/h/hAbcDEfgh123.gz", "sender@client.example", "7.3"]])
    assert capsys.readouterr().out.splitlines()[1].split() == row
