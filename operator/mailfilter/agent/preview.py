"""A held mail to look at without danger: its text, its HTML without anything that acts or loads, its parts.

`python -m mailfilter.agent.preview` reads a mail on stdin and writes a Preview as JSON. It is a process of its own: a
mail that was made to keep a reader busy, or to exhaust its memory, ends that process and nothing else.
"""

import asyncio
import contextlib
import email
import html
import re
import resource
import sys
from email.message import Message
from pathlib import Path
from typing import cast

import nh3
from pydantic import ValidationError

from mailfilter.agent import heldmail
from mailfilter.agent.headers import readable
from mailfilter.api.fields import Model

# The beginning of a mail is enough to know it by.
READ_LIMIT = 4 << 20
TEXT_LIMIT = 200_000
PARTS_LIMIT = 200
CPU_SECONDS, MEMORY_BYTES, WALL_SECONDS = 2, 1 << 29, 20

# Nothing that has an address, loads, acts or is drawn outside its place; and no attributes.
_TAGS = set(
    re.findall(
        r"\w+",
        "b big blockquote br caption center cite code dd del dfn div dl dt em h1 h2 h3 h4 h5 h6 hr i ins kbd li ol p "
        "pre q s samp small span strike strong sub sup table tbody td tfoot th thead tr tt u ul var",
    )
)
_WITHOUT_CONTENT = {
    *("script", "style", "title", "template", "iframe", "object", "svg", "math", "textarea", "select"),
    *("noscript", "noembed", "noframes", "xmp"),
}
_BLOCK = re.compile("<(?:br|/p|/div|/tr|/li|/h[1-6])[^>]{0,100}>", re.IGNORECASE)
_BLANK_LINES = re.compile(r"\s*\n\s*\n\s*")


class Part(Model):
    """A part of the mail."""

    type: str
    """MIME type, as the sender says."""
    name: str
    """File name, as the sender says; empty without one."""
    size: int
    """Bytes, decoded."""


class Preview(Model):
    """Body of `GET /v1/held/<id>/preview`."""

    text: str
    """The first text part, or the text of the first HTML part."""
    html: str | None
    """The first HTML part without attributes, links, pictures, styles and scripts; null without one."""
    parts: tuple[Part, ...]
    """What the mail consists of."""
    truncated: bool
    """There is more in the mail than is shown."""


class PreviewError(Exception):
    """The mail cannot be shown."""


def preview(raw: bytes, *, truncated: bool = False) -> Preview:
    """Takes a mail apart. May raise anything, and take any time, for a mail that was made for that: call `look`."""
    leaves = [part for part in email.message_from_bytes(raw).walk() if not part.is_multipart()]
    plain = rich = None
    parts = []
    for leaf in leaves[:PARTS_LIMIT]:
        kind, name = leaf.get_content_type(), leaf.get_filename() or ""
        content = cast(bytes, leaf.get_payload(decode=True) or b"")
        parts.append(Part(type=_line(kind), name=_line(name), size=len(content)))
        if plain is None and kind == "text/plain" and not name:
            plain = _decoded(leaf, content)
        if rich is None and kind == "text/html" and not name:
            rich = _decoded(leaf, content)
    text = plain if plain is not None else text_of(rich or "")
    return Preview(
        text=printable(text[:TEXT_LIMIT]),
        html=None if rich is None else harmless(printable(rich[:TEXT_LIMIT])),
        parts=tuple(parts),
        truncated=truncated or len(leaves) > PARTS_LIMIT or max(len(text), len(rich or "")) > TEXT_LIMIT,
    )


def harmless(page: str) -> str:
    """HTML that can be put into a page: tags of layout alone, without attributes."""
    # Without the entry for all tags, title and lang would stay.
    none: dict[str, set[str]] = {"*": set()}
    return nh3.clean(page, tags=_TAGS, clean_content_tags=_WITHOUT_CONTENT, attributes=none, strip_comments=True)


def text_of(page: str) -> str:
    """The text of an HTML page."""
    lines = _BLOCK.sub("\n", page)
    return _BLANK_LINES.sub("\n\n", html.unescape(nh3.clean(lines, tags=set(), clean_content_tags=_WITHOUT_CONTENT)))


def printable(text: str) -> str:
    """Text without control characters and marks that turn its direction."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(one if one in "\n\t" or one.isprintable() or one.isspace() else "\ufffd" for one in lines)


async def look(path: Path) -> Preview:
    """The preview of a quarantine file. Raises PreviewError, and what `heldmail.opened` raises."""
    raw = await asyncio.to_thread(_beginning, path)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "mailfilter.agent.preview",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(WALL_SECONDS):
            written, _ = await process.communicate(raw)
        return Preview.model_validate_json(written)
    except (TimeoutError, ValidationError) as error:
        raise PreviewError("this mail cannot be taken apart safely; its raw form can be downloaded") from error
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _beginning(path: Path) -> bytes:
    with heldmail.opened(path) as file:
        return file.read(READ_LIMIT + 1)


def _line(text: str) -> str:
    return readable(text.encode(errors="replace"))


def _decoded(leaf: Message, content: bytes) -> str:
    try:
        return content.decode(leaf.get_content_charset("utf-8"), errors="replace")
    except LookupError:
        return content.decode("latin-1")


def main() -> None:
    """One mail from stdin to stdout, within limits of time and memory."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    raw = sys.stdin.buffer.read()
    found = preview(raw[:READ_LIMIT], truncated=len(raw) > READ_LIMIT)
    sys.stdout.write(found.model_dump_json())


if __name__ == "__main__":
    main()
