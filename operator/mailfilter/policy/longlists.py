"""Long lists of senders: lines of ConfigMaps as files that amavis makes its lookup table from (architecture.md)."""

import base64
import gzip
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from mailfilter.policy.senders import PatternError, key

List = Literal["Allow", "Deny"]

# Of a ConfigMap's 1 MiB, in the four that a pod mounts.
FILE_BYTES = 1_000_000
FILES = 4
# A line that is refused is shown by its number and reason; this many of them.
SHOWN = 5

_COMMENT = re.compile(r"(?:\A|\s)#.*")


class TooLargeError(ValueError):
    """The lists do not fit into the ConfigMaps that the pods mount."""


@dataclass(frozen=True)
class Source:
    """What was read of one list."""

    list: List
    keys: frozenset[str] = frozenset()
    refused: int = 0
    """How many lines were left out."""
    reasons: tuple[str, ...] = ()
    """`<where> line <number>: <reason>` of the first of them."""


@dataclass(frozen=True)
class Files:
    """The files of all long lists."""

    content: dict[str, str] = field(default_factory=dict)
    """File name → content in base64, as a ConfigMap's binaryData has it."""
    hashes: dict[str, str] = field(default_factory=dict)
    """File name → SHA-256 of its bytes, hexadecimal: what policy.json names."""
    allow: int = 0
    deny: int = 0


@dataclass(frozen=True)
class Reading:
    """What came of the ConfigMaps that a MailFilter names: lists of senders, and the template of digests."""

    files: Files = field(default_factory=Files)
    refused: int = 0
    """How many lines were left out."""
    reasons: tuple[str, ...] = ()
    """The first of them, and why."""
    trouble: str | None = None
    """Why the lists in force are not those that the MailFilter names."""
    template: str | None = None
    """The template of digests in force; None for the default one."""
    template_trouble: str | None = None
    """Why that is not the one that the MailFilter names."""


def parse(text: str, where: str, kind: List) -> Source:
    """The keys of a list, one pattern a line."""
    keys: set[str] = set()
    reasons: list[str] = []
    refused = 0
    for number, line in enumerate(text.split("\n"), 1):
        pattern = _COMMENT.sub("", line).strip()
        if not pattern:
            continue
        try:
            keys.add(key(pattern))
        except PatternError as error:
            refused += 1
            if refused <= SHOWN:
                reasons.append(f"{where} line {number}: {error}")
    return Source(kind, frozenset(keys), refused, tuple(reasons))


def rendered(sources: Iterable[Source]) -> Files:
    """The files: lines of `A` or `D`, a blank and a key, in the order of the keys; what is denied is not allowed.

    Raises TooLargeError.
    """
    deny: set[str] = set()
    allow: set[str] = set()
    for source in sources:
        (deny if source.list == "Deny" else allow).update(source.keys)
    allow -= deny
    if not deny and not allow:
        return Files()
    lines = [f"{'D' if one in deny else 'A'} {one}\n" for one in sorted(deny | allow)]
    count = 1
    while True:
        size = -(-len(lines) // count)
        parts = [_packed(lines[start : start + size]) for start in range(0, len(lines), size)]
        largest = max(len(part) for part in parts)
        if largest <= FILE_BYTES:
            break
        count = max(count + 1, -(-count * largest // FILE_BYTES))
        if count > FILES:
            raise TooLargeError(
                f"{len(lines)} entries take {sum(map(len, parts))} bytes even when compressed, "
                f"{FILES * FILE_BYTES} at most fit. Shorten the lists, by domains in place of addresses."
            )
    return _files({file_name(number): part for number, part in enumerate(parts)}, len(allow), len(deny))


def restored(found: Mapping[str, str], hashes: Mapping[str, str]) -> Files | None:
    """The files of a policy from what the cluster holds of them, base64; None unless they are what the policy names."""
    try:
        parts = {name: base64.b64decode(found[name]) for name in hashes}
        files = _files(parts, 0, 0)
        lines = b"".join(gzip.decompress(part) for part in parts.values()).split(b"\n")
    except (KeyError, ValueError, OSError, EOFError):
        return None
    if files.hashes != hashes:
        return None
    deny = sum(line.startswith(b"D ") for line in lines)
    return replace(files, allow=len(lines) - 1 - deny, deny=deny)


def file_name(number: int) -> str:
    """The name of a file in the policy's volume, and of the key in its ConfigMap."""
    return f"senders-{number}.gz"


def _files(parts: Mapping[str, bytes], allow: int, deny: int) -> Files:
    content = {name: base64.b64encode(part).decode() for name, part in parts.items()}
    hashes = {name: hashlib.sha256(part).hexdigest() for name, part in parts.items()}
    return Files(content, hashes, allow, deny)


def _packed(lines: list[str]) -> bytes:
    return gzip.compress("".join(lines).encode("ascii"), 6, mtime=0)
