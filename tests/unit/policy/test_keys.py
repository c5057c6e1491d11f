"""What holds for whom: the most specific wins, as amavis looks keys up."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailfilter.policy import amavis
from support.samples import spec

RELAY = {"host": "mail.example.com"}


def levels(kill: float) -> dict[str, Any]:
    return {"spam": {"killLevel": kill, "cutoffLevel": 50}}


def looked_up(setting: dict[str, Any], recipient: str) -> Any:
    """What amavis finds (README.lookups): user+ext@, user@, sub.dom, .sub.dom, .dom, then the default."""
    local, _, host = recipient.lower().rpartition("@")
    labels = host.split(".")
    asked = [f"{local}@{host}", f"{local.partition('+')[0]}@{host}", host]
    asked += ["." + ".".join(labels[first:]) for first in range(len(labels))]
    return next((setting["by"][key] for key in asked if key in setting["by"]), setting["default"])


def domain(name: str, kill: float | None = None, *, subdomains: bool = True) -> dict[str, Any]:
    own = {"policy": levels(kill)} if kill is not None else {}
    return {"name": name, "subdomains": subdomains, "relay": RELAY, **own}


DOMAINS = [domain("example.com", 6), domain("deep.sub.example.com"), domain("example.org", 7, subdomains=False)]
RECIPIENTS = [
    {"address": "Bob@example.com", "policy": levels(8)},
    {"address": "bob+tag@example.com", "policy": levels(9)},
    {"address": "plain@example.com", "policy": levels(5)},
    {"address": "carol+x@other.example.com", "policy": levels(10)},
    {"address": "dave@example.org", "policy": {"spam": {"subjectTag": "[spam] "}}},
]


@pytest.mark.parametrize(
    ("recipient", "kill"),
    [
        ("anybody@example.com", 6),
        ("anybody@sub.example.com", 6),
        ("anybody@deep.sub.example.com", 5),  # a domain of its own, without a policy
        ("anybody@very.deep.sub.example.com", 5),
        ("anybody@example.org", 7),
        ("bob@example.com", 8),
        ("BOB+other@example.com", 8),
        ("bob+tag@example.com", 9),
        ("bob@sub.example.com", 6),
        ("plain@example.com", 5),
        ("plain+any@example.com", 5),
        ("carol@other.example.com", 6),
        ("carol+x@other.example.com", 10),
        ("dave@example.org", 7),
    ],
)
def test_the_most_specific_wins(recipient: str, kill: float) -> None:
    document = amavis.policy(spec(domains=DOMAINS, recipients=RECIPIENTS))
    assert looked_up(document["levels"]["kill"], recipient) == kill
    tag = "[spam] " if recipient == "dave@example.org" else ""
    assert looked_up(document["subjectTag"], recipient) == tag


def test_what_is_not_given_is_inherited() -> None:
    """A recipient's from its domain, a domain's from the gateway, one with an extension from the one without."""
    document = amavis.policy(
        spec(
            spam={"tagLevel": 1, "destiny": "Pass"},
            virus={"destiny": "Discard"},
            domains=[
                domain("example.com") | {"policy": {"spam": {"tag2Level": 4}, "banned": {"names": ["*.js"]}}},
            ],
            recipients=[
                {"address": "bob@example.com", "policy": {"virus": {"destiny": "Pass"}}},
                {"address": "bob+x@example.com", "policy": {"banned": {"types": []}}},
            ],
        )
    )
    for bob in ("bob@example.com", "bob+x@example.com"):
        assert looked_up(document["levels"]["tag"], bob) == 1
        assert looked_up(document["levels"]["tag2"], bob) == 4
        assert looked_up(document["destiny"]["spam"], bob) == "Pass"
        assert looked_up(document["destiny"]["virus"], bob) == "Pass"
        assert looked_up(document["banned"], bob)["names"] == ["*.js"]
    assert looked_up(document["banned"], "bob+x@example.com")["types"] == []
    assert looked_up(document["banned"], "bob@example.com")["types"] == ["exe-ms", "dll"]
    assert document["destiny"]["virus"]["default"] == "Discard"


def test_without_overrides_nothing_differs_by_recipient() -> None:
    assert amavis.policy(spec())["levels"]["kill"] == {"default": 5.0, "by": {}}


NAMES = ["a.test", "b.a.test", "c.b.a.test", "other.test"]
LOCALS = ["u", "u+x", "v"]
KILL = st.one_of(st.none(), st.integers(5, 9))


@given(
    domains=st.dictionaries(st.sampled_from(NAMES), st.tuples(KILL, st.booleans()), min_size=1),
    wanted=st.dictionaries(st.tuples(st.sampled_from(LOCALS), st.sampled_from(NAMES)), st.integers(5, 9)),
    asked=st.tuples(st.sampled_from([*LOCALS, "u+y"]), st.sampled_from([*NAMES, "z.a.test", "z.b.a.test"])),
)
def test_any_set_of_overrides(
    domains: dict[str, tuple[int | None, bool]], wanted: dict[tuple[str, str], int], asked: tuple[str, str]
) -> None:
    def covering(host: str) -> str | None:
        """The declared domain of a host: itself, or the nearest one above that has subdomains."""
        if host in domains:
            return host
        above = [name for name, (_, subdomains) in domains.items() if subdomains and host.endswith(f".{name}")]
        return max(above, key=len, default=None)

    recipients = {who: kill for who, kill in wanted.items() if covering(who[1])}
    document = amavis.policy(
        spec(
            domains=[domain(name, kill, subdomains=sub) for name, (kill, sub) in domains.items()],
            recipients=[{"address": "@".join(who), "policy": levels(kill)} for who, kill in recipients.items()],
        )
    )
    local, host = asked
    own = recipients.get(asked, recipients.get((local.partition("+")[0], host)))
    home = covering(host)
    if home is None:
        return  # no mail to it is accepted
    expected = own if own is not None else domains[home][0]
    assert looked_up(document["levels"]["kill"], "@".join(asked)) == (5 if expected is None else expected)
