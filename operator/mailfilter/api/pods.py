"""What shapes pods and volumes."""

from typing import Annotated, Literal

from pydantic import Field

from mailfilter.api.access import Access
from mailfilter.api.content import QuarantineKinds
from mailfilter.api.digest import GatewayDigest
from mailfilter.api.door import Dnsbl, Limits, Tls
from mailfilter.api.fields import VALIDATIONS, HttpUrl, Model, ObjectName, Quantity, SignatureUrl, rule
from mailfilter.api.retention import Kept


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


class Quarantine(Kept):
    """Where blocked mail is held, and how long."""

    storage: QuarantineStorage = QuarantineStorage()
    """The volume."""
    reclaim: Literal["Retain", "Delete"] = "Retain"
    """What becomes of held mail when the MailFilter is deleted: Retain keeps the claim `<name>-quarantine`."""
    kinds: QuarantineKinds = QuarantineKinds()
    """Which blocked mail is stored."""
    digest: GatewayDigest = GatewayDigest()
    """What recipients are told of mail that is held for them."""
    access: Access | None = None
    """Who reaches the page of the quarantine by a Service; nobody when left out. `kubectl port-forward` needs none."""


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
    limits: Limits = Limits()
    """What one client may do."""
    dnsbl: Dnsbl | None = None
    """DNS block lists; none are asked when left out."""
    tls: Tls | None = None
    """STARTTLS for those who bring mail; none when left out."""


class Amavis(Model):
    """The amavis pods: decoders and SpamAssassin."""

    replicas: Annotated[int, Field(ge=1, le=20)] = 1
    """Number of pods; more than one needs a ReadWriteMany quarantine."""
    max_servers: Annotated[int, Field(ge=1, le=64)] = 2
    """Mails that each pod scans at a time ($max_servers): the number of cores it may use."""
    log_level: Annotated[int, Field(ge=0, le=5)] = 0
    """$log_level: 0 has one JSON line a mail, 2 adds timing, 5 is for debugging."""
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
