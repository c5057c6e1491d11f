"""A value of the resource becomes data in a file of a daemon, never syntax, whatever it is."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from mailfilter.api import fields
from mailfilter.api.domains import Domain
from mailfilter.api.mailfilter import MailFilterSpec
from mailfilter.policy import amavis, clamav, keys, postfix
from mailfilter.policy.spamrules import unix_lines
from support.samples import FULL, NAMES, SMALL, spec, with_changes


def of_type(name: str) -> st.SearchStrategy[str]:
    """Strings that the field type takes, from its own pattern."""
    kind = getattr(fields, name)
    adapter = TypeAdapter(kind)
    schema = adapter.json_schema()
    literal = schema.get("pattern") or schema[fields.VALIDATIONS][0]["rule"].split("'", 1)[1].rsplit("'", 1)[0]
    pattern = literal if "pattern" in schema else literal.replace("\\'", "'").replace("\\\\", "\\")

    def fits(value: str) -> bool:
        return len(value) <= schema["maxLength"] and not value.endswith("\n")

    return st.from_regex(pattern.removeprefix("^").removesuffix("$"), fullmatch=True).filter(fits)


ANYTHING = st.text(max_size=50)


@given(subject=of_type("PrintableAscii"), rules=ANYTHING, name=of_type("FileNamePattern"), sender=of_type("HeaderFrom"))
def test_policy_holds_values_unchanged(subject: str, rules: str, name: str, sender: str) -> None:
    plain = amavis.policy(spec(FULL, banned={"presets": []}))
    changed = spec(
        FULL,
        spam={"subjectTag": subject, "rules": rules},
        banned={"names": [name], "presets": []},
        notifications={"headerFrom": sender},
    )
    document = json.loads(amavis.policy_json(changed))
    plain.pop("subjectTag")
    assert document.pop("subjectTag") == {"default": subject, "by": {"example.org": ""} if subject else {}}
    assert document == with_changes(
        plain,
        spamRules=unix_lines(rules) or None,
        banned={"default": {"names": [name]}, "by": {"abuse@example.com": {"names": [name]}}},
        notifications={"headerFrom": sender},
    )


@given(local=of_type("LocalPart"), tag=of_type("PrintableAscii"), name=of_type("FileNamePattern"))
def test_what_a_recipient_has_of_its_own_is_itself(local: str, tag: str, name: str) -> None:
    """Whatever characters it is of; nothing else changes."""
    address = f"{local}@example.com"
    own = {"spam": {"subjectTag": tag}, "banned": {"names": [name]}}
    plain = amavis.policy(spec())
    document = json.loads(amavis.policy_json(spec(recipients=[{"address": address, "policy": own}])))
    assert document.pop("subjectTag")["by"] == ({address: tag} if tag else {})
    by = document.pop("banned")["by"]
    assert by == {address: plain["banned"]["default"] | {"names": [name]}}
    assert document == {key: value for key, value in plain.items() if key not in ("subjectTag", "banned")}


@given(patterns=st.lists(of_type("SenderPattern"), max_size=5))
def test_senders_change_their_list_alone(patterns: list[str]) -> None:
    plain = amavis.policy(spec(FULL))
    document = json.loads(amavis.policy_json(spec(FULL, lists={"deny": patterns})))
    denied = document["senders"]["default"].pop("deny")
    assert all(re.fullmatch(r"[\x20-\x7e]{0,320}", key) and key == key.lower() for key in denied)
    assert len(denied) <= len(patterns)
    plain["senders"]["default"].pop("deny")
    assert document == plain


@given(
    name=of_type("DomainName"),
    host=of_type("HostName"),
    aliases=st.dictionaries(of_type("LocalPart"), st.lists(of_type("AliasTarget"), min_size=1, max_size=3), max_size=3),
    admin=of_type("EmailAddress"),
)
def test_one_line_a_key_in_tables(name: str, host: str, aliases: dict[str, list[str]], admin: str) -> None:
    domain = {"name": name, "relay": {"host": host}, "aliases": aliases}
    wanted = spec(domains=[domain], admin=admin, notifications={"virusAdmin": admin})
    for table, lines in postfix.tables(wanted).items():
        found = postfix.table_source(lines).splitlines()
        assert len(found) == len(lines)
        for line in found:
            assert line.count("\t") == 1
            key, value = line.split("\t")
            # postmap(1): a comment, a continuation line, a quoted key.
            assert key[0] not in '# "'
            assert lines[key] == value, table
    assert postfix.tables(wanted)["transport"][name] == f"nexthop:[{host.lower()}]:25"
    for local, targets in aliases.items():
        assert postfix.tables(wanted)["virtual_alias"][f"{local}@{name}"].split(", ") == targets


@given(value=ANYTHING)
def test_main_cf_takes_a_value_as_itself_or_not_at_all(value: str) -> None:
    try:
        text = postfix.main_cf({"a": value, "b": "1"})
    except ValueError:
        return
    assert text == f"a = {value}\nb = 1\n"
    assert text.isascii()
    assert len(text.splitlines()) == 2
    assert "$" not in text


@pytest.mark.parametrize("value", ["$x", "${x}", "a\nb = c", "a\r", "{a}", '"a"', "a\n", "a\\", "#a", "<a", "ä"])
def test_main_cf_refuses(value: str) -> None:
    with pytest.raises(ValueError, match="myhostname"):
        postfix.main_cf({"myhostname": value})


@given(hostname=of_type("FullHostName"))
def test_hostname_is_one_parameter(hostname: str) -> None:
    text = postfix.main_cf(postfix.parameters(spec(hostname=hostname), NAMES))
    plain = postfix.main_cf(postfix.parameters(spec(), NAMES))
    differing = [line for line in text.splitlines() if line not in plain.splitlines()]
    assert differing in ([f"myhostname = {hostname.lower()}"], [])


@given(mirror=of_type("HttpUrl"), own=of_type("SignatureUrl"))
def test_urls_are_one_setting(mirror: str, own: str) -> None:
    wanted = spec(freshclam={"mirror": mirror, "customURLs": [own]})
    lines = clamav.freshclam_conf(wanted).splitlines()
    assert f"PrivateMirror {mirror}" in lines
    assert f"DatabaseCustomURL {own}" in lines
    assert len(lines) == len(clamav.freshclam_conf(spec()).splitlines()) + 1
    follow = clamav.follow_conf(wanted, NAMES).splitlines()
    assert len(follow) == len(clamav.follow_conf(spec(), NAMES).splitlines()) + 1


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ({"name": "example.com"}, ["example.com", ".example.com"]),
        ({"name": "example.com", "subdomains": False}, ["example.com"]),
    ],
)
def test_a_domain_means_the_same_to_postfix_and_amavis(domain: dict[str, Any], expected: list[str]) -> None:
    """B20: the same keys on both sides, so that no domain is accepted by one and foreign to the other."""
    wanted = spec(domains=[domain | {"relay": {"host": "mail"}}])
    assert keys.domain_keys(Domain.model_validate(wanted.domains[0])) == expected
    assert set(amavis.policy(wanted)["localDomains"]) == set(expected)
    tables = postfix.tables(wanted)
    assert set(tables["relay_domains"]) == set(tables["transport"]) == set(expected)


def test_b18_all_domains_are_local_whatever_the_host_is_called() -> None:
    wanted = spec(
        hostname="mx.filter.example",
        domains=[{"name": f"d{number}.example", "relay": {"host": "mail"}} for number in range(3)],
    )
    local = amavis.policy(wanted)["localDomains"]
    assert local == sorted(key for number in range(3) for key in (f"d{number}.example", f".d{number}.example"))
    assert "filter.example" not in str(local)


@pytest.mark.parametrize("lists", [{}, {"allow": [], "deny": []}])
def test_b31_lists_are_there_when_empty(lists: dict[str, Any]) -> None:
    document = amavis.policy(spec(lists=lists))
    assert document["senders"]["default"] == {"allow": [], "deny": [], "scores": []}


@pytest.mark.parametrize("value", ["***SPAM*** $1 @x ", "'; system(q(id)); '", "\\", '"}{"'])
def test_b32_special_characters_are_characters(value: str) -> None:
    assert json.loads(amavis.policy_json(spec(spam={"subjectTag": value})))["subjectTag"]["default"] == value
    senders = ["o'brien@x.example", "a$b@x.example", "a|b&c@x.example"]
    assert amavis.policy(spec(lists={"allow": senders}))["senders"]["default"]["allow"] == sorted(senders)


def test_notices_come_from_the_first_domain() -> None:
    notices = amavis.policy(spec())["notifications"]
    assert notices["mailFrom"] == "postmaster@example.com"
    assert notices["headerFrom"] == "Content-filter <postmaster@example.com>"


def test_admin_gets_what_nothing_else_is_said_about() -> None:
    aliases = postfix.tables(spec(FULL))["virtual_alias"]
    assert aliases["abuse@example.com"] == "abuse@isp.example"
    assert aliases["root@example.com"] == aliases["abuse@example.org"] == "admin@example.com"
    assert aliases["info@example.com"] == "info@example.com, bob@example.org"
    assert aliases["postmaster@mx.filter.example"] == "admin@example.com"
    # Without an admin the host's own postmaster is that of the first domain.
    assert postfix.tables(spec())["virtual_alias"] == {"postmaster@mx.example.com": "postmaster@example.com"}
    own = {"name": "mx.example.com", "relay": {"host": "mail"}, "aliases": {"postmaster": ["bob@example.com"]}}
    assert postfix.tables(spec(domains=[own]))["virtual_alias"] == {"postmaster@mx.example.com": "bob@example.com"}


def test_table_keys_are_lower_case() -> None:
    """postmap folds keys; amavis and Postfix look up in lower case."""
    for lines in postfix.tables(spec(FULL)).values():
        assert all(key == key.lower() for key in lines)


@pytest.mark.parametrize("size", [65536, 26214400, 1073741824])
def test_clamd_limits_are_at_or_above_the_message_size(size: int) -> None:
    settings = dict(line.split(" ", 1) for line in clamav.clamd_conf(spec(messageSizeLimit=size)).splitlines())
    for limit in ("StreamMaxLength", "MaxFileSize", "MaxScanSize"):
        assert int(settings[limit]) >= size
    # What clamd does not look at it must report, and its own maximum is a 32 bit number.
    assert settings["AlertExceedsMax"] == "yes"
    assert int(settings["MaxFileSize"]) < 2**32


def test_hashes_tell_every_change() -> None:
    sources = {"a": "1", "b": "2"}
    found = {
        postfix.tables_hash(one)
        for one in (sources, {"a": "12", "b": ""}, {"a": "", "b": "12"}, {"a1": "", "b": "2"}, {"a": "1"})
    }
    assert len(found) == 5
    assert postfix.tables_hash(dict(reversed(sources.items()))) == postfix.tables_hash(sources)


def test_samples_are_valid() -> None:
    assert MailFilterSpec.model_validate(SMALL).spam.kill_level == 5
