"""python -m bench.lists: how soon a list is obeyed while mail streams, and what a hundred thousand entries cost.

Exit status 1 when a pod was restarted, or a mail was put off. Times are reported, never judged.
"""

import argparse
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median, quantiles

from bench.corpus import load_mail
from bench.gateway import Gateway, gateway
from bench.measure import load
from support import BUILD, install, testbed
from support.cluster import Cluster, Object
from support.gateway import reports
from support.run import CommandError, wait_for

ENTRIES, KEYS = 100_000, 5
AMAVIS, OPERATOR = "amavis/amavis", "operator/operator"
# One mail after the other; who sends them stands in a file. A mail that is not taken ends it.
_STREAM = r"""
    rm -f /tmp/stop; printf 'From: author@neutral.example\nSubject: stream\n\nHow are you?\n' >/tmp/stream
    until [ -e /tmp/stop ]; do
      smtp-source -M client.example -f "$(cat /tmp/sender)" -t bob@example.com -F /tmp/stream "$1" || exit 1
    done
"""


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


class Bench:
    """A gateway under a stream of mail."""

    def __init__(self, system: Gateway) -> None:
        self.system, self.cluster, self.namespace = system, system.cluster, system.namespace
        self.seen: dict[str, Object] = {}

    @contextmanager
    def stream(self) -> Iterator[None]:
        """Mail in all of the time; its end says that all of it was taken."""
        self.sends("nobody")
        command = ("kubectl", "-n", self.namespace, "exec", "source", "--", "sh", "-c", _STREAM, "stream")
        stream = subprocess.Popen((*command, self.system.address), env=self.cluster.env)
        try:
            yield
            assert stream.poll() is None, "a mail was not taken"
            self.system.source("touch", "/tmp/stop")
            assert stream.wait(30) == 0, "a mail was not taken"
        finally:
            stream.kill()

    def sends(self, name: str) -> str:
        """Who sends the stream from now on."""
        sender = f"{name}@client.example"
        self.system.source("sh", "-c", 'echo "$1" >/tmp/new && mv /tmp/new /tmp/sender', "sends", sender)
        return sender

    def patch(self, **lists: object) -> None:
        """Change the MailFilter's lists; all that is not named is emptied."""
        empty: Object = {"deny": [], "from": []}
        patch = json.dumps({"spec": {"lists": empty | lists}})
        self.cluster.kubectl("-n", self.namespace, "patch", "mf", "mx", "--type=merge", "-p", patch)

    def first_denied(self, sender: str) -> float:
        """When amavis took up the first mail of the sender that it blocked, in seconds since the epoch."""

        def found() -> float:
            text = self.cluster.kubectl("-n", self.namespace, "logs", "mx-amavis-0", "-c", "amavis", "--since=30s")
            times = []
            for line in text.splitlines():
                start = line.find("{")
                if start < 0 or sender not in line:
                    continue
                report = json.loads(line[start:])
                if report.get("mail_from") == sender and any(one.get("blacklisted") for one in report["recipients"]):
                    times.append(float(report["time_unix"]))
            assert times, "none yet"
            return min(times)

        return wait_for(found, f"a blocked mail of {sender}", timeout=120, interval=0.5)

    def settled(self, denied: int) -> None:
        def seen() -> bool:
            status = self.cluster.get("mailfilter", "mx", self.namespace)["status"]
            policy = status["policy"]
            return bool(status["lists"]["deny"] == denied and policy.get("inForce") == policy["wanted"])

        wait_for(seen, f"{denied} entries in force", timeout=120, interval=0.5)

    def restarts(self) -> dict[str, int]:
        return {
            f"{pod['metadata']['uid']} {each['name']}": each["restartCount"]
            for pod in self.cluster.objects("pod", self.namespace)
            for each in pod["status"]["containerStatuses"]
        }

    def put_off(self) -> list[str]:
        """Mails that amavis has put off."""
        found = reports(self.cluster, self.namespace).values()
        return [str(one["log_id"]) for one in found if "TEMPFAIL" in str(one["action"])]


