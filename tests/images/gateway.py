"""A whole gateway of containers, configured as the operator does it."""

import json
import smtplib
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from images.configuration import CLAMD_CONF, POLICY, SINK_PORT, TABLES, main_cf
from images.docker import POSTFIX_CAPABILITIES, ConfigMap, Container, Lab, eventually
from images.mails import EICAR

AMAVIS, CLAMAV, POSTFIX = "10001:10001", "10002:10002", "10003:10003"


# Postfix' queue manager forgets for a while about a mail that is in delivery when it is reloaded.
LOADED = "/var/spool/postfix/tables-loaded"


@contextmanager
def started_amavis(
    lab: Lab, policy_map: ConfigMap, quarantine: Path, run: Path, volumes: dict[str, Path] | None = None, **env: str
) -> Iterator[Container]:
    """An amavis container, not waited for; volume directories of its own besides those given."""
    volumes = (volumes or {}) | {
        "/etc/mailfilter/policy": policy_map.directory,
        "/run/amavis": run,
        "/var/lib/amavis": lab.volume(),
        "/var/lib/amavis/tmp": lab.volume(),
        "/var/lib/amavis/quarantine": quarantine,
    }
    settings = {
        "AMAVIS_MAILFILTER": "mail/mx",
        "AMAVIS_HOSTNAME": "filter.example.net",
        "AMAVIS_MAX_SERVERS": "2",
        "AMAVIS_CLAMD": "clamd:3310",
        "AMAVIS_RELEASE_TO": "reinjection:10025",
        "AMAVIS_LOCAL_TESTS_ONLY": "1",
        "AMAVIS_DNS_SERVERS": "",
        "AMAVIS_CHILD_TIMEOUT": "60",
        "AMAVIS_OUTGOING": "0",
    }
    with lab.container("amavis", alias="filter", user=AMAVIS, env=settings | env, volumes=volumes) as amavis:
        yield amavis


def amavis_ready(amavis: Container) -> None:
    """Waits until it greets."""
    eventually(lambda: greeting(amavis, 10024), f"amavis greets\n{amavis.log[-2000:]}")


def greeting(container: Container, port: int) -> bytes | None:
    """What a daemon says to a client that just connects."""
    assert container.exit_code is None, container.log
    try:
        with socket.create_connection((container.address, port), timeout=5) as connection:
            return connection.recv(100)
    except OSError:
        return None


@contextmanager
def started_tables(
    lab: Lab, config: ConfigMap, compiled: Path, more_volumes: dict[str, Path] | None = None
) -> Iterator[Container]:
    """The container that compiles the lookup tables."""
    volumes = {"/etc/mailfilter/postfix": config.directory, "/var/lib/mailfilter/tables": compiled}
    volumes |= more_volumes or {}
    with lab.container("postfix", user=POSTFIX, entrypoint="mailfilter-tables", volumes=volumes) as tables:
        yield tables


@contextmanager
def started_postfix(
    lab: Lab,
    config: ConfigMap,
    compiled: Path,
    queue: Path,
    more_volumes: dict[str, Path] | None = None,
    **options: Any,
) -> Iterator[Container]:
    """A Postfix container, waited for."""
    volumes = (more_volumes or {}) | {
        "/etc/mailfilter/postfix": config.directory,
        "/var/lib/mailfilter/tables": compiled,
        "/etc/postfix": lab.volume(),
        "/var/spool/postfix": queue,
        "/var/spool/postfix/pid": lab.volume(),
        "/var/lib/postfix": lab.volume(),
    }
    with lab.container(
        "postfix",
        alias="reinjection",
        capabilities=POSTFIX_CAPABILITIES,
        volumes=volumes,
        tmpfs=("/run",),
        **options,
    ) as postfix:
        postfix.wait_for_log("daemon started")
        yield postfix


@contextmanager
def started_clamd(lab: Lab) -> Iterator[Container]:
    """clamd that knows EICAR, waited for."""
    signatures = lab.volume()
    (signatures / "custom.ndb").write_text(f"Custom.EICAR.ndb:0:*:{EICAR.encode().hex()}\n")
    config = lab.config_map({"clamd.conf": CLAMD_CONF})
    volumes = {"/etc/mailfilter/clamav": config.directory, "/var/lib/clamav": signatures}
    with lab.container("clamav", alias="clamd", user=CLAMAV, volumes=volumes) as clamd:
        clamd_ready(clamd)
        yield clamd


def clamd_ready(clamd: Container) -> None:
    """Waits until the probe that Kubernetes uses says so."""
    eventually(lambda: not clamd.run("mailfilter-clamd-ping", check=False).returncode, "clamd answers")


