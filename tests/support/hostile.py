"""MailFilters in which one string at a time holds what could be syntax to somebody."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import ValidationError

from mailfilter.api.mailfilter import MailFilterSpec
from mailfilter.policy.spamrules import bad_rules
from support.samples import FULL

FRAGMENTS = (
    *("\n", "\r", "\r\n", "\t", " ", "\0", "\x1b", "\x7f", "\x85", "\u2028", "\ufeff", "é", "😀"),
    *('"', "'", "`", "\\", "$", "$x", "${x}", "$(id)", "@", "@{[1]}", "%", "%s", "#", ";", "|", "||", "&", "<", ">"),
    *("(", ")", "[", "]", "{", "}", "*", "?", "!", "=", "+", "-", "_", ",", ":", "/", ".", "..", "~", "^"),
    *(
        '","',
        "'; system('id'); '",
        "\nBcc: x@y.example",
        "\nloadplugin X /tmp/x.pm",
        " = x",
        "=>",
        "(?{1})",
        "x" * 100_000,
    ),
)


@dataclass(frozen=True)
class Mutant:
    """A valid MailFilter; `path` says where it differs from the full sample."""

    path: str
    value: str
    spec: MailFilterSpec


@cache
def mutants() -> tuple[Mutant, ...]:
    """Every fragment in every string of the full sample, before, behind and in the middle of it or instead: those that
    the models take."""
    return tuple(
        mutant for path, old in _strings(FULL, ()) for value in _variants(old) for mutant in _made(path, value)
    )


RULES = (
    "header OWN Subject =~ /x y/i [if-unset: none]",
    "header OWN exists:List-Id",
    "body OWN /x y/",
    "uri OWN m{https?://x/}",
    "meta OWN GTUBE && (BAYES_99 > 1)",
    "score GTUBE 1.5",
    "describe GTUBE some text",
    "tflags GTUBE nice multiple",
)


@cache
def rules() -> tuple[str, ...]:
    """The same for lines of spam.rules: those that the operator lets go to SpamAssassin."""
    lines = (line for rule in RULES for line in (*_variants(rule), *_variants_of_words(rule)))
    return tuple(dict.fromkeys(line for line in lines if not bad_rules(line)))


def _variants_of_words(rule: str) -> Iterator[str]:
    words = rule.split(" ")
    for number in range(len(words)):
        for word in _variants(words[number]):
            yield " ".join([*words[:number], word, *words[number + 1 :]])


def _strings(node: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], str]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _strings(value, (*path, key))
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from _strings(value, (*path, number))
    elif isinstance(node, str):
        yield path, node


def _variants(old: str) -> Iterator[str]:
    middle = len(old) // 2
    for fragment in FRAGMENTS:
        yield from (fragment, fragment + old, old + fragment, old[:middle] + fragment + old[middle:])


def _made(path: tuple[Any, ...], value: str) -> Iterator[Mutant]:
    body = copy.deepcopy(FULL)
    place: Any = body
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    try:
        yield Mutant(".".join(map(str, path)), value, MailFilterSpec.model_validate(body))
    except ValidationError:
        return
