"""policy.json: what amavis judges by (docs/architecture.md)."""

import hashlib
import json
from typing import Any

from mailfilter.api.mailfilter import MailFilterSpec
from mailfilter.policy import banned, outgoing
from mailfilter.policy.digest import digest
from mailfilter.policy.keys import BySetting, domain_keys
from mailfilter.policy.senders import gateway_lists, lists_by_key
from mailfilter.policy.spamrules import unix_lines

POLICY_VERSION = 2


def policy(
    spec: MailFilterSpec, sender_files: dict[str, str] | None = None, digest_template: str | None = None
) -> dict[str, Any]:
    """The policy document of a MailFilter; `sender_files`: name → SHA-256 of those that belong to it;
    `digest_template`: the one that `quarantine.digest.template` names."""
    spam, notices = spec.spam, spec.notifications
    decoding, stored = spec.decoding, spec.quarantine.kinds
    mail_from = (notices.mail_from or f"postmaster@{spec.domains[0].name}").lower()
    settings = BySetting(spec)
    digests = digest(spec, digest_template)
    return {
        "version": POLICY_VERSION,
        "localDomains": sorted(key for domain in spec.domains for key in domain_keys(domain)),
        "levels": {
            "tag": settings.of(lambda one: float(one.spam.tag_level)),
            "tag2": settings.of(lambda one: float(one.spam.tag2_level)),
            "kill": settings.of(lambda one: float(one.spam.kill_level)),
            "cutoff": settings.of(lambda one: float(one.spam.cutoff_level)),
        },
        "spamEnabled": settings.of(lambda one: one.spam.enabled),
        "spamBodySizeLimit": spam.body_size_limit,
        "subjectTag": settings.of(lambda one: one.spam.subject_tag or ""),
        "spamRules": unix_lines(spam.rules or "") or None,
        "destiny": {
            "virus": settings.of(lambda one: one.virus.destiny),
            "spam": settings.of(lambda one: one.spam.destiny),
            "banned": settings.of(lambda one: one.banned.destiny),
            "badHeader": settings.of(lambda one: one.bad_header.destiny),
        },
        "aboveCutoff": spam.above_cutoff,
        "virusEnabled": spec.virus.enabled,
        "encryptedArchives": spec.virus.encrypted_archives,
        "decoding": {
            "enabled": decoding.enabled,
            "maxLevels": decoding.max_levels,
            "maxFiles": decoding.max_files,
            "maxExpandedBytes": decoding.max_expanded_bytes,
        },
        "quarantine": {
            "virus": stored.virus,
            "spam": stored.spam,
            "banned": stored.banned,
            "badHeader": stored.bad_header,
        },
        "logLevel": spec.amavis.log_level,
        "banned": settings.of(lambda one: banned.rules(one.banned)),
        "senders": {
            "default": gateway_lists(spec).document(),
            "by": lists_by_key(spec),
            "files": sender_files or {},
            "quarantineDenied": spec.lists.quarantine_denied,
        },
        "signing": outgoing.signing(spec),
        "digest": digests and digests.model_dump(by_alias=True),
        "notifications": {
            "virusAdmin": notices.virus_admin,
            "spamAdmin": notices.spam_admin,
            "bannedAdmin": notices.banned_admin,
            "badHeaderAdmin": notices.bad_header_admin,
            "mailFrom": mail_from,
            "headerFrom": notices.header_from or f"Content-filter <{mail_from}>",
        },
    }


def policy_json(
    spec: MailFilterSpec, sender_files: dict[str, str] | None = None, digest_template: str | None = None
) -> str:
    """The policy as the file that amavis and its agent read."""
    return json.dumps(policy(spec, sender_files, digest_template), sort_keys=True, indent=1, ensure_ascii=False) + "\n"


def policy_hash(text: str) -> str:
    """SHA-256 of a policy file, hexadecimal: the name under which amavis and the agent report it."""
    return hashlib.sha256(text.encode()).hexdigest()