def spread(name: str, seconds: list[float]) -> Object:
    """Median and 95th percentile of times."""
    p95 = quantiles(seconds, n=20, method="inclusive")[-1]
    say(f"{name}: median {median(seconds):.2f} s, p95 {p95:.2f} s ({min(seconds):.2f} to {max(seconds):.2f})")
    return {"seconds": seconds, "median": median(seconds), "p95": p95}


def single_entries(bench: Bench, repetitions: int) -> Object:
    """From `kubectl patch` of a deny entry to the first mail that it blocks."""
    times = []
    for number in range(repetitions):
        sender = bench.sends(f"pest{number}")
        started = time.time()
        bench.patch(deny=[sender])
        times.append(bench.first_denied(sender) - started)
    return spread("a deny entry, apply to effect", times)


def config_maps(entries: list[str]) -> list[Object]:
    """The entries in several ConfigMaps."""
    size = -(-len(entries) // KEYS)
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"pests{number}"},
            "data": {"senders": "\n".join(entries[number * size : (number + 1) * size]) + "\n"},
        }
        for number in range(KEYS)
    ]


def long_list(bench: Bench, repetitions: int) -> Object:
    """From apply to effect of a hundred thousand entries, and of one more in a list as long."""
    draw = random.Random(1)
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    entries = [
        f"{''.join(draw.choices(letters, k=8))}.{number}@{''.join(draw.choices(letters, k=9))}.example"
        for number in range(ENTRIES - 1)
    ]
    bodies = config_maps([*entries, bench.sends("long")])
    started = time.time()
    bench.cluster.apply(bodies, bench.namespace)
    names = [{"configMap": {"name": body["metadata"]["name"], "key": "senders"}, "list": "Deny"} for body in bodies]
    bench.patch(**{"from": names})
    whole = bench.first_denied("long@client.example") - started
    say(f"{ENTRIES} entries, apply to effect: {whole:.2f} s")
    bench.settled(ENTRIES)
    times = []
    for number in range(repetitions):
        sender = bench.sends(f"more{number}")
        bodies[-1]["data"]["senders"] += f"{sender}\n"
        started = time.time()
        bench.cluster.apply(bodies[-1], bench.namespace)
        times.append(bench.first_denied(sender) - started)
    bench.settled(ENTRIES + repetitions)
    return {"all": whole, "one more": spread(f"one more entry in {ENTRIES}, apply to effect", times)}


def cost(bench: Bench, mails: int) -> Object:
    """Memory of operator and amavis, and what a mail costs."""
    done = load(bench.system, load_mail(), mails)
    found = {
        "amavis_mib": done.memory[AMAVIS] / 2**20,
        "operator_mib": done.memory[OPERATOR] / 2**20,
        "cpu_ms_per_mail": done.cpu_per_mail,
        "amavis_cpu_ms_per_mail": done.cpu_ms[AMAVIS] / mails,
    }
    say(", ".join(f"{name} {value:.1f}" for name, value in found.items()))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.lists", description=__doc__)
    parser.add_argument("--cluster", default="mailfilter-test", help="a kind cluster, made where there is none")
    parser.add_argument("--mails", type=int, default=150)
    chosen = parser.parse_args()
    testbed.enter()
    say("images, cluster and operator")
    images = install.build_images()
    cluster = Cluster(chosen.cluster)
    cluster.up()
    cluster.load(*images.values())
    install.install(cluster)
    with gateway(cluster, images) as system:
        bench = Bench(system)
        load(system, load_mail(), 20)
        before = bench.restarts()
        result: Object = {"cost without lists": cost(bench, chosen.mails)}
        with bench.stream():
            result["single entries"] = single_entries(bench, 20)
            result["long list"] = long_list(bench, 5)
        result[f"cost with {ENTRIES} entries"] = cost(bench, chosen.mails)
        restarted, put_off = bench.restarts() != before, bench.put_off()
    (BUILD / "bench-lists.json").write_text(json.dumps(result, indent=1) + "\n")
    say(f"restarts: {'some' if restarted else 'none'}, mails put off: {len(put_off)}")
    return 1 if restarted or put_off else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (CommandError, AssertionError) as error:
        say(f"stopped: {error}")
        sys.exit(1)
