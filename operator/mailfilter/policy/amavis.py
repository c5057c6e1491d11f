"""policy.json: what amavis judges by (docs/architecture.md)."""

import hashlib
import json
from typing import Any

from mailfilter.api.domains import Domain
from mailfilter.api.mailfilter import MailFilterSpec

POLICY_VERSION = 1


def policy(spec: MailFilterSpec) -> dict[str, Any]:
    """The policy document of a MailFilter."""
    spam, banned, notices = spec.spam, spec.banned, spec.notifications
    decoding, stored = spec.decoding, spec.quarantine.kinds
    mail_from = (notices.mail_from or f"postmaster@{spec.domains[0].name}").lower()
    levels = {"tag": spam.tag_level, "tag2": spam.tag2_level, "kill": spam.kill_level, "cutoff": spam.cutoff_level}
    return {
        "version": POLICY_VERSION,
        "localDomains": sorted(key for domain in spec.domains for key in domain_keys(domain)),
        "levels": {name: {"default": float(level), "by": {}} for name, level in levels.items()},
        "spamEnabled": spam.enabled,
        "spamBodySizeLimit": spam.body_size_limit,
        "subjectTag": spam.subject_tag or None,
        "spamRules": spam.rules or None,
        "destiny": {
            "virus": spec.virus.destiny,
            "spam": spam.destiny,
            "banned": banned.destiny,
            "badHeader": spec.bad_header.destiny,
        },
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
        "banned": {
            "enabled": banned.enabled,
            "names": banned.names,
            "types": banned.types,
            "mimeTypes": banned.mime_types,
            "allowInside": banned.allow_inside,
        },
        "allow": sender_keys(spec.lists.allow),
        "deny": sender_keys(spec.lists.deny),
        "notifications": {
            "virusAdmin": notices.virus_admin,
            "spamAdmin": notices.spam_admin,
            "bannedAdmin": notices.banned_admin,
            "mailFrom": mail_from,
            "headerFrom": notices.header_from or f"Content-filter <{mail_from}>",
        },
    }


def policy_json(spec: MailFilterSpec) -> str:
    """The policy as the file that amavis reads."""
    return json.dumps(policy(spec), sort_keys=True, indent=1, ensure_ascii=False) + "\n"


def policy_hash(text: str) -> str:
    """SHA-256 of a policy file, hexadecimal: the name under which amavis and the agent report it."""
    return hashlib.sha256(text.encode()).hexdigest()


def domain_keys(domain: Domain) -> list[str]:
    """Lookup keys of a domain: `example.com` is that domain alone, `.example.com` its subdomains (README.lookups).

    amavis' `.example.com` also matches the domain itself, Postfix' does not; both keys together mean the same in both.
    """
    name = domain.name.lower()
    return [name, f".{name}"] if domain.subdomains else [name]


def sender_keys(patterns: list[str]) -> list[str]:
    """Lookup keys of sender patterns: lower case, `<>` as the empty address, sorted, each once."""
    return sorted({"" if pattern == "<>" else pattern.lower() for pattern in patterns})
