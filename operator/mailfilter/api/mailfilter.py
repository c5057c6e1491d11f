"""The MailFilter resource: one filter-only mail gateway."""

from typing import Annotated, Literal

from pydantic import Field

from mailfilter.api.fields import (
    VALIDATIONS,
    AliasTarget,
    DomainName,
    EmailAddress,
    FileNamePattern,
    FileType,
    FullHostName,
    HeaderFrom,
    HostName,
    HttpUrl,
    LocalPart,
    MimeType,
    Model,
    ObjectName,
    Port,
    PrintableAscii,
    Quantity,
    Score,
    SenderPattern,
    SignatureUrl,
    rule,
)

Destiny = Literal["Pass", "Discard"]


class Relay(Model):
    """The next hop: where mail for a domain goes after filtering."""

    host: HostName
    """Host name or IPv4 address; names of Kubernetes Services work. MX records are not followed."""
    port: Port = 25
    """TCP port of the next hop."""


class Domain(Model):
    """A domain whose mail is filtered."""

    name: DomainName
    """The domain after the @, such as example.com."""
    subdomains: bool = True
    """Whether mail to subdomains (sub.example.com) is accepted and filtered, too."""
    relay: Relay
    """The next hop for this domain's mail."""
    aliases: Annotated[
        dict[LocalPart, Annotated[list[AliasTarget], Field(min_length=1, max_length=50)]],
        Field(max_length=50),
    ] = {}
    """Local part → addresses that get its mail instead (Postfix' virtual_alias_maps); list the address itself to keep a
    copy. root, postmaster, abuse and webmaster go to `admin` where that is set and nothing else is said here."""


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
    """Mail from killLevel on ($final_spam_destiny): Discard holds it in the quarantine, Pass delivers it marked."""
    subject_tag: PrintableAscii | None = None
    """Put in front of the Subject of spam that is delivered ($sa_spam_subject_tag), such as "***SPAM*** ". amavis
    fills in _SCORE_, _REQD_ and _YESNO_."""
    body_size_limit: Annotated[int, Field(ge=1024, le=1073741824)] = 409600
    """Mail larger than this many bytes is not checked for spam ($sa_mail_body_size_limit)."""
    local_tests_only: bool = False
    """Whether tests that ask the network (DNS lists, SPF) are left out ($sa_local_tests_only). Restarts amavis."""
    rules: Annotated[str, Field(max_length=65536)] | None = None
    """Extra SpamAssassin rules: lines of header, body, rawbody, uri, full, meta, score, describe and tflags.
    Code (eval:, plugins) is refused. They take effect without a restart."""


class Virus(Model):
    """What becomes of mail in which clamd finds something. Mail that could not be scanned waits in the queue."""

    destiny: Destiny = "Discard"
    """$final_virus_destiny: Discard holds infected mail in the quarantine, Pass delivers it with X-Amavis-Alert."""


class Banned(Model):
    """Attachments that are not let through (amavis' banned file names and types)."""

    enabled: bool = True
    """Whether attachments are checked ($bypass_banned_checks when false)."""
    destiny: Destiny = "Discard"
    """$final_banned_destiny: Discard holds the mail in the quarantine, Pass delivers it with X-Amavis-Alert."""
    names: Annotated[list[FileNamePattern], Field(max_length=500)] = ["*.exe", "*.vbs", "*.pif", "*.scr", "*.cpl"]
    """File names, also inside archives; * and ? are wildcards, upper and lower case are the same."""
    types: Annotated[list[FileType], Field(max_length=100)] = ["exe-ms", "dll"]
    """Types by content as amavis names them, whatever the file is called."""
    mime_types: Annotated[list[MimeType], Field(max_length=100)] = ["application/x-msdownload"]
    """Declared MIME types."""
    allow_inside: Annotated[list[FileType], Field(max_length=100)] = ["rpm", "cpio", "tar"]
    """Types of archives in which `names` are allowed."""


class BadHeader(Model):
    """What becomes of mail whose header breaks RFC 5322."""

    destiny: Destiny = "Pass"
    """$final_bad_header_destiny. Many good senders break rules: Pass is the safe choice."""


class Lists(Model):
    """Senders that are always accepted or always blocked. Infected mail and banned files are blocked all the same."""

    allow: Annotated[list[SenderPattern], Field(max_length=1000)] = []
    """Senders whose mail is delivered whatever its spam score (@whitelist_sender_maps)."""
    deny: Annotated[list[SenderPattern], Field(max_length=1000)] = []
    """Senders whose mail counts as spam above every level (@blacklist_sender_maps)."""


