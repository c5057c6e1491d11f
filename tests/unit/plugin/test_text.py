"""Nothing of a mail acts on a terminal, whatever the agent or the API server passes on."""

import json

import yaml

from mailfilter.plugin import output
from mailfilter.plugin.errors import PluginError
from mailfilter.plugin.output import Column

HOSTILE = "a\x1b]0;t\x07\x9b31m\u202eb\rc\x00\n\u2028d"


def harmless(printed):
    return all(one.isprintable() or one == "\n" for one in printed)


def test_tables(capsys):
    output.table([Column("x"), Column("y", whole=True)], [[HOSTILE, "[red]:smile: é"]])
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
