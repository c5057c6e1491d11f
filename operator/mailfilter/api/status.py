"""The status of the custom resources: observed truth."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from mailfilter.api.fields import Model

CONDITIONS = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}


class Condition(Model):
    """One observation, in the form of meta/v1 Condition."""

    type: str
    """What was observed."""
    status: Literal["True", "False", "Unknown"]
    """Whether it is so."""
    reason: str
    """Why, as one word."""
    message: str
    """Why, for people: what is wrong, where, and what to do."""
    observed_generation: int
    """The generation of the spec that this speaks of."""
    last_transition_time: datetime
    """When `status` last changed."""


Conditions = Annotated[list[Condition], Field(json_schema_extra=CONDITIONS)]


class ComponentStatus(Model):
    """Pods of one component."""

    ready: int
    """Ready pods of the wanted template."""
    desired: int
    """Wanted pods."""


class Components(Model):
    """Pods by component."""

    postfix: ComponentStatus | None = None
    """Postfix."""
    amavis: ComponentStatus | None = None
    """amavis."""
    clamd: ComponentStatus | None = None
    """clamd."""
    freshclam: ComponentStatus | None = None
    """freshclam."""


class PolicyStatus(Model):
    """The policy by the SHA-256 of what is rendered."""

    wanted: str
    """What the spec says."""
    in_force: str | None = None
    """What all amavis pods judge by; missing while they differ."""


class ListsStatus(Model):
    """Senders' lists as they are looked up, those of domains and recipients included."""

    allow: int
    """Allowed."""
    deny: int
    """Denied."""
    scores: int
    """With a score, those of presets included."""
    refused: int
    """Left out: condition ListsValid says which and why."""


class SignaturesStatus(Model):
    """The virus signatures that the mirror serves."""

    version: str | None = None
    """The newest official database's version."""
    updated: datetime | None = None
    """When a signature file last changed."""


class QuarantineStatus(Model):
    """Held mail."""

    messages: int = 0
    """All held mails."""
    bytes: int = 0
    """Their size on the volume."""
    by_kind: dict[str, int] = {}
    """Held mails by kind: spam, virus, banned, bad-header."""


class QueueStatus(Model):
    """Postfix' queue over all pods."""

    active: int = 0
    """In delivery or about to be (incoming and active)."""
    deferred: int = 0
    """Waiting for another try."""
    oldest_seconds: int = 0
    """Age of the oldest mail in seconds."""


class DnsRecord(Model):
    """A record that the world's DNS must have."""

    name: str
    """The name that is asked for: a domain, the gateway's host name, or a selector of a domain."""
    type: Literal["MX", "A", "TXT"]
    """MX of a domain; A of the gateway, which may also be AAAA; TXT of a DKIM key."""
    expected: str | None = None
    """The host name that the MX record must name, or the TXT record."""
    found: list[str] = []
    """What DNS has, as in a zone file."""
    state: Literal["Missing", "Different", "Unknown", "Present"]
    """Different: there are MX records, and none names the gateway, or the TXT record has another key. Unknown: DNS did
    not answer."""