class Notifications(Model):
    """Mails that amavis writes to administrators about what it blocked."""

    virus_admin: EmailAddress | None = None
    """Gets a notice for each infected mail ($virus_admin)."""
    spam_admin: EmailAddress | None = None
    """Gets a notice for each blocked spam ($spam_admin)."""
    banned_admin: EmailAddress | None = None
    """Gets a notice for each banned attachment ($banned_admin)."""
    mail_from: EmailAddress | None = None
    """Envelope sender of the notices ($mailfrom_notify_admin); postmaster at the first domain when left out."""
    header_from: HeaderFrom | None = None
    """From header of the notices ($hdrfrom_notify_admin)."""


class Storage(Model):
    """A persistent volume claim."""

    size: Quantity
    """Requested size, such as 10Gi."""
    storage_class_name: ObjectName | None = None
    """The StorageClass; the cluster's default when left out."""


class QuarantineStorage(Storage):
    """The quarantine's persistent volume claim."""

    size: Quantity = "10Gi"
    """Requested size, such as 10Gi."""
    access_mode: Literal["ReadWriteOnce", "ReadWriteMany"] = "ReadWriteOnce"
    """More than one amavis pod needs ReadWriteMany."""


class Quarantine(Model):
    """Where blocked mail is held."""

    storage: QuarantineStorage = QuarantineStorage()
    """The volume."""
    reclaim: Literal["Retain", "Delete"] = "Retain"
    """What becomes of held mail when the MailFilter is deleted: Retain keeps the claim `<name>-quarantine`."""


class Resources(Model):
    """Requests and limits of a container."""

    requests: Annotated[dict[str, Quantity], Field(max_length=20)] = {}
    """What the scheduler reserves, such as cpu: 500m, memory: 1Gi."""
    limits: Annotated[dict[str, Quantity], Field(max_length=20)] = {}
    """What the container may not exceed."""


class Service(Model):
    """The Service that makes the gateway reachable."""

    model_config = {
        "json_schema_extra": {
            VALIDATIONS: [
                rule("self.type != 'ClusterIP' || !has(self.nodePort)", "nodePort needs type NodePort or LoadBalancer"),
                rule(
                    "self.type == 'LoadBalancer' || !has(self.loadBalancerClass)",
                    "loadBalancerClass needs type LoadBalancer",
                ),
            ]
        }
    }

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"
    """How port 25 is published."""
    annotations: Annotated[dict[str, str], Field(max_length=50)] = {}
    """Annotations for the cloud's load balancer."""
    load_balancer_class: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    """The loadBalancerClass; type LoadBalancer only."""
    external_traffic_policy: Literal["Local", "Cluster"] = "Local"
    """Local keeps the client's address, which SPF, DNS lists and logs need; Cluster hides it."""
    node_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """A fixed node port; types NodePort and LoadBalancer only."""


class Postfix(Model):
    """The Postfix pods: they take mail in, keep the queue and deliver to the next hop."""

    replicas: Annotated[int, Field(ge=1, le=20)] = 1
    """Number of pods; each has a queue of its own."""
    storage: Storage = Storage(size="5Gi")
    """The queue's volume of each pod. It is kept when the MailFilter is deleted: mail may be in it."""
    resources: Resources = Resources(requests={"cpu": "100m", "memory": "128Mi"})
    """Requests and limits of the container postfix."""
    service: Service = Service()
    """How the gateway is reached."""
    proxy_protocol: bool = False
    """Whether the load balancer in front speaks the PROXY protocol (smtpd_upstream_proxy_protocol, outside only)."""


class Amavis(Model):
    """The amavis pods: decoders and SpamAssassin."""

    replicas: Annotated[int, Field(ge=1, le=20)] = 1
    """Number of pods; more than one needs a ReadWriteMany quarantine."""
    max_servers: Annotated[int, Field(ge=1, le=64)] = 2
    """Mails that each pod scans at a time ($max_servers): the number of cores it may use."""
    log_level: Annotated[int, Field(ge=0, le=5)] = 0
    """$log_level: 0 has one JSON line a mail, 2 adds timing, 5 is for debugging. A change restarts amavis."""
    resources: Resources = Resources(requests={"cpu": "200m", "memory": "384Mi"})
    """Requests and limits of the container amavis. About 110 MiB, 50 MiB for each server, and the mails in work."""


