"""Patterns of senders: what people write, as the one form that the gateway looks up (docs/lists.md).

Keys are `user@example.com`, `user@` (that name at any domain), `example.com` (that domain alone), `.example.com` (the
domain and its subdomains) and the empty string (the null sender); all in lower case, domains as A-labels.
"""

import ipaddress
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import idna
from pydantic import TypeAdapter, ValidationError

from mailfilter.api.domains import Domain
from mailfilter.api.fields import SenderPattern
from mailfilter.api.lists import Lists, SenderScore
from mailfilter.api.mailfilter import MailFilterSpec
from mailfilter.api.overrides import OwnLists, OwnScore
from mailfilter.api.scopes import Scope, less_specific
from mailfilter.policy.keys import scope_keys
from mailfilter.policy.presets import CLASSIC_SCORES

PRESETS = {"ClassicScores": CLASSIC_SCORES}

_PATTERN: TypeAdapter[str] = TypeAdapter(SenderPattern)
_ASCII_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")


class PatternError(ValueError):
    """A pattern that cannot match what it seems to say; the text says what is wrong and what is right."""


@dataclass
class Normalised:
    """Lists as amavis looks them up, and what came of each pattern that reads differently there."""

    allow: list[str] = field(default_factory=list)
    deny: list[str] = field(default_factory=list)
    scores: list[dict[str, Any]] = field(default_factory=list)
    """Objects of `sender` or `senderRegexp`, and `score`; the first that matches decides."""
    rewritten: dict[str, str] = field(default_factory=dict)
    """Pattern → key."""
    refused: list[str] = field(default_factory=list)
    """`<field>: <reason>` of each pattern that is left out."""

    def document(self) -> dict[str, Any]:
        """The form in policy.json."""
        return {"allow": self.allow, "deny": self.deny, "scores": self.scores}


def key(pattern: str) -> str:
    """The key of a pattern. Raises PatternError."""
    text = pattern.strip()
    try:
        _PATTERN.validate_python(text)
    except ValidationError:
        raise PatternError(_why_not(text)) from None
    if text == "<>":
        return ""
    local, _, domain = text.rpartition("@")
    if local not in ("", "*"):
        return f"{local.lower()}@{'' if domain in ('', '*') else _a_labels(domain)}"
    bare = domain.removeprefix("*")
    return f".{_a_labels(bare[1:])}" if bare.startswith(".") else _a_labels(bare)


# For what a MailFilter itself says, which is rendered again and again.
_known_key = lru_cache(maxsize=8192)(key)


def normalised(lists: Lists | OwnLists, where: str = "spec.lists") -> Normalised:
    """The keys of lists, those of each list sorted and each once."""
    found = Normalised()

    def keyed(pattern: str, place: str) -> str | None:
        try:
            one = _known_key(pattern)
        except PatternError as error:
            found.refused.append(f"{where}.{place}: {error}")
            return None
        if one != pattern and pattern != "<>":
            found.rewritten[pattern] = one
        return one

    def keys(patterns: list[str], name: str) -> list[str]:
        all_keys = (keyed(pattern, f"{name}[{number}]") for number, pattern in enumerate(patterns))
        return sorted({one for one in all_keys if one is not None})

    found.allow, found.deny = keys(lists.allow, "allow"), keys(lists.deny, "deny")
    scores: Sequence[SenderScore | OwnScore] = lists.scores
    for number, score in enumerate(scores):
        if score.sender_regexp is not None:
            found.scores.append({"senderRegexp": score.sender_regexp, "score": score.score})
        elif score.sender is not None and (one := keyed(score.sender, f"scores[{number}].sender")) is not None:
            found.scores.append({"sender": one, "score": score.score})
    for preset in lists.presets if isinstance(lists, Lists) else ():
        found.scores.extend(_document(score) for score in PRESETS[preset])
    return found


