"""make bench: which of the two systems is faster, what a mail costs each, and whether they judge alike.

Exit status 1 when a verdict differs that is not meant to. Speed is reported, never judged.
"""

import argparse
import json
import os
import platform
import re
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.corpus import Mail, corpus, load_mail
from bench.gateway import gateway
from bench.handmade import handmade
from bench.measure import SESSIONS, Round, judge, load
from bench.systems import System, Verdict
from support import BUILD, install, testbed
from support.cluster import Cluster
from support.run import CommandError

WARM_UP_MAILS = 20
console = Console(highlight=False)


def say(text: str) -> None:
    console.print(f"{time.strftime('%H:%M:%S')} {text}", soft_wrap=True)


def compare(mails: list[Mail], ours: dict[str, Verdict], theirs: dict[str, Verdict]) -> tuple[list[str], list[str]]:
    """All differences as text, and the names of the mails whose verdict differs and should not."""
    differences, wrong = [], []
    for mail in mails:
        one, two = theirs[mail.name], ours[mail.name]
        differ = (one.kind, one.passed) != (two.kind, two.passed)
        if not differ and one.score == two.score:
            continue
        causes = [mail.intended] if mail.intended else []
        for only, tests in (("hand-made", one.tests - two.tests), ("gateway", two.tests - one.tests)):
            causes += [f"only the {only} has {', '.join(sorted(tests))}"] if tests else []
        differences.append(f"{mail.name}: hand-made {one}, gateway {two}; {'; '.join(causes) or 'cause unknown'}")
        if differ and not mail.intended:
            wrong.append(mail.name)
    return differences, wrong


def rounds(systems: list[System], mails: int, turns: int) -> list[Round]:
    """The systems in turn, each idle while another one works."""
    mail = load_mail()
    for system in systems:
        load(system, mail, WARM_UP_MAILS)
    found = []
    for _ in range(turns):
        for system in systems:
            done = load(system, mail, mails)
            say(
                f"{system.name}: {mails} mails in {done.seconds:.1f} s (accepted in {done.accept_seconds:.1f} s): "
                f"{done.speed:.2f} mails/s, {done.cpu_per_mail:.0f} ms CPU a mail; all else {done.others:.2f} cores"
            )
            found.append(done)
    return found


def summary(system: str, done: list[Round]) -> dict[str, Any]:
    """Means of a system's rounds."""
    own = [one for one in done if one.system == system]
    return {
        "mails_per_second": mean(one.speed for one in own),
        "cpu_ms_per_mail": mean(one.cpu_per_mail for one in own),
        "memory_bytes": mean(sum(one.memory.values()) for one in own),
        "cpu_ms_per_mail_by_container": {
            name: mean(one.cpu_ms[name] / one.mails for one in own) for name in own[0].cpu_ms
        },
    }


def machine() -> dict[str, Any]:
    cpuinfo, memory = Path("/proc/cpuinfo").read_text(), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    model = re.search(r"^model name\s*: (.*)$", cpuinfo, re.MULTILINE)
    return {
        "cores": os.cpu_count(),
        "processor": model[1] if model else platform.processor(),
        "memory_bytes": memory,
        "kernel": platform.release(),
    }


def show(names: list[str], found: dict[str, dict[str, Any]]) -> None:
    table = Table(title="Means of all rounds")
    for column in ("", *names, "ratio"):
        table.add_column(column, justify="right" if column else "left")

    def row(what: str, key: str, unit: float, digits: int) -> None:
        first, second = (found[name][key] for name in names)
        table.add_row(what, f"{first / unit:.{digits}f}", f"{second / unit:.{digits}f}", f"{second / first:.2f}")

    row("mails/s", "mails_per_second", 1, 2)
    row("CPU, ms a mail", "cpu_ms_per_mail", 1, 0)
    row("memory, MiB", "memory_bytes", 1 << 20, 0)
    console.print(table)
    shares = found[names[1]]["cpu_ms_per_mail_by_container"]
    largest = sorted(shares.items(), key=lambda share: -share[1])
    console.print(f"CPU of the {names[1]}, ms a mail: " + ", ".join(f"{name} {ms:.1f}" for name, ms in largest))


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--mails", type=int, default=300, choices=range(10, 5001), metavar="10..5000")
    parser.add_argument("--rounds", type=int, default=2, choices=range(1, 11), metavar="1..10")
    parser.add_argument("--cluster", default="mailfilter-test", help="a kind cluster, made where there is none")
    chosen = parser.parse_args()
    started = time.time()
    testbed.enter()
    say("images, cluster and operator")
    images = install.build_images()
    cluster = Cluster(chosen.cluster)
    cluster.up()
    cluster.load(*images.values())
    install.install(cluster)
    with ExitStack() as stack:
        say("the hand-made system")
        rival = stack.enter_context(handmade(images["postfix"]))
        say("the gateway")
        ours = stack.enter_context(gateway(cluster, images))
        mails = corpus()
        say(f"verdicts on {len(mails)} mails")
        verdicts = {system.name: judge(system, mails) for system in (rival, ours)}
        differences, wrong = compare(mails, verdicts[ours.name], verdicts[rival.name])
        console.print("\n".join(differences) or "all verdicts and scores agree", soft_wrap=True)
        say(f"{chosen.rounds} rounds of {chosen.mails} mails of {len(load_mail())} bytes, {SESSIONS} sessions")
        done = rounds([rival, ours], chosen.mails, chosen.rounds)
    names = [rival.name, ours.name]
    found = {name: summary(name, done) for name in names}
    show(names, found)
    result = {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "machine": machine(),
        "ratio": found[ours.name]["mails_per_second"] / found[rival.name]["mails_per_second"],
        "systems": found,
        "rounds": [asdict(one) for one in done],
        "verdicts": {mail.name: {name: str(verdicts[name][mail.name]) for name in names} for mail in mails},
        "differences": differences,
    }
    (BUILD / "bench.json").write_text(json.dumps(result, indent=1) + "\n")
    agree = len(mails) - len(differences)
    console.print(f"{agree} of {len(mails)} mails have the same verdict and score on both; details: .build/bench.json")
    console.print(f"On {machine()['cores']} cores, {machine()['processor']}; {time.time() - started:.0f} s in all.")
    if wrong:
        console.print(f"[bold red]Verdicts that must not differ:[/] {', '.join(wrong)}")
        return 1
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (CommandError, AssertionError) as error:
        console.print(f"[bold red]The benchmark stopped:[/] {error}", soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
