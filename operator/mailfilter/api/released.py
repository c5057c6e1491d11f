"""Senders that are allowed because mail of theirs was released."""

from mailfilter.api.fields import Model, ObjectName, SenderAddress, Timestamp


class ReleasedSender(Model):
    """A sender, and the release that allowed it. To take it back, delete the entry: nothing makes it again."""

    sender: SenderAddress
    """The envelope sender of a released mail, in lower case."""
    release: ObjectName
    """The QuarantineRelease with `allowSender` that made the entry; it may be gone."""
    time: Timestamp
    """When."""
