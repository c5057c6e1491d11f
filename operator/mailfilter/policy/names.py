"""Host names of a MailFilter's Services, as the daemons use them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Names:
    """Names derived from a MailFilter's name and namespace. They never change: queued mail holds the filter's name."""

    name: str
    namespace: str

    def of(self, part: str) -> str:
        """The object `<name>-<part>`."""
        return f"{self.name}-{part}"

    def host(self, part: str) -> str:
        """DNS name of the Service `<name>-<part>`; the cluster's domain is left to the pod's search path."""
        return f"{self.name}-{part}.{self.namespace}.svc"
