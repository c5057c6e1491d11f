"""When mail is filtered: after the gateway has taken it, or while the client waits."""

from collections.abc import Iterator
from typing import Literal

from mailfilter.api.fields import Model

PARTS = ("virus", "spam", "banned", "badHeader")


class Filtering(Model):
    """Where in its way through the gateway mail is filtered."""

    mode: Literal["AfterQueue", "BeforeQueue"] = "AfterQueue"
    """AfterQueue takes mail into the queue, filters it, and never refuses it for what it contains. BeforeQueue filters
    while the client waits for the answer to its DATA, so that what has the destiny Reject is refused there and nobody
    gets a bounce; when amavis or clamd is down, clients are told to try later. It changes no destiny by itself.
    A change restarts Postfix and amavis, one pod after the other; mail in the queue is filtered all the same."""
    suspended: Literal["None", "Hold", "PassThrough"] = "None"
    """Hold takes mail in and lets it wait, unfiltered, in the queue; all of it is filtered when this ends. PassThrough
    gives mail to the next hop unfiltered, viruses too, with the header X-Unfiltered; mail taken in before goes to the
    filter, and passes unfiltered only when that does not take it. Both show in the condition Suspended."""


def nowhere(destiny: str) -> str:
    """CEL over the spec: no part of it has this destiny, for no domain and no recipient."""

    def own(policy: str) -> str:
        return " && ".join(
            f"(!has({policy}.{part}) || !has({policy}.{part}.destiny) || {policy}.{part}.destiny != '{destiny}')"
            for part in PARTS
        )

    everybody = " && ".join(f"self.{part}.destiny != '{destiny}'" for part in PARTS)
    domains = f"self.domains.all(one, !has(one.policy) || ({own('one.policy')}))"
    recipients = f"self.recipients.all(one, {own('one.policy')})"
    return f"{everybody} && {domains} && {recipients}"


REJECT_AFTER_QUEUE = (
    "Reject needs filtering.mode: BeforeQueue. After the queue it would send bounces to forged senders; use Discard, "
    "which holds the mail in the quarantine"
)
BOUNCE_BEFORE_QUEUE = (
    "Bounce is for filtering.mode: AfterQueue. In BeforeQueue use Reject: it tells the client, without a mail to a "
    "sender that may be forged"
)


def problems(mode: str, destinies: dict[str, str]) -> Iterator[str]:
    """Destinies by field that the mode does not have, as sentences."""
    for field, destiny in destinies.items():
        if destiny == "Reject" and mode == "AfterQueue":
            yield f"{field}: {REJECT_AFTER_QUEUE}"
        if destiny == "Bounce" and mode == "BeforeQueue":
            yield f"{field}: {BOUNCE_BEFORE_QUEUE}"