class DnsStatus(Model):
    """What the world's DNS has of what it must have."""

    present: int = 0
    """Records that are right."""
    missing: int = 0
    """Records that are not there."""
    different: int = 0
    """Records that name others."""
    unknown: int = 0
    """Records of which DNS said nothing."""
    records: Annotated[
        list[DnsRecord],
        Field(json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name", "type"]}),
    ] = []
    """The gateway's name, each domain and each DKIM key; of many the first hundred, those that want attention first."""


class DkimRecord(Model):
    """The record that a key of outgoing.dkim needs in the world's DNS."""

    domain: str
    """The domain that signs."""
    selector: str
    """The selector."""
    record: str
    """The name of the TXT record."""
    value: str | None = None
    """What it must say, made from the Secret; missing while no pod could read a key there. A zone file has it in pieces
    of at most 255 characters, each in quotes."""
    dns: Literal["Missing", "Different", "Unknown", "Present"] | None = None
    """Whether DNS has it; missing when DNS was not asked (dns.check)."""


class MailFilterStatus(Model):
    """What the operator last saw."""

    observed_generation: int | None = None
    """The generation of the spec that all pods run."""
    conditions: Conditions = []
    """Ready, Progressing, PolicyActive, ListsValid, ScannerAvailable, SignaturesFresh, QuarantineWritable,
    QuarantineSpace, BackscatterRisk, Suspended, DNSReady, TLSActive, DNSBLUsable, DNSListsUsable, SigningReady."""
    components: Components | None = None
    """Pods by component."""
    policy: PolicyStatus | None = None
    """The policy wanted and in force."""
    lists: ListsStatus | None = None
    """Lists of senders."""
    signatures: SignaturesStatus | None = None
    """Virus signatures."""
    quarantine: QuarantineStatus | None = None
    """Held mail."""
    dns: DnsStatus | None = None
    """Records in the world's DNS."""
    dkim: (
        Annotated[
            list[DkimRecord],
            Field(json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["record"]}),
        ]
        | None
    ) = None
    """The keys of outgoing.dkim: what to publish."""
    queue: QueueStatus | None = None
    """Postfix' queue."""
    endpoint: str | None = None
    """Where other servers deliver to: host:port."""


class RecipientResult(Model):
    """What became of a released mail for one recipient."""

    address: str
    """Envelope recipient."""
    released: bool
    """Whether Postfix took it."""
    reply: str
    """The reply."""
    queue_id: str | None = None
    """Postfix' queue id."""


class MessageResult(Model):
    """What became of one message of a release."""

    id: str
    """The quarantine id."""
    result: Literal["Pending", "Released", "Retrying", "Failed"]
    """Released only with Postfix' queue id."""
    reason: str | None = None
    """Why it failed, as one word."""
    reply: str | None = None
    """The last reply."""
    queue_id: str | None = None
    """Postfix' queue id of the (last) delivery."""
    recipients: list[RecipientResult] = []
    """By recipient."""
    attempts: int = 0
    """Tries so far."""
    time: datetime | None = None
    """Time of the last try."""


class ReleaseCounts(Model):
    """Mails of a release."""

    total: int = 0
    """All that are to be released."""
    released: int = 0
    """Postfix has them, for all recipients."""
    failed: int = 0
    """Refused for good."""
    retrying: int = 0
    """Refused for now: they are tried again."""
    infected: int = 0
    """Found by the selector, but left out because they are infected and `allowVirus` is not set."""


class MessageFailure(Model):
    """A mail that was not released."""

    id: str
    """The quarantine id."""
    result: Literal["Retrying", "Failed"]
    """Retrying: it is tried again."""
    reason: str | None = None
    """Why it failed, as one word."""
    reply: str | None = None
    """The last reply."""


class SenderResult(Model):
    """What came of `allowSender` for one sender."""

    sender: str
    """Envelope sender."""
    result: Literal["Allowed", "Present", "Refused"]
    """Allowed: the entry was made. Present: the sender was allowed already."""
    message: str | None = None
    """Why it was refused."""


class QuarantineReleaseStatus(Model):
    """How far a release is."""

    phase: Literal["Pending", "Releasing", "Released", "PartiallyReleased", "Failed"] = "Pending"
    """All in one word."""
    progress: str = "0/0"
    """Released / all messages."""
    counts: ReleaseCounts | None = None
    """Mails by what became of them."""
    failures: Annotated[
        list[MessageFailure],
        Field(json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"]}),
    ] = []
    """The first twenty mails that failed or are to be tried again."""
    messages: Annotated[
        list[MessageResult],
        Field(json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"]}),
    ] = []
    """By message, of a release that names them."""
    senders: Annotated[
        list[SenderResult],
        Field(json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["sender"]}),
    ] = []
    """With `allowSender`, once the release has ended."""
    conditions: Conditions = []
    """Complete: True when every message is released or has failed for good."""
    observed_generation: int | None = None
    """The generation that this speaks of."""
    completion_time: datetime | None = None
    """When it ended."""
