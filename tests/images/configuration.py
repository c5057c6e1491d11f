"""What the operator gives the daemons, as these tests change it."""

import copy
from typing import Any

from mailfilter.api.lists import Lists
from mailfilter.policy.senders import normalised

SINK_PORT = 2526

DOMAINS = ("example.com", ".example.com", "example.org")


def setting(default: Any, by: dict[str, Any] | None = None) -> dict[str, Any]:
    """A setting that can differ by recipient."""
    return {"default": default, "by": by or {}}


BANNED = {
    "enabled": True,
    "names": ["*.exe", "*.scr"],
    "types": ["exe-ms", "dll"],
    "mimeTypes": ["application/x-msdownload"],
    "doubleExtensions": True,
    "allowInside": ["rpm", "cpio", "tar"],
}

POLICY: dict[str, Any] = {
    "version": 2,
    "localDomains": list(DOMAINS),
    "levels": {"tag": setting(2.0), "tag2": setting(5.0), "kill": setting(5.0), "cutoff": setting(10.0)},
    "spamEnabled": setting(True),
    "spamBodySizeLimit": 409600,
    "subjectTag": setting("***SPAM*** "),
    "spamRules": None,
    "destiny": {
        "virus": setting("Discard"),
        "spam": setting("Discard"),
        "banned": setting("Discard"),
        "badHeader": setting("Pass"),
    },
    "aboveCutoff": "Discard",
    "virusEnabled": True,
    "encryptedArchives": "Tag",
    "decoding": {"enabled": True, "maxLevels": 14, "maxFiles": 3000, "maxExpandedBytes": 314572800},
    "quarantine": {"virus": True, "spam": True, "banned": True, "badHeader": False},
    "logLevel": 0,
    "banned": setting(BANNED),
    "senders": {"default": {"allow": [], "deny": [], "scores": []}, "by": {}, "files": {}, "quarantineDenied": True},
    "signing": {},
    "digest": None,
    "notifications": {
        "virusAdmin": None,
        "spamAdmin": None,
        "bannedAdmin": None,
        "badHeaderAdmin": None,
        "mailFrom": "postmaster@example.com",
        "headerFrom": "Content-filter <postmaster@example.com>",
    },
}

PARAMETERS = {
    "myhostname": "mx.filter.example",
    "message_size_limit": "10485760",
    "content_filter": "amavis:[filter]:10024",
    "amavis_destination_concurrency_limit": "3",
    "mailfilter_tls_minimum": "TLSv1.2",
    "postscreen_dnsbl_sites": "",
    "mailfilter_upstream_proxy": "",
    "mailfilter_proxy_filter": "",
    "mailfilter_filter_timeout": "90s",
}

# What the operator adds for outgoing mail, without a smarthost.
OUTGOING = {
    "mailfilter_outgoing_filter": "outgoing:[filter]:10028",
    "mailfilter_smarthost_tls": "may",
    "outgoing_destination_concurrency_limit": "3",
    "default_transport": "smtp",
}

# What the operator adds for filtering.mode: BeforeQueue.
BEFORE_QUEUE = {"mailfilter_proxy_filter": "filter:10026"}

TABLES = {
    "relay_domains": "".join(f"{domain}\tOK\n" for domain in DOMAINS),
    "transport": "".join(f"{domain}\tnexthop:[sink]:{SINK_PORT}\n" for domain in DOMAINS),
    "virtual_alias": "",
    "ehlo_networks": "",
    "filtering": "suspended\tNo\n",
    "outgoing_networks": "",
    "outgoing_senders": "",
    "recipients": "",
    "client_allow_names": "",
    "client_allow_networks": "",
    "client_deny_names": "",
    "client_deny_networks": "",
    "reinjection_recipients": "admin@isp.example\tOK\n",
    "reinjection_senders": "",
}

CLAMD_CONF = """\
Foreground yes
TCPSocket 3310
TCPAddr 0.0.0.0
DatabaseDirectory /var/lib/clamav
TemporaryDirectory /tmp
AlertExceedsMax yes
"""


def senders(by: dict[str, Any] | None = None, *, quarantine: bool = True, **lists: Any) -> dict[str, Any]:
    """The policy's `senders` for lists as a MailFilter has them, of all and of single recipients."""
    return {
        "default": normalised(Lists.model_validate(lists)).document(),
        "by": {who: normalised(Lists.model_validate(own)).document() for who, own in (by or {}).items()},
        "files": {},
        "quarantineDenied": quarantine,
    }


def policy(**changes: Any) -> dict[str, Any]:
    """The policy with whole top-level keys replaced."""
    return copy.deepcopy(POLICY) | changes


def main_cf(**changes: str) -> str:
    """The operator's part of main.cf."""
    return "".join(f"{name} = {value}\n" for name, value in (PARAMETERS | changes).items())
