"""When a digest is due. Pure."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from mailfilter.api.digest import Digest


def due(setting: Digest, now: float) -> tuple[date, float] | None:
    """The day that it is in the setting's zone, and the time of its digest in seconds since the epoch; None before it.

    A time that a day does not have, for the clocks go forward, is later by what they go; of one that it has twice the
    first counts.
    """
    day = datetime.fromtimestamp(now, ZoneInfo(setting.time_zone)).date()
    moment = on(setting, day)
    return (day, moment) if moment <= now else None


def before(setting: Digest, day: date) -> float:
    """The time of the digest of the day before."""
    return on(setting, day - timedelta(days=1))


def on(setting: Digest, day: date) -> float:
    """The time of the digest of a day."""
    local = datetime.combine(day, time.fromisoformat(setting.at), ZoneInfo(setting.time_zone))
    return local.astimezone(UTC).timestamp()
