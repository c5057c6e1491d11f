"""Extra SpamAssassin rules: an allow-list of directives that can run no code (Mail::SpamAssassin::Conf)."""

import re
from dataclasses import dataclass

DIRECTIVES = ("header", "body", "rawbody", "uri", "full", "meta", "score", "describe", "tflags")

_DIRECTIVE = re.compile(rf"({'|'.join(DIRECTIVES)})\s+(\S+)(?:\s+(.*))?")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_EVAL = re.compile(r"\beval\s*:", re.IGNORECASE)
# Perl code inside a pattern: (?{ … }), (??{ … }) and the optimistic (*{ … }).
_CODE = re.compile(r"\(\s*(?:\?\??|\*)\s*\{")
_TEXT = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
_TESTS = ("header", "body", "rawbody", "uri", "full", "meta")


@dataclass(frozen=True)
class BadRule:
    """A line that is refused."""

    line: int
    """Number of the line, from 1."""
    reason: str
    """What is wrong and what is right."""

    def __str__(self) -> str:
        return f"spec.spam.rules line {self.line}: {self.reason}"


def bad_rules(text: str) -> list[BadRule]:
    """All lines that are not one of the allowed directives in the allowed form; empty when the rules may go live."""
    return [
        BadRule(number, reason)
        for number, line in enumerate(text.split("\n"), 1)
        if (reason := _reason(line.removesuffix("\r").strip())) is not None
    ]


def _reason(line: str) -> str | None:
    if not line or line.startswith("#"):
        return None
    if not _TEXT.fullmatch(line):
        return "has a control character"
    match = _DIRECTIVE.fullmatch(line)
    if not match:
        return f"must begin with one of {', '.join(DIRECTIVES)} and a rule name"
    directive, name, rest = match.groups()
    if not _NAME.fullmatch(name):
        return f"{name!r} is not a rule name (letters, digits and _, not beginning with a digit)"
    if not rest:
        return f"{directive} {name} has nothing after the name"
    if directive in _TESTS and _EVAL.search(rest):
        return "eval: runs code and is not allowed"
    if _CODE.search(rest):
        return "code in a pattern is not allowed"
    return None
