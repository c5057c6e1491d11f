"""Whether the DNS lists that SpamAssassin asks answer it. Pure: what the agents said is in the facts."""

from mailfilter.control.conditions import Observation, no, unknown, yes
from mailfilter.control.facts import Facts

ZONES = {
    "DKIMWL_BLOCKED": "lookup.dkimwl.org",
    "FROM_FMBLA_NDBLOCKED": "fresh.fmb.la",
    "RCVD_IN_DNSWL_BLOCKED": "list.dnswl.org",
    "RCVD_IN_VALIDITY_CERTIFIED_BLOCKED": "sa-trusted.bondedsender.org",
    "RCVD_IN_VALIDITY_RPBL_BLOCKED": "bl.score.senderscore.com",
    "RCVD_IN_VALIDITY_SAFE_BLOCKED": "sa-accredit.habeas.com",
    "RCVD_IN_ZEN_BLOCKED": "zen.spamhaus.org",
    "RCVD_IN_ZEN_BLOCKED_OPENDNS": "zen.spamhaus.org",
    "SURBL_BLOCKED": "multi.surbl.org",
    "URIBL_BLOCKED": "multi.uribl.com",
    "URIBL_DBL_BLOCKED": "dbl.spamhaus.org",
    "URIBL_DBL_BLOCKED_OPENDNS": "dbl.spamhaus.org",
    "URIBL_ZEN_BLOCKED": "zen.spamhaus.org",
    "URIBL_ZEN_BLOCKED_OPENDNS": "zen.spamhaus.org",
}
"""The lists of SpamAssassin's tests that tell of refusals. Of another test the name has to do."""


def dns_lists_usable(facts: Facts) -> Observation:
    """False while lists refuse to answer, so that they find nothing."""
    kind = "DNSListsUsable"
    found = {
        pod.name: lists["refused"]
        for pod in facts.of("amavis")
        if (lists := (pod.status or {}).get("amavis", {}).get("dnsLists"))
    }
    if not found:
        return unknown(kind, "AgentsUnreachable", "no amavis pod can be asked yet")
    tests = {test for refused in found.values() for test in refused}
    if not tests:
        return yes(kind, "NotRefused", "no DNS list has refused to answer SpamAssassin")
    where = ", ".join(name for name, refused in sorted(found.items()) if refused)
    names = ", ".join(sorted({ZONES.get(test, f"that of {test}") for test in tests}))
    servers = facts.spec.spam.dns_servers
    asked = f"spam.dnsServers ({', '.join(servers)})" if servers else "the cluster's DNS"
    return no(
        kind,
        "Refused",
        f"DNS lists refuse to answer {where}: {names}. They add nothing to scores, and find nothing: most refuse large "
        f"resolvers, and {asked} may forward to one. Set spam.dnsServers to a resolver of your own that asks the "
        "internet itself; an hour after the last refusal this ends.",
    )
