"""clamd.conf and freshclam.conf (clamd.conf(5), freshclam.conf(5))."""

from mailfilter.api.mailfilter import MailFilterSpec
from mailfilter.policy.capacity import capacity
from mailfilter.policy.names import Names

DATABASES = ("main", "daily", "bytecode")
MIRROR_PORT = 8080
DAY_SECONDS = 86400


def clamd_conf(spec: MailFilterSpec) -> str:
    """clamd over TCP. Every limit is at or above the message size, so that no part of a mail goes unscanned."""
    # Decoded parts can be larger than the mail they came in.
    part = spec.message_size_limit * 2
    numbers = capacity(spec)
    return _lines(
        ("Foreground", "yes"),
        ("LogTime", "yes"),
        ("TCPSocket", "3310"),
        ("TCPAddr", "0.0.0.0"),
        ("DatabaseDirectory", "/var/lib/clamav"),
        ("TemporaryDirectory", "/tmp"),
        ("SelfCheck", "60"),
        # Two databases in memory at a reload are what gets clamd killed at its memory limit.
        ("ConcurrentDatabaseReload", "no"),
        ("MaxThreads", str(numbers.clamd_threads)),
        ("MaxQueue", str(numbers.clamd_queue)),
        ("MaxScanTime", str(numbers.scan_seconds * 1000)),
        ("StreamMaxLength", str(part)),
        ("MaxFileSize", str(part)),
        ("MaxScanSize", str(part * 4)),
        # Above a limit clamd would else answer OK without having looked.
        ("AlertExceedsMax", "yes"),
    )


def freshclam_conf(spec: MailFilterSpec) -> str:
    """freshclam of the mirror pod: from the internet, the given mirror and the custom URLs."""
    source = spec.freshclam
    if not source.official_databases:
        # freshclam refuses to run without any mirror, even when it has nothing to ask it.
        servers = [("DatabaseMirror", "localhost"), *_excluded()]
    elif source.mirror:
        servers = [("PrivateMirror", source.mirror)]
    else:
        servers = [("DatabaseMirror", "database.clamav.net")]
    custom = [("DatabaseCustomURL", url) for url in source.custom_urls]
    return _lines(*_common(), *servers, *custom)


def follow_conf(spec: MailFilterSpec, names: Names) -> str:
    """freshclam beside clamd: from the cluster's own mirror."""
    mirror = f"http://{names.host('freshclam')}:{MIRROR_PORT}"
    official = [("PrivateMirror", mirror)]
    if not spec.freshclam.official_databases:
        official = [("DatabaseMirror", "localhost"), *_excluded()]
    custom = [("DatabaseCustomURL", f"{mirror}/{url.rsplit('/', 1)[1]}") for url in spec.freshclam.custom_urls]
    return _lines(*_common(), *official, *custom)


def update_seconds(spec: MailFilterSpec) -> int:
    """Seconds between two updates of the mirror."""
    return DAY_SECONDS // spec.freshclam.checks


def _common() -> list[tuple[str, str]]:
    return [
        ("Foreground", "yes"),
        ("DatabaseDirectory", "/var/lib/clamav"),
        ("DatabaseOwner", "clamav"),
        ("ConnectTimeout", "30"),
        ("ReceiveTimeout", "300"),
        ("MaxAttempts", "2"),
        ("TestDatabases", "yes"),
    ]


def _excluded() -> list[tuple[str, str]]:
    return [("ExcludeDatabase", database) for database in DATABASES]


def _lines(*settings: tuple[str, str]) -> str:
    return "".join(f"{name} {value}\n" for name, value in settings)
