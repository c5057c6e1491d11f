"""Header fields for people to read: whatever a sender writes, what comes out is one line of harmless text."""

import email.errors
from email.header import decode_header, make_header

LONGEST = 500
"""Characters of a field that anybody is shown."""
_RAW = 4 * LONGEST


def readable(raw: bytes) -> str:
    """A field's body in plain text: encoded words (RFC 2047) decoded, control and bidirectional marks replaced."""
    text = raw[:_RAW].decode(errors="replace")
    unfolded = text.replace("\r", "").replace("\n", "").strip()
    try:
        decoded = str(make_header(decode_header(unfolded)))
    except (ValueError, LookupError, email.errors.MessageError):
        # Unknown character sets and broken encodings stay as they are.
        decoded = unfolded
    return "".join(one if one.isprintable() else " " if one.isspace() else "\ufffd" for one in decoded)[:LONGEST]