@contextmanager
def started_sink(lab: Lab) -> Iterator[Container]:
    """The next hop: keeps each mail in a file."""
    arguments = ("-d", "/tmp/mail.", f"0.0.0.0:{SINK_PORT}", "100")
    with lab.container("postfix", *arguments, alias="sink", user=POSTFIX, entrypoint="smtp-sink") as sink:
        eventually(lambda: greeting(sink, SINK_PORT), "the sink greets")
        yield sink


@contextmanager
def started_dns(lab: Lab, *zone: str) -> Iterator[Container]:
    """A DNS server that knows name=address."""
    program = {"/dns.pl": Path(__file__).with_name("dns.pl")}
    with lab.container("amavis", "/dns.pl", *zone, entrypoint="perl", volumes=program) as dns:
        dns.wait_for_log("ready")
        yield dns


@dataclass
class Gateway:
    """The running chain Postfix → amavis → clamd → Postfix → sink."""

    lab: Lab
    policy: ConfigMap
    config: ConfigMap
    clamd: Container
    amavis: Container
    tables: Container
    postfix: Container
    sink: Container
    before_queue: bool
    """Whether clients wait while their mail is filtered."""
    amavis_volumes: dict[str, Path]
    """Directories that amavis shares with its agent, by the path inside."""
    postfix_queue: Path

    def send(self, message: EmailMessage, *recipients: str, sender: str | None = None) -> None:
        """Hands a mail in at the front door."""
        with smtplib.SMTP(self.postfix.address, 2525, timeout=30) as client:
            client.send_message(
                message, str(message["From"]) if sender is None else sender, recipients or [str(message["To"])]
            )

    def send_bytes(self, octets: bytes, sender: str, *recipients: str) -> None:
        """Hands a mail in at the front door, as it is."""
        with smtplib.SMTP(self.postfix.address, 2525, timeout=30) as client:
            client.sendmail(sender, recipients, octets)

    def answer(self, message: EmailMessage, *recipients: str) -> tuple[int, str]:
        """The answer to a mail's DATA at the front door."""
        with smtplib.SMTP(self.postfix.address, 2525, timeout=60) as client:
            client.ehlo()
            client.mail(str(message["From"]))
            for recipient in recipients or [str(message["To"])]:
                client.rcpt(recipient)
            code, text = client.data(message.as_bytes(policy=SMTP))
            return code, text.decode()

    def set_policy(self, wanted: dict[str, Any]) -> None:
        """As the operator does; as the agent does, makes amavis look at it."""
        self.policy.write({"policy.json": json.dumps(wanted)})
        am_pdp(self.amavis, ["request=smtpd_access_policy"])

    def delivered(self, subject: str) -> list[str]:
        """All mails at the next hop whose subject begins so; the sink adds X-Mail-Args and X-Rcpt-Args."""
        dump = self.sink.run("sh", "-c", r"for f in /tmp/mail.*; do [ ! -e $f ] || { cat $f; printf '\0'; }; done")
        mails = dump.stdout.decode(errors="replace").replace("\r\n", "\n").split("\0")
        return [text for text in mails if f"\nSubject: {subject}" in text.partition("\n\n")[0]]

    def raw(self, subject: str) -> bytes:
        """The one mail at the next hop whose subject begins so, as it came there."""
        find = r'grep -lF -- "Subject: $0" /tmp/mail.* | { read -r file && cat "$file"; }'
        content = self.sink.run("sh", "-c", find, subject).stdout
        # The sink has line ends, an empty line at the end and fields of its own.
        lines = content.replace(b"\r\n", b"\n").removesuffix(b"\n").split(b"\n")
        own = (b"X-Client-", b"X-Helo-", b"X-Mail-", b"X-Rcpt-")
        return b"\r\n".join(line for line in lines if not line.startswith(own))

    def held(self) -> list[str]:
        """Quarantine ids."""
        return [name for name in self.amavis.list("/var/lib/amavis/quarantine") if not name.startswith(".")]

    def reports(self) -> list[dict[str, Any]]:
        """amavis' reports, oldest first, from its log."""
        lines = [line.partition("{") for line in self.amavis.log.splitlines()]
        return [json.loads(brace + rest) for before, brace, rest in lines if before.startswith("<5>(") and rest]

    def report(self, subject: str) -> dict[str, Any]:
        """The report on a mail, waited for."""
        found = eventually(lambda: [r for r in self.reports() if r.get("subject") == subject], f"a report on {subject}")
        return found[-1]

    def held_after(self, subject: str) -> str:
        """The quarantine id of the mail with that subject, waited for."""
        return str(self.report(subject)["quarantine"])

    def verdicts(self, subject: str) -> dict[str, str]:
        """What became of a mail for each recipient: PASS, DISCARD, REJECT…"""
        return {str(one["rcpt_to"]): str(one["action"]) for one in self.report(subject)["recipients"]}

    def queue(self) -> list[dict[str, Any]]:
        """What is in Postfix' queue."""
        lines = self.postfix.run("postqueue", "-j").stdout.decode().splitlines()
        return [json.loads(line) for line in lines]

    def flush(self) -> None:
        """Makes Postfix try all mail again, at once."""
        self.postfix.run("postqueue", "-f")

    def idle(self) -> None:
        """Waits until the queue is empty."""

        def empty() -> bool:
            waiting = self.queue()
            if any(mail["queue_name"] == "deferred" for mail in waiting):
                self.flush()
            return not waiting

        try:
            eventually(empty, "the queue is empty", 60)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.queue()}\n{self.postfix.log[-3000:]}") from None

    def release(self, quarantine_id: str, *recipients: str, key: str | None = None) -> list[str]:
        """Asks amavis for held mail as the agent does; the replies."""
        request = {
            "request": "release",
            "mail_id": quarantine_id.rpartition("/")[2].removesuffix(".gz"),
            "mail_file": quarantine_id,
            "quar_type": "Z" if quarantine_id.endswith(".gz") else "F",
        }
        lines = [f"{name}={quote(value, safe='/')}" for name, value in request.items()]
        lines += [f"recipient={quote(recipient)}" for recipient in recipients]
        lines += [f"policy_bank=RELEASE-{key}"] if key else []
        return am_pdp(self.amavis, lines)


