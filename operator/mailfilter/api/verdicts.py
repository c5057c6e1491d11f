"""What mail is judged by, and what becomes of it: amavis."""

from typing import Annotated, Literal

from pydantic import Field

from mailfilter.api.content import EncryptedArchives
from mailfilter.api.fields import (
    VALIDATIONS,
    EmailAddress,
    FileNamePattern,
    FileType,
    HeaderFrom,
    IpAddress,
    MimeType,
    Model,
    PrintableAscii,
    Score,
    rule,
)

# Pass delivers, Discard holds in the quarantine, Reject refuses in the SMTP session, Bounce sends the sender a notice:
# never about spam and viruses, whose senders are forged.
Destiny = Literal["Pass", "Discard", "Reject"]
Bounceable = Literal["Pass", "Discard", "Reject", "Bounce"]


BannedPreset = Literal[
    "Commands", "Programs", "Encodings", "Metafiles", "ClassIds", "PartialMessages", "ExternalBodies"
]


class Spam(Model):
    """SpamAssassin's scores and what follows from them (amavis' spam levels)."""

    model_config = {
        "json_schema_extra": {
            VALIDATIONS: [
                rule("self.tagLevel <= self.tag2Level", "tagLevel must not be above tag2Level"),
                rule("self.tag2Level <= self.killLevel", "tag2Level must not be above killLevel"),
                rule("self.killLevel <= self.cutoffLevel", "killLevel must not be above cutoffLevel"),
            ]
        }
    }

    enabled: bool = True
    """Whether mail is checked for spam ($bypass_spam_checks when false)."""
    tag_level: Score = 2.0
    """From this score X-Spam-Status is added ($sa_tag_level_deflt)."""
    tag2_level: Score = 5.0
    """From this score mail is marked as spam: X-Spam-Flag, `subjectTag` ($sa_tag2_level_deflt)."""
    kill_level: Score = 5.0
    """From this score mail is blocked: `destiny`, and stored in the quarantine ($sa_kill_level_deflt)."""
    cutoff_level: Score = 10.0
    """From this score blocked mail is not stored either ($sa_quarantine_cutoff_level)."""
    destiny: Destiny = "Discard"
    """Mail from killLevel on ($final_spam_destiny): Discard holds it in the quarantine, Pass delivers it marked, Reject
    refuses it in the SMTP session (filtering.mode: BeforeQueue only) and holds a copy."""
    above_cutoff: Literal["Discard", "Reject"] = "Discard"
    """Blocked mail from cutoffLevel on, which is not stored: Discard drops it, Reject refuses it in the SMTP session
    (filtering.mode: BeforeQueue only) when none of its recipients may have it; otherwise it is held for those who may
    not."""
    subject_tag: PrintableAscii | None = None
    """Put in front of the Subject of spam that is delivered ($sa_spam_subject_tag), such as "***SPAM*** ". amavis
    fills in _SCORE_, _REQD_ and _YESNO_."""
    body_size_limit: Annotated[int, Field(ge=1024, le=1073741824)] = 409600
    """Of a larger mail SpamAssassin sees only the header and this many bytes of the body ($sa_mail_body_size_limit).
    Such mails are counted by mailfilter_spam_truncated_total."""
    local_tests_only: bool = False
    """Whether all that asks the network is left out: DNS lists, SPF, DKIM, DMARC ($sa_local_tests_only, and
    $enable_dkim_verification off). Restarts amavis."""
    dns_servers: Annotated[
        list[IpAddress], Field(max_length=3, json_schema_extra={"x-kubernetes-list-type": "set"})
    ] = []
    """DNS servers that are asked for DNS lists, SPF, DKIM and DMARC (SpamAssassin's dns_server), by address, port 53;
    the cluster's when empty. Many DNS lists refuse the big public resolvers, to which the cluster's DNS may forward:
    the condition DNSListsUsable tells, and a resolver of your own is the cure. SpamAssassin asks the first alone; the
    next ones are asked for keys and DMARC when it is silent. Names of hosts, Services for one, are always asked of the
    cluster's DNS. Of no effect with localTestsOnly. Restarts amavis."""
    rules: Annotated[str, Field(max_length=65536)] | None = None
    """Extra SpamAssassin rules: lines of header, body, rawbody, uri, full, meta, score, describe and tflags.
    Code (eval:, plugins) is refused, and so is a line that SpamAssassin would ignore or a pattern that could take for
    ever; the condition PolicyActive names the line. They take effect without a restart. Should a rule take more than
    5 s of CPU on a mail all the same, the mail is judged by all other rules (mailfilter_spam_rule_timeouts_total)."""


