"""The language of the templates of digests (docs/notices.md)."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

DEFAULT_TEMPLATE = """\
Subject: Mail held for you: $count

The mail filter held mail for $recipient
since $since and did not deliver it.

$each
$time   $kind, score $score
    from     $from
    subject  $subject
    id       $id

$end
$rest
... and $left more.

$end
Mails held for you in all: $total

If one of them is wanted, ask for it by its id: $contact
"""
# A ConfigMap may be larger; a mail of words need not be.
MOST_CHARACTERS = 16384

OF_DIGEST = frozenset({"count", "total", "recipient", "domain", "since", "until", "date", "zone", "contact"})
OF_MAIL = frozenset({"time", "kind", "score", "from", "sender", "subject", "id"})
OF_REST = frozenset({"left"})
_BLOCKS = {"$each": OF_MAIL, "$rest": OF_REST}
_PLACE = re.compile(r"\$(?:\$|([a-z]+)|\{([a-z]+)\})?")
_SUBJECT = "Subject:"


class TemplateError(ValueError):
    """What is wrong with a template, beginning with `line <number>: `."""


@dataclass(frozen=True)
class Part:
    """Lines that stand there once, for each mail, or when there is a rest."""

    kind: Literal["text", "$each", "$rest"]
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Template:
    """A template that has no mistake."""

    subject: str
    parts: tuple[Part, ...]

    def render(
        self, values: Mapping[str, str], mails: Iterable[Mapping[str, str]], rest: Mapping[str, str] | None
    ) -> tuple[str, str]:
        """Subject and text. Values are not looked at for placeholders, and have to be single lines."""
        found: list[str] = []
        for part in self.parts:
            if part.kind == "$each":
                for mail in mails:
                    found += [_filled(line, {**values, **mail}) for line in part.lines]
            elif part.kind == "text" or rest is not None:
                found += [_filled(line, {**values, **(rest or {})}) for line in part.lines]
        return _filled(self.subject, values), "".join(f"{line}\n" for line in found)


def parse(text: str) -> Template:
    """Reads a template. Raises TemplateError."""
    if len(text) > MOST_CHARACTERS:
        raise TemplateError(f"line 1: the template has more than {MOST_CHARACTERS} characters")
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    if lines[-1] == "":
        lines.pop()
    for number, line in enumerate(lines, 1):
        if not all(one.isprintable() or one == "\t" for one in line):
            raise TemplateError(f"line {number}: a control character, or one that cannot be seen")
    if not lines or not lines[0].startswith(_SUBJECT) or (len(lines) > 1 and lines[1].strip()):
        raise TemplateError("line 1: the first line must be Subject: and words, the second one empty")
    _check(lines[0], 1, OF_DIGEST)
    parts = list(_parts(lines))
    if [part.kind for part in parts].count("$each") != 1:
        raise TemplateError(f"line {len(lines)}: one block of $each and $end must list the mails")
    return Template(lines[0].removeprefix(_SUBJECT).strip(), tuple(parts))


def _parts(lines: list[str]) -> Iterable[Part]:
    gathered: list[str] = []
    kind: Literal["text", "$each", "$rest"] = "text"
    begun = 0
    for number, line in enumerate(lines[2:], 3):
        word = line.strip()
        if word in _BLOCKS:
            if kind != "text":
                raise TemplateError(f"line {number}: {word} within the block that line {begun} begins; $end is missing")
            yield Part("text", tuple(gathered))
            kind, begun, gathered = ("$each" if word == "$each" else "$rest"), number, []
        elif word == "$end":
            if kind == "text":
                raise TemplateError(f"line {number}: $end without $each or $rest before it")
            yield Part(kind, tuple(gathered))
            kind, gathered = "text", []
        else:
            _check(line, number, OF_DIGEST | _BLOCKS.get(kind, frozenset()))
            gathered.append(line)
    if kind != "text":
        raise TemplateError(f"line {begun}: {kind} without $end")
    yield Part("text", tuple(gathered))


def _check(line: str, number: int, known: frozenset[str]) -> None:
    for match in _PLACE.finditer(line):
        name = match[1] or match[2]
        if name is None and match[0] != "$$":
            raise TemplateError(f"line {number}: a $ that begins no name; write $$ for the sign itself")
        if name and name not in known:
            raise TemplateError(
                f"line {number}: ${name} is not known here; there are {', '.join(f'${one}' for one in sorted(known))}"
            )


def _filled(line: str, values: Mapping[str, str]) -> str:
    return _PLACE.sub(lambda match: "$" if match[0] == "$$" else values[match[1] or match[2]], line)