# The socket is on a volume, but a unix socket cannot be reached by another user than its own: ask from inside.
_CLIENT = """
use IO::Socket::UNIX;
my $socket = IO::Socket::UNIX->new(Peer => '/run/amavis/amavisd.sock') or die "connect: $!";
local $/ = undef; my $request = <STDIN>;
print {$socket} $request; $socket->flush; $socket->shutdown(1);
print scalar <$socket>;
"""


def am_pdp(amavis: Container, lines: list[str]) -> list[str]:
    """One request to amavis' own protocol; the values of its answer."""
    wire = "".join(f"{line}\r\n" for line in [*lines, ""]).encode()
    answer = amavis.run("perl", "-e", _CLIENT, stdin=wire).stdout.decode()
    return [unquote(line.partition("=")[2]) for line in answer.split("\r\n") if line]


@contextmanager
def started_agent(gateway: Gateway, token: str, parallel: int) -> Iterator[Container]:
    """The agent beside amavis, not waited for."""
    secret = gateway.lab.config_map({"token": token})
    volumes = gateway.amavis_volumes | {
        "/etc/mailfilter/policy": gateway.policy.directory,
        "/etc/mailfilter/agent": secret.directory,
    }
    env = {"AGENT_PARALLEL_RELEASES": str(parallel)}
    with gateway.lab.container("operator", "agent", "amavis", user=AMAVIS, env=env, volumes=volumes) as agent:
        yield agent


@contextmanager
def started_postfix_agent(gateway: Gateway, token: str) -> Iterator[Container]:
    """The agent beside Postfix, not waited for. It knows the queue alone."""
    secret = gateway.lab.config_map({"token": token})
    volumes = {"/var/spool/postfix": gateway.postfix_queue, "/etc/mailfilter/agent": secret.directory}
    with gateway.lab.container("operator", "agent", "postfix", user=POSTFIX, volumes=volumes) as agent:
        yield agent


@contextmanager
def started_gateway(
    lab: Lab,
    amavis_env: dict[str, str] | None = None,
    amavis_volumes: dict[str, Path] | None = None,
    more_tables: dict[str, str] | None = None,
    quarantine: Path | None = None,
    **parameters: str,
) -> Iterator[Gateway]:
    """The whole chain, ready; `parameters` in main.cf."""
    policy_map = lab.config_map({"policy.json": json.dumps(POLICY)})
    config = lab.config_map({"main.cf": main_cf(**parameters), **TABLES, **(more_tables or {})})
    compiled = lab.volume()
    with ExitStack() as stack:
        clamd = stack.enter_context(started_clamd(lab))
        sink = stack.enter_context(started_sink(lab))
        quarantine, run = quarantine or lab.volume(), lab.volume()
        amavis = stack.enter_context(
            started_amavis(lab, policy_map, quarantine, run, amavis_volumes, **(amavis_env or {}))
        )
        tables = stack.enter_context(started_tables(lab, config, compiled))
        queue = lab.volume()
        postfix = stack.enter_context(started_postfix(lab, config, compiled, queue))
        amavis_ready(amavis)
        before_queue = bool(parameters.get("mailfilter_proxy_filter"))
        shared = {"/var/lib/amavis/quarantine": quarantine, "/run/amavis": run}
        yield Gateway(lab, policy_map, config, clamd, amavis, tables, postfix, sink, before_queue, shared, queue)