def gateway_lists(spec: MailFilterSpec) -> Normalised:
    """The keys of the spec's lists, and of the senders that releases have allowed."""
    found = normalised(spec.lists)
    for one in spec.released_senders:
        try:
            found.allow.append(_known_key(one.sender))
        except PatternError as error:
            found.refused.append(f"spec.releasedSenders: {error}")
    found.allow = sorted(set(found.allow))
    return found


def matching(address: str) -> set[str]:
    """All keys that match an address, itself a key."""
    user, _, domain = address.rpartition("@")
    labels = domain.split(".")
    return {address, f"{user}@", domain, *(f".{'.'.join(labels[start:])}" for start in range(len(labels)))}


def all_lists(spec: MailFilterSpec) -> Iterator[Normalised]:
    """The lists of the spec, then those of its domains and recipients."""
    yield gateway_lists(spec)
    for scope in spec.scopes():
        yield _own(scope)


def lists_by_key(spec: MailFilterSpec) -> dict[str, dict[str, Any]]:
    """Lookup key of a domain or recipient → the lists that are asked before the spec's.

    A domain without lists has an entry where it would else have those of the domain above it.
    """
    by: dict[str, dict[str, Any]] = {}
    for scope in spec.scopes():
        document = _own(scope).document()
        for one in scope_keys(scope.of):
            if any(document.values()) or (isinstance(scope.of, Domain) and any(up in by for up in less_specific(one))):
                by[one] = document
    return by


def _own(scope: Scope) -> Normalised:
    given = scope.of.policy
    return normalised(given.lists, f"{scope} policy.lists") if given and given.lists else Normalised()


def _document(score: SenderScore) -> dict[str, Any]:
    return score.model_dump(by_alias=True, exclude_none=True)


def _a_labels(domain: str) -> str:
    """The domain as it stands in DNS. Nontransitional UTS 46, as browsers and libidn2, which amavis uses, have it."""
    name = domain.removesuffix(".").lower()
    if not name.isascii():
        try:
            name = idna.encode(name, uts46=True).decode()
        except (idna.IDNAError, UnicodeError) as error:
            raise PatternError(f"{domain} is not an internationalised domain name: {error}") from None
    if len(name) > 253 or not all(_ASCII_LABEL.fullmatch(label) for label in name.split(".")):
        raise PatternError(f"{domain} cannot be a domain: it or a part between dots is empty or too long")
    return name


def _why_not(text: str) -> str:
    """What is wrong with a pattern that is not one, and what to write instead."""
    shown = text if len(text) <= 60 else f"{text[:60]}…"
    local, at, domain = text.rpartition("@")
    inner = re.fullmatch(r"(?:mailto:|.*<)?([^\s<>]+@[^\s<>]+?)>?", text)
    if not text:
        return "is empty"
    if _is_network(text) or (at and _is_network(domain.strip("[]"))):
        return f"{shown}: an IP address is no sender; mail servers go to lists.clients"
    if text in ("*", ".", "@", "*@*", "*@", "*.*", "@*"):
        return f"{shown} would be every sender; to let all spam pass set spam.enabled: false"
    if text.startswith("!"):
        return f"{shown}: there are no exceptions with !; put it on the other list, and see which list goes first"
    if text.startswith("/") or "|" in domain or "(" in text:
        return f"{shown}: a regular expression goes to lists.scores[].senderRegexp"
    if "://" in text:
        return f"{shown}: write the domain alone, without http:// and path"
    if inner and inner[1] != text:
        return f"{shown}: write the address alone: {inner[1]}"
    if re.search(r"[\s,;]", text):
        return f"{shown}: one pattern, without blanks and commas"
    if at and not local.isascii():
        return f"{shown}: only ASCII before the @; list the domain instead"
    if "*" in text or "?" in text:
        return f"{shown}: * stands only for a whole part, as in *@example.com, *.example.com and user@*"
    if not at and re.fullmatch(r"[A-Za-z0-9-]+", text):
        return f"{shown}: write the domain in full, or .{text.lower()} for all domains that end so, or {text}@*"
    return (
        f"{shown} is none of user@example.com, example.com, @example.com, .example.com, *.example.com, user@* and <>, "
        "in at most 254 characters"
    )


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True
