"""The world's DNS, by which mail finds the gateway."""

from mailfilter.api.fields import Model


class Dns(Model):
    """Records that the world's DNS must have."""

    check: bool = True
    """Whether the operator looks for them from time to time: `status.dns` and the condition DNSReady say what it found,
    and Ready does not depend on it. Switch it off where the operator can ask no DNS but the cluster's own."""
