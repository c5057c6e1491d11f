"""MailFilters as data: the least that one may say, and one that says everything."""

import os
from pathlib import Path
from typing import Any

from mailfilter.api.mailfilter import MailFilterSpec
from mailfilter.policy.names import Names
from mailfilter.stack.common import Gateway, Images

Object = dict[str, Any]
GOLDEN = Path(__file__).parents[1] / "unit/golden"
NAMES = Names("mx", "mail")
IMAGES = Images(operator="operator:1", postfix="postfix:1", amavis="amavis:1", clamav="clamav:1")

SMALL: Object = {
    "hostname": "mx.example.com",
    "domains": [{"name": "example.com", "relay": {"host": "mail.example.com"}}],
}

FULL: Object = {
    "hostname": "MX.Filter.Example",
    "domains": [
        {
            "name": "example.com",
            "relay": {"host": "10.0.0.25", "port": 2525, "smtputf8": True},
            "aliases": {"info": ["info@example.com", "bob@example.org"], "abuse": ["abuse@isp.example"]},
            "recipients": {"verify": "CallOut"},
        },
        {
            "name": "example.org",
            "subdomains": False,
            "relay": {"host": "Mail.Example.org", "smtputf8": False},
            "recipients": {"verify": "List", "list": ["bob", "carol+news"]},
            "policy": {
                "spam": {
                    "enabled": True,
                    "tagLevel": 0,
                    "tag2Level": 3,
                    "killLevel": 5,
                    "cutoffLevel": 15,
                    "destiny": "Discard",
                    "subjectTag": "",
                },
                "virus": {"destiny": "Discard"},
                "banned": {
                    "enabled": True,
                    "destiny": "Discard",
                    "names": ["*.exe"],
                    "types": ["dll"],
                    "mimeTypes": ["application/x-dosexec"],
                    "presets": ["Metafiles"],
                    "doubleExtensions": True,
                    "allowInside": ["zip"],
                },
                "badHeader": {"destiny": "Pass"},
                "digest": {
                    "enabled": False,
                    "at": "19:00",
                    "timeZone": "America/New_York",
                    "kinds": ["spam", "banned"],
                    "contact": "desk@example.org",
                    "fromAddress": "desk@example.org",
                    "fromName": "Filter of example.org",
                },
                "lists": {
                    "allow": ["*@Supplier.example", "partner.example"],
                    "deny": ["rival.example", "foe.example"],
                    "scores": [
                        {"sender": "@news.example", "score": 1},
                        {"sender": ".top", "score": 1},
                        {"senderRegexp": "^sales@", "score": 2},
                    ],
                },
            },
        },
    ],
    "recipients": [
        {"address": "Abuse@example.com", "policy": {"spam": {"enabled": False}, "banned": {"enabled": False}}},
        {
            "address": "bob@example.org",
            "policy": {
                "spam": {"killLevel": 8},
                "virus": {"destiny": "Pass"},
                "digest": {
                    "enabled": True,
                    "at": "12:15",
                    "timeZone": "America/New_York",
                    "kinds": ["spam", "banned"],
                    "contact": "desk@example.org",
                    "fromAddress": "desk@example.org",
                    "fromName": "Filter of example.org",
                },
                "lists": {
                    "allow": ["friend@x.example", "pal@x.example"],
                    "deny": ["foe@x.example", "<>"],
                    "scores": [
                        {"sender": "x.example", "score": -1},
                        {"sender": "y.example", "score": -1},
                        {"senderRegexp": "^a.*@", "score": 0.5},
                    ],
                },
            },
        },
    ],
    "dns": {"check": False},
    "filtering": {"mode": "BeforeQueue", "suspended": "Hold"},
    "outgoing": {
        "clients": ["10.1.2.3", "192.0.2.77/24", "2001:DB8:1::/48"],
        "relay": {"host": "Relay.Example.net", "port": 587, "tls": "Verified"},
        "dkim": [
            {"domain": "example.org", "selector": "s1", "secretName": "dkim-org", "key": "tls.key"},
            {"domain": "example.org", "selector": "e1", "secretName": "dkim-org-ed"},
        ],
    },
    "admin": "admin@example.com",
    "spam": {
        "tagLevel": -10,
        "tag2Level": 4.5,
        "killLevel": 6,
        "cutoffLevel": 20,
        "destiny": "Pass",
        "aboveCutoff": "Reject",
        "subjectTag": "***SPAM*** ",
        "bodySizeLimit": 65536,
        "localTestsOnly": True,
        "dnsServers": ["192.0.2.53", "2001:db8::53"],
        "rules": "body MY_RULE /x/\nscore MY_RULE 3.0\n",
    },
    "virus": {"destiny": "Pass", "encryptedArchives": "Quarantine"},
    "decoding": {"maxLevels": 20, "maxFiles": 5000, "maxExpandedBytes": 1000000000, "enabled": False},
    "banned": {
        "destiny": "Pass",
        "names": ["*.js", "?.lnk"],
        "types": ["exe"],
        "mimeTypes": ["application/hta"],
        "presets": ["Commands", "ClassIds"],
        "doubleExtensions": False,
        "allowInside": ["tar"],
    },
    "badHeader": {"destiny": "Discard"},
    "lists": {
        "allow": ["Info@Partner.example", "partner.example", ".partner.example", "<>", "user+tag@partner.example"],
        "clients": {
            "allow": ["192.0.2.25", "2001:DB8:1::/48", "Mail.Partner.example"],
            "deny": ["198.51.100.77/24", "*.Spam.example", "::ffff:cb00:7107"],
        },
        "deny": ["bad@client.example", "BAD@client.example", "*@Exämple.de", "*.pest.example", "mailer-daemon@*"],
        "quarantineDenied": False,
        "scores": [
            {"sender": "News@partner.example", "score": -3},
            {"senderRegexp": r"^(offers|bulkmail)\d*@", "score": 2.5},
        ],
        "presets": ["ClassicScores"],
        "from": [{"configMap": {"name": "pests", "key": "senders"}, "list": "Deny"}],
    },
    "releasedSenders": [{"sender": "news@sender.example", "release": "r-1", "time": "2026-11-25T00:00:00Z"}],
    "notifications": {
        "virusAdmin": "Virus@example.net",
        "spamAdmin": "spam@example.net",
        "bannedAdmin": "banned@example.net",
        "badHeaderAdmin": "headers@example.net",
        "mailFrom": "Filter@example.com",
        "headerFrom": "Mail filter <filter@example.com>",
    },
    "quarantine": {
        "storage": {"size": "20Gi", "storageClassName": "shared", "accessMode": "ReadWriteMany"},
        "reclaim": "Delete",
        "retention": {"spam": 30, "virus": 7, "banned": 14, "badHeader": 1},
        "maxSize": "8Gi",
        "kinds": {"virus": False, "spam": False, "banned": False, "badHeader": True},
        "digest": {
            "enabled": True,
            "at": "06:30",
            "timeZone": "Europe/Berlin",
            "kinds": ["bad-header"],
            "contact": "the help desk, room 123",
            "fromAddress": "desk@example.net",
            "fromName": "Held mail",
            "template": {"name": "words", "key": "digest.txt"},
        },
        "access": {
            "from": [
                {
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}},
                    "podSelector": {"matchLabels": {"app": "oauth2-proxy"}},
                },
                {"ipBlock": {"cidr": "192.0.2.77/28"}},
            ]
        },
    },
    "messageSizeLimit": 52428800,
    "postfix": {
        "replicas": 2,
        "storage": {"size": "1Gi", "storageClassName": "fast"},
        "resources": {"requests": {"cpu": "250m"}, "limits": {"memory": "256Mi"}},
        "service": {
            "type": "LoadBalancer",
            "annotations": {"cloud.example/kind": "public"},
            "loadBalancerClass": "cloud.example/lb",
            "externalTrafficPolicy": "Cluster",
            "nodePort": 30025,
        },
        "proxyProtocol": True,
        "limits": {"connectionsPerClient": 10, "connectionRate": 60, "messageRate": 100, "recipientRate": 200},
        "dnsbl": {
            "sites": [{"name": "bl.example.net", "weight": 2}, {"name": "good.example.net", "weight": -1}],
            "threshold": 2,
        },
        "tls": {"secretName": "mx-certificate", "minimumVersion": "TLSv1.3"},
    },
    "amavis": {
        "replicas": 3,
        "maxServers": 5,
        "logLevel": 2,
        "resources": {"requests": {"cpu": "2"}, "limits": {"memory": "2Gi"}},
    },
    "clamd": {"replicas": 2, "resources": {"limits": {"memory": "3Gi"}}},
    "freshclam": {
        "mirror": "https://mirror.example.com/clamav",
        "customURLs": ["https://signatures.example.com/a/custom.ndb"],
        "checks": 12,
        "storage": {"size": "3Gi"},
    },
}
SAMPLES = {"small": SMALL, "full": FULL}


def with_changes(base: Object, **changes: Any) -> Object:
    """A copy of nested objects with changed members: an object is merged into, anything else replaced."""
    merged = dict(base)
    for name, value in changes.items():
        old = merged.get(name, {})
        merged[name] = with_changes(old, **value) if isinstance(value, dict) and isinstance(old, dict) else value
    return merged


def spec(base: Object = SMALL, **changes: Any) -> MailFilterSpec:
    """A valid spec."""
    return MailFilterSpec.model_validate(with_changes(base, **changes))


def gateway(base: Object = SMALL, names: Names = NAMES, images: Images = IMAGES, **changes: Any) -> Gateway:
    """What the objects of a MailFilter are made from."""
    return Gateway(
        names=names,
        uid="uid-1",
        spec=spec(base, **changes),
        images=images,
        token="secret",  # noqa: S106 - not one
        operator_namespace="mailfilter-system",
    )


def check_golden(name: str, text: str) -> None:
    """Compares with a file of tests/unit/golden; UPDATE_GOLDEN=1 writes it anew."""
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text(), f"{path.name} differs; UPDATE_GOLDEN=1 accepts what is rendered now"
