"""Extra SpamAssassin rules: an allow-list of directives that can run no code (Mail::SpamAssassin::Conf)."""

import re
from dataclasses import dataclass

DIRECTIVES = ("header", "body", "rawbody", "uri", "full", "meta", "score", "describe", "tflags")

_DIRECTIVE = re.compile(rf"({'|'.join(DIRECTIVES)})[ \t]+(\S+)(?:[ \t]+(.*))?")
# SpamAssassin complains of longer names.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")
_EVAL = re.compile(r"(?:rbl)?eval\s*:", re.IGNORECASE)
# Perl code inside a pattern: (?{ … }), (??{ … }), the optimistic (*{ … }), and \p{…} that names a subroutine.
_CODE = re.compile(r"\(\s*(?:\?\??|\*\*?)\s*\{|\\[pP]\s*\{[^}]*(?:::|')")
_META = re.compile(r"[A-Za-z0-9_ \t()!&|^<>=+*/?:.-]+")
_NUMBER = r"-?[0-9]+(?:\.[0-9]+)?"
_SCORE = re.compile(rf"(?:{_NUMBER}|\({_NUMBER}\))")
_COMMENT = re.compile(r"(?<!\\)#.*")
_TEXT = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f-\x9f]*")
_TEST = re.compile(r"[ \t]*(?:header|body|rawbody|uri|full|meta)[ \t]+(\S+)")
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
    found = []
    defined: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), 1):
        reason = _reason(line.removesuffix("\r"))
        test = _TEST.match(line)
        if reason is None and test and defined.setdefault(test[1], number) != number:
            reason = f"{test[1]} is defined in line {defined[test[1]]} already, which would be without effect"
        if reason is not None:
            found.append(BadRule(number, reason))
    return found


def unix_lines(text: str) -> str:
    """The rules with no carriage return at the ends of lines."""
    return "\n".join(line.removesuffix("\r") for line in text.split("\n"))


def _reason(line: str) -> str | None:
    if not _TEXT.fullmatch(line):
        return "has a control character"
    # Comments and blanks go as SpamAssassin removes them, so that what is checked here is what it reads.
    line = _COMMENT.sub("", line).replace("\\#", "#").strip(" \t")
    if not line:
        return None
    match = _DIRECTIVE.fullmatch(line)
    if not match:
        return f"must begin with one of {', '.join(DIRECTIVES)} and a rule name"
    directive, name, rest = match.groups()
    if not _NAME.fullmatch(name):
        return f"{name!r} is not a rule name (up to 40 letters, digits and _, not beginning with a digit)"
    if not rest:
        return f"{directive} {name} has nothing after the name"
    if directive in _TESTS and _EVAL.match(rest):
        return "eval: runs code and is not allowed"
    if directive == "meta" and not _META.fullmatch(rest):
        return "meta must be made of rule names, numbers and ! && || ( ) < > = + - * / ? :"
    if directive == "score" and not (
        len(scores := rest.split()) in (1, 4) and all(_SCORE.fullmatch(score) for score in scores)
    ):
        return "score must have one number, or four for the four sets of scores, such as 2.5 or (-1)"
    if directive in _TESTS and _CODE.search(rest):
        return "code in a pattern is not allowed"
    return None