class Virus(Model):
    """What becomes of mail in which clamd finds something. Mail that could not be scanned waits in the queue."""

    enabled: bool = True
    """Whether mail is scanned for viruses (@bypass_virus_checks_maps when false). When false nothing waits for clamd,
    X-Virus-Scanned is not added, and the conditions ScannerAvailable and Ready say so."""
    destiny: Destiny = "Discard"
    """$final_virus_destiny: Discard holds infected mail in the quarantine, Pass delivers it with X-Amavis-Alert, Reject
    refuses it in the SMTP session (filtering.mode: BeforeQueue only) and holds a copy."""
    encrypted_archives: EncryptedArchives = "Tag"
    """Mail with an archive that could not be unpacked: encrypted, damaged, of a kind for which there is no program, or
    because the program failed (docs/banned.md). Names of files in it are checked where they can be listed. Tag delivers
    it with ***UNCHECKED*** in front of the Subject ($undecipherable_subject_tag): most of it is wanted, and its
    recipient is warned. Pass delivers it unmarked, Quarantine holds it under banned/. Of no effect when `enabled` is
    false."""


class Banned(Model):
    """Attachments that are not let through (amavis' banned file names and types)."""

    enabled: bool = True
    """Whether attachments are checked ($bypass_banned_checks when false)."""
    destiny: Bounceable = "Discard"
    """$final_banned_destiny: Discard holds the mail in the quarantine, Pass delivers it with X-Amavis-Alert, Reject
    refuses it in the SMTP session (filtering.mode: BeforeQueue only) and holds a copy. Bounce (AfterQueue only) holds
    it and sends a notice to the sender, who may be forged: see the condition BackscatterRisk."""
    names: Annotated[list[FileNamePattern], Field(max_length=500)] = ["*.exe", "*.vbs", "*.pif", "*.scr", "*.cpl"]
    """File names, also inside archives; * and ? are wildcards, upper and lower case are the same."""
    types: Annotated[list[FileType], Field(max_length=100)] = ["exe-ms", "dll"]
    """Types by content as amavis names them, whatever the file is called."""
    mime_types: Annotated[list[MimeType], Field(max_length=100)] = ["application/x-msdownload"]
    """Declared MIME types."""
    presets: Annotated[list[BannedPreset], Field(max_length=10)] = []
    """Longer lists by name, added to the three above: Commands, Programs, Encodings, Metafiles, ClassIds,
    PartialMessages, ExternalBodies. docs/banned.md has what is in them."""
    double_extensions: bool = True
    """Whether names such as invoice.pdf.exe are banned: the ending exe, vbs, pif, scr, bat, cmd, com, cpl or dll behind
    another one with a letter in it."""
    allow_inside: Annotated[list[FileType], Field(max_length=100)] = ["rpm", "cpio", "tar"]
    """Types of archives in which `names` are allowed."""


class BadHeader(Model):
    """What becomes of mail whose header breaks RFC 5322."""

    destiny: Bounceable = "Pass"
    """$final_bad_header_destiny, as in spec.banned. Many good senders break rules: Pass is the safe choice."""


class Notifications(Model):
    """Mails that amavis writes to administrators about what it found, with the id of the held mail and the command that
    releases it (docs/notices.md)."""

    virus_admin: EmailAddress | None = None
    """Gets a notice for each infected mail ($virus_admin)."""
    spam_admin: EmailAddress | None = None
    """Gets a notice for each blocked spam ($spam_admin)."""
    banned_admin: EmailAddress | None = None
    """Gets a notice for each banned attachment ($banned_admin)."""
    bad_header_admin: EmailAddress | None = None
    """Gets a notice for each mail with a broken header, also when it is delivered ($bad_header_admin)."""
    mail_from: EmailAddress | None = None
    """Envelope sender of the notices ($mailfrom_notify_admin); postmaster at the first domain when left out."""
    header_from: HeaderFrom | None = None
    """From header of the notices ($hdrfrom_notify_admin)."""
