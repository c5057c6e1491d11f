"""Process counts and timeouts of the whole chain, from the one number `amavis.maxServers`.

A mail that hangs must be given up from the inside out: clamd before amavis, amavis before Postfix, Postfix before the
client. Whoever waits longer hears why; whoever gives up earlier tries again what may yet succeed: it arrives twice.
"""

from dataclasses import dataclass

from mailfilter.api.mailfilter import MailFilterSpec

# How long a client waits for the answer to its DATA (RFC 5321, 4.5.3.2.6).
CLIENT_SECONDS = 600
# clamd's longest scan of one part of a mail; beyond it clamd reports Heuristics.Limits.Exceeded.
SCAN_SECONDS = 120
# amavis sends clamd up to this many parts of a mail before it reads the first answer.
PARTS_AT_A_TIME = 8


@dataclass(frozen=True)
class Capacity:
    """What each daemon is told; seconds and numbers of processes, threads or connections."""

    scans: int
    """Mails in work in all amavis pods together."""
    filter_connections: int
    """Of one Postfix pod, after the queue: its share of all amavis children, and one that waits so that none idles."""
    postfix_processes: int
    """Of each kind in one Postfix pod. A mail in work holds one to take it back, and before the queue one at the door;
    most clients at the door are slower than the filter."""
    clamd_threads: int
    """One for each mail in work, one for a ping and one for a reload. amavis pods may all use the same clamd."""
    clamd_queue: int
    """Parts that wait for a thread: all that amavis may have sent."""
    scan_seconds: int
    """clamd gives up on a part."""
    child_seconds: int
    """amavis gives up on a mail."""
    filter_seconds: int
    """Postfix gives up on the filter's answer."""


def capacity(spec: MailFilterSpec) -> Capacity:
    """The numbers for a gateway."""
    scans = spec.amavis.max_servers * spec.amavis.replicas
    threads = max(4, scans + 2)
    before_queue = spec.filtering.mode == "BeforeQueue"
    return Capacity(
        scans=scans,
        filter_connections=-(-scans // spec.postfix.replicas) + 1,
        postfix_processes=max(100, 2 * scans),
        clamd_threads=threads,
        clamd_queue=max(100, 2 * threads, PARTS_AT_A_TIME * scans),
        scan_seconds=SCAN_SECONDS,
        # Before the queue a client waits meanwhile: once for a free child, once for the answer. After it nobody does.
        child_seconds=240 if before_queue else 480,
        filter_seconds=290 if before_queue else 1200,
    )
