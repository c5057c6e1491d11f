"""Whatever the models take of a hostile string is in each file as that string and changes nothing else."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from ipaddress import ip_network
from typing import Any

import pytest

from mailfilter.api.mailfilter import MailFilterSpec
from mailfilter.policy import amavis, clamav, postfix
from mailfilter.policy.spamrules import unix_lines
from support.hostile import FRAGMENTS, Mutant, mutants
from support.samples import FULL, NAMES, spec

PLAIN = spec(FULL)


def shape(node: Any, of_recipients: bool = False) -> Any:
    """A document without its strings; keys that are addresses are strings, too."""
    if isinstance(node, dict):
        return frozenset(("*" if of_recipients else key, shape(value, key == "by")) for key, value in node.items())
    if isinstance(node, list):
        return frozenset(shape(one) for one in node)
    return type(node).__name__


def strings(node: Any) -> Iterator[str]:
    """All strings of a document, keys included."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield key
            yield from strings(value)
    elif isinstance(node, list):
        for one in node:
            yield from strings(one)
    elif isinstance(node, str):
        yield node


def forms(value: str) -> set[str]:
    """What a value may look like in a file: itself, in lower case, with what the product puts around it."""
    low = value.lower()
    local = (f"{value}@example.org", f"{low}@example.org")
    network = set()
    with suppress(ValueError):
        network = {str(ip_network(value, strict=False))}
    return {
        value,
        unix_lines(value),
        low,
        *network,
        *local,
        f"nexthop:[{low}]:25",
        f"postmaster@{low}",
        f"{value}, bob@example.org",
        f"info@example.com, {value}",
    }


def logical_lines(text: str) -> list[str]:
    """As postconf(1) and postmap(1) read a file: comments go, a line that begins with a blank goes on."""
    found: list[str] = []
    for line in text.split("\n"):
        if not line.strip() or line.lstrip()[0] == "#":
            continue
        if line[0] in " \t\r\v\f" and found:
            found[-1] += line
        else:
            found.append(line)
    return found


def test_every_kind_of_string_is_tried() -> None:
    paths = {mutant.path for mutant in mutants()}
    assert {"spam.rules", "spam.subjectTag", "banned.names.0", "lists.deny.0", "domains.0.aliases.info.0"} <= paths
    assert len(mutants()) > 1500
    assert max(map(len, FRAGMENTS)) == 100_000


def test_policy() -> None:
    plain = json.loads(amavis.policy_json(PLAIN))
    known = set(strings(plain))
    for mutant in mutants():
        document = json.loads(amavis.policy_json(mutant.spec))
        if mutant.path == "spam.rules" and document["spamRules"] is None:
            assert mutant.value == "\r"
            continue
        assert shape(document) == shape(plain), mutant
        new = set(strings(document)) - known
        if "lists" in mutant.path.split("."):
            # Senders are normalised: one key for the one entry, of characters that a key may have.
            assert len(new) <= 1, mutant
            assert all(re.fullmatch(r"[\x21-\x7e]*", key) for key in new), mutant
        else:
            assert new <= forms(mutant.value) | {""}, mutant


def test_tables() -> None:
    known = set(strings(postfix.tables(PLAIN)))
    for mutant in mutants():
        tables = postfix.tables(mutant.spec)
        for name, table in tables.items():
            lines = logical_lines(postfix.table_source(table))
            assert dict(line.split("\t") for line in lines) == table, (name, mutant)
            assert all(key[0] not in '"' for key in table), mutant
        assert set(strings(tables)) - known <= forms(mutant.value), mutant


def test_main_cf() -> None:
    plain = postfix.parameters(PLAIN, NAMES)
    for mutant in mutants():
        values = postfix.parameters(mutant.spec, NAMES)
        lines = logical_lines(postfix.main_cf(values))
        assert dict(line.split(" = ") if " = " in line else (line.rstrip(" ="), "") for line in lines) == values, mutant
        changed = {name for name in plain if values[name] != plain[name]}
        assert values.keys() == plain.keys()
        own = {"hostname": "myhostname", "postfix.dnsbl.sites.0.name": "postscreen_dnsbl_sites"}
        own["postfix.dnsbl.sites.1.name"] = "postscreen_dnsbl_sites"
        own["outgoing.relay.host"] = "default_transport"
        assert changed <= {own.get(mutant.path)}, mutant


@pytest.mark.parametrize(
    "render",
    [clamav.clamd_conf, clamav.freshclam_conf, lambda wanted: clamav.follow_conf(wanted, NAMES)],
    ids=["clamd", "freshclam", "follow"],
)
def test_clamav(render: Callable[[MailFilterSpec], str]) -> None:
    plain = [line.split(" ", 1) for line in render(PLAIN).splitlines()]
    for mutant in mutants():
        found = [line.split(" ", 1) for line in render(mutant.spec).splitlines()]
        assert [name for name, _ in found] == [name for name, _ in plain], mutant
        for (name, old), (_, new) in zip(plain, found, strict=True):
            assert new == old or own_file(name, new, mutant), mutant


def own_file(setting: str, value: str, mutant: Mutant) -> bool:
    """Whether a setting has the mutant's URL, or the file of that name at the cluster's own mirror."""
    if setting == "PrivateMirror":
        return value == mutant.value
    return setting == "DatabaseCustomURL" and value.rpartition("/")[2] == mutant.value.rpartition("/")[2]