class Clamd(Model):
    """The clamd pods: the virus scanner."""

    replicas: Annotated[int, Field(ge=0, le=20)] = 1
    """Number of pods; with 0 all mail waits in the queue."""
    resources: Resources = Resources(requests={"cpu": "100m", "memory": "256Mi"})
    """Requests and limits of the container clamd. The official databases need about 1.5 GiB."""


class Freshclam(Model):
    """Where virus signatures come from. One pod fetches them and serves them to the clamd pods."""

    official_databases: bool = True
    """Whether ClamAV's main, daily and bytecode databases are fetched."""
    mirror: HttpUrl | None = None
    """A mirror of the official databases to ask instead of ClamAV's (PrivateMirror)."""
    custom_urls: Annotated[
        list[SignatureUrl],
        Field(alias="customURLs", max_length=50, json_schema_extra={"x-kubernetes-list-type": "set"}),
    ] = []
    """Signature files of your own or of third parties (DatabaseCustomURL)."""
    checks: Annotated[int, Field(ge=1, le=50)] = 24
    """Updates a day (freshclam's Checks)."""
    storage: Storage = Storage(size="2Gi")
    """The volume that keeps the signatures."""


def _same_class(part: str) -> str:
    """CEL: the storage class of `part` is what it was."""
    name = f"{part}.storage.storageClassName"
    return f"has(self.{name}) == has(oldSelf.{name}) && (!has(self.{name}) || self.{name} == oldSelf.{name})"


class MailFilterSpec(Model):
    """What is filtered, how, and where it goes."""

    model_config = {
        "json_schema_extra": {
            VALIDATIONS: [
                rule(
                    "self.amavis.replicas == 1 || self.quarantine.storage.accessMode == 'ReadWriteMany'",
                    "more than one amavis pod needs quarantine.storage.accessMode: ReadWriteMany",
                ),
                rule(
                    "self.freshclam.officialDatabases || self.freshclam.customURLs.size() > 0",
                    "without officialDatabases, freshclam.customURLs must name at least one signature file",
                ),
                rule(
                    "self.freshclam.customURLs.all(one, self.freshclam.customURLs.exists_one(other, "
                    "one.substring(one.lastIndexOf('/')) == other.substring(other.lastIndexOf('/'))))",
                    "freshclam.customURLs must end in different file names: all files are in one folder",
                ),
                rule(
                    "self.quarantine.storage.accessMode == oldSelf.quarantine.storage.accessMode && "
                    + _same_class("quarantine"),
                    "quarantine.storage: accessMode and storageClassName cannot be changed, the volume exists; "
                    "size can grow where the StorageClass allows it",
                ),
                rule(
                    " && ".join(
                        f"self.{part}.storage.size == oldSelf.{part}.storage.size && {_same_class(part)}"
                        for part in ("postfix", "freshclam")
                    ),
                    "postfix.storage and freshclam.storage cannot be changed: the volumes exist",
                ),
            ]
        }
    }

    hostname: FullHostName
    """The gateway's name: HELO, banner and Received (Postfix' myhostname, amavis' $myhostname)."""
    domains: Annotated[
        list[Domain],
        Field(
            min_length=1,
            max_length=500,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ]
    """The domains whose mail is accepted; all other mail is refused."""
    admin: EmailAddress | None = None
    """Gets the mail to root, postmaster, abuse and webmaster of each domain."""
    spam: Spam = Spam()
    """Spam levels and rules."""
    virus: Virus = Virus()
    """Infected mail."""
    banned: Banned = Banned()
    """Banned attachments."""
    bad_header: BadHeader = BadHeader()
    """Mail with a broken header."""
    lists: Lists = Lists()
    """Allowed and denied senders."""
    notifications: Notifications = Notifications()
    """Notices to administrators."""
    quarantine: Quarantine = Quarantine()
    """Held mail."""
    message_size_limit: Annotated[int, Field(ge=65536, le=1073741824)] = 26214400
    """The largest mail in bytes; Postfix and clamd follow it (message_size_limit, StreamMaxLength)."""
    postfix: Postfix = Postfix()
    """The Postfix pods."""
    amavis: Amavis = Amavis()
    """The amavis pods."""
    clamd: Clamd = Clamd()
    """The clamd pods."""
    freshclam: Freshclam = Freshclam()
    """Virus signatures."""
