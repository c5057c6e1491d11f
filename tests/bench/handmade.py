"""The rival: all of the hand-made system in one container."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.systems import METER, SINK, SLEEP, Usage, Verdict, kind, usages
from support.mail import SIGNATURE
from support.run import run, wait_for

IMAGE = "mailfilter-bench-rival"
NETWORK = "mailfilter-bench"
_READY = """
for port in 25 10024; do
  exec 3<>"/dev/tcp/127.0.0.1/$port" && IFS= read -r -t 5 answer <&3 && [[ $answer == 220* ]] || exit
done
ls /var/spool/amavisd/clamd.sock
"""
_LINE = re.compile(
    r"(?P<action>Passed|Blocked) (?P<kind>\S+) .* Message-ID: <(?P<id>.*?)>.* Hits: (?P<score>[-\d.]+)"
    r"(?:.*, Tests: \[(?P<tests>.*?)\])?"
)
_HARDENED = ("--user=10003", "--read-only", "--cap-drop=ALL", "--tmpfs=/tmp")


class Handmade:
    name = "hand-made"
    address = "rival:25"

    def source(self, *command: str, stdin: str = "", timeout: float = 60) -> str:
        return _inside("source", *command, stdin=stdin, timeout=timeout)

    def sink(self, *command: str, timeout: float = 60) -> str:
        return _inside("sink", *command, timeout=timeout)

    def usage(self) -> dict[str, Usage]:
        return usages(["all in one"], _inside("rival", "sh", "-c", METER, "meter", ""))

    def verdicts(self) -> dict[str, Verdict]:
        found = {}
        for line in _LINE.finditer(_inside("rival", "cat", "/var/log/amavis.log")):
            score = None if line["score"] == "-" else round(float(line["score"]), 3)
            tests = frozenset(test.partition("=")[0] for test in (line["tests"] or "").split(",")) - {""}
            found[line["id"]] = Verdict(kind(line["kind"]), line["action"] == "Passed", score, tests)
        return found


@contextmanager
def handmade(postfix_image: str) -> Iterator[Handmade]:
    """The hand-made system, built and running, with source and sink; removed at the end."""
    run("docker", "build", "--quiet", "--tag", IMAGE, Path(__file__).with_name("rival"), timeout=900)
    _remove()
    run("docker", "network", "create", NETWORK)
    try:
        _start(
            "rival", f"--network={NETWORK}", "--network-alias=rival", "--init", f"--env=SIGNATURES={SIGNATURE}", IMAGE
        )
        _start("sink", f"--network=container:{NETWORK}-rival", *_HARDENED, "--entrypoint=", postfix_image, *SINK)
        _start("source", f"--network={NETWORK}", *_HARDENED, "--entrypoint=", postfix_image, *SLEEP)
        wait_for(lambda: _inside("rival", "bash", "-c", _READY), "the hand-made system's Postfix, amavis and clamd")
        yield Handmade()
    finally:
        _remove()


def _start(name: str, *arguments: str) -> None:
    run("docker", "run", "--detach", f"--name={NETWORK}-{name}", *arguments)


def _inside(name: str, *command: str, stdin: str = "", timeout: float = 60) -> str:
    return run("docker", "exec", "--interactive", f"{NETWORK}-{name}", *command, stdin=stdin, timeout=timeout)


def _remove() -> None:
    for name in ("source", "sink", "rival"):
        subprocess.run(("docker", "rm", "--force", "--volumes", f"{NETWORK}-{name}"), capture_output=True, check=False)
    subprocess.run(("docker", "network", "rm", NETWORK), capture_output=True, check=False)
