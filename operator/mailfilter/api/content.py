"""What is looked into, how deep, and what becomes of what cannot be looked into: amavis' decoders."""

from typing import Annotated, Literal

from pydantic import Field

from mailfilter.api.fields import Model

EncryptedArchives = Literal["Pass", "Tag", "Quarantine"]


class Decoding(Model):
    """Unpacking of attachments and archives. A mail beyond one of the limits was not looked through: it is held under
    banned/, whatever else the policy says.
    """

    enabled: bool = True
    """Whether mail is unpacked ($bypass_decode_parts when false). When false, clamd gets each mail as a whole, banned
    attachments are not found, and neither are encrypted archives or mail that can be read in two ways."""
    max_levels: Annotated[int, Field(ge=2, le=100)] = 14
    """Archives within archives ($MAXLEVELS)."""
    max_files: Annotated[int, Field(ge=10, le=100000)] = 3000
    """Parts and files of one mail ($MAXFILES)."""
    max_expanded_bytes: Annotated[int, Field(ge=102400, le=10737418240)] = 314572800
    """Bytes that one mail may expand to ($MAX_EXPANSION_QUOTA); also no more than 500 times its own size, and
    five times that is always allowed. What is unpacked is in memory: it counts as the container's."""


class QuarantineKinds(Model):
    """Which blocked mail is stored. Mail of a kind that is off and whose destiny is Discard is gone: nobody can release
    it. Of a kind that is on, a copy is stored as well when its destiny is Pass."""

    virus: bool = True
    """Infected mail, under virus/ ($virus_quarantine_method)."""
    spam: bool = True
    """Spam from killLevel to cutoffLevel, under spam/ ($spam_quarantine_method)."""
    banned: bool = True
    """Mail with a banned attachment ($banned_files_quarantine_method). Mail that could not be looked through is stored
    under banned/ in any case."""
    bad_header: bool = False
    """Mail with a broken header, under bad-header/ ($bad_header_quarantine_method)."""
