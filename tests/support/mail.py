"""Mails to send, and the pods that send and take them: `client`, `sink`, `signatures`."""

import base64
import io
import json
import uuid
import zipfile
from dataclasses import dataclass, field
from email import policy
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path
from typing import Any

from support.cluster import Cluster, Object
from support.run import wait_for

GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
EICAR = bytes.fromhex(
    "58354f2150254041505b345c505a58353428505e2937434329377d24"
    "45494341522d5354414e444152442d414e544956495255532d544553542d46494c452124482b482a"
)
SIGNATURE = f"Custom.EICAR.ndb:0:*:{EICAR.hex()}\n"
PODS = Path(__file__).parent / "pods"


def message(
    subject: str = "hello",
    body: str = "How are you?\n",
    *,
    sender: str = "alice@sender.example",
    to: str = "bob@example.com",
    attachments: dict[str, bytes] | None = None,
    headers: dict[str, str] | None = None,
) -> EmailMessage:
    """An ordinary mail whose subject ends in a word of its own, so that the sink's copy is found by it."""
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Date"] = sender, to, formatdate()
    mail["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2])
    mail["Subject"] = f"{subject} {uuid.uuid4().hex[:12]}"
    for name, value in (headers or {}).items():
        mail[name] = value
    mail.set_content(body)
    for name, content in (attachments or {}).items():
        mail.add_attachment(content, maintype="application", subtype="octet-stream", filename=name)
    return mail


def zipped(files: dict[str, bytes]) -> bytes:
    """A zip archive of files by name."""
    octets = io.BytesIO()
    with zipfile.ZipFile(octets, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return octets.getvalue()


def spam(**kwargs: Any) -> EmailMessage:
    return message("buy", f"{GTUBE}\n", **kwargs)


def virus(**kwargs: Any) -> EmailMessage:
    return message("invoice", attachments={"invoice.txt": EICAR}, **kwargs)


@dataclass(frozen=True)
class Reply:
    """The server's last answer; 0 where there was none. refused: recipient → its own refusal."""

    code: int
    text: str
    refused: dict[str, tuple[int, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Received:
    """A mail as the sink took it."""

    sender: str
    recipients: list[str]
    headers: list[tuple[str, str]]
    body: str
    size: int
    sha256: str
    time: float

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def subject(self) -> str:
        return self.header("Subject") or ""


@dataclass(frozen=True)
class Post:
    """The pods of one namespace: `client` sends, `sink` (Service sink, port 25) is the next hop, `signatures` serves
    a virus signature for EICAR."""

    cluster: Cluster
    namespace: str

    @property
    def signatures_url(self) -> str:
        return f"http://signatures.{self.namespace}.svc:8080/custom.ndb"

    @property
    def sink_host(self) -> str:
        return f"sink.{self.namespace}.svc"

    def start(self, image: str) -> None:
        """image: the operator's, whose Python runs the scripts."""
        scripts = {script.name: script.read_text() for script in sorted(PODS.glob("*.py"))}
        config = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "post"},
            "data": scripts | {"custom.ndb": SIGNATURE},
        }
        objects = [
            config,
            _pod("client", image, ["sleep", "infinity"]),
            _pod("sink", image, ["python", "/post/sink.py", "2525"], 2525),
            _service("sink", 25, 2525),
            _pod("signatures", image, ["python", "-m", "http.server", "8080", "-d", "/post"], 8080),
            _service("signatures", 8080, 8080),
        ]
        self.cluster.apply(objects, self.namespace)
        pods = [f"pod/{name}" for name in ("client", "sink", "signatures")]
        self._kubectl("wait", *pods, "--for=condition=Ready", "--timeout=300s", timeout=310)
        for host, port in (("sink", 25), ("signatures", 8080)):
            wait_for(lambda to=(host, port): self.reaches(*to), f"{host}:{port}")  # type: ignore[misc]

    def start_name_server(self, image: str, records: dict[str, dict[str, list[str]]]) -> str:
        """Start a name server that knows these records by name and type, and nothing else; its address."""
        pod = _pod("nameserver", image, ["python", "/post/nameserver.py", "53", json.dumps(records)])
        pod["spec"]["securityContext"]["sysctls"] = [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "53"}]
        service = _service("nameserver", 53, 53)
        service["spec"]["ports"][0]["protocol"] = "UDP"
        self.cluster.apply([pod, service], self.namespace)
        address: str = self.cluster.get("service", "nameserver", self.namespace)["spec"]["clusterIP"]
        script = (
            "import sys, dns.message, dns.query\n"
            "print(dns.query.udp(dns.message.make_query(sys.argv[1], sys.argv[2]), sys.argv[3], timeout=3).answer)"
        )
        name, kinds = next(iter(records.items()))
        ask = ("exec", "client", "--", "python", "-c", script, name, next(iter(kinds)), address)
        wait_for(lambda: name in self._kubectl(*ask), "an answer of the name server")
        return address

    def send(
        self,
        *mails: EmailMessage | bytes,
        to: str | list[str] = "bob@example.com",
        sender: str = "alice@sender.example",
        host: str = "mx-postfix",
        port: int = 25,
        helo: str = "client.sender.example",
        proxy: str = "",
        timeout: float = 60,
    ) -> list[Reply]:
        """Send each mail in a session of its own; what was answered, in the same order.

        proxy: the line that a load balancer with the PROXY protocol would send first.
        """
        jobs = [
            {
                "host": host,
                "port": port,
                "helo": helo,
                "proxy": proxy,
                "timeout": timeout,
                "sender": sender,
                "recipients": [to] if isinstance(to, str) else to,
                "message": base64.b64encode(
                    mail if isinstance(mail, bytes) else mail.as_bytes(policy=policy.SMTP)
                ).decode(),
            }
            for mail in mails
        ]
        command = ("exec", "-i", "client", "--", "python", "/post/client.py")
        answers = self._kubectl(*command, stdin=json.dumps(jobs), timeout=timeout * len(mails) + 30)
        return [
            Reply(one["code"], one["text"], {who: (code, text) for who, (code, text) in one["refused"].items()})
            for one in json.loads(answers)
        ]

    def received(self) -> list[Received]:
        """All that the sink has taken since it started, oldest first."""
        # The last line may be on its way still.
        printed, _, _ = self._kubectl("logs", "sink").rpartition("\n")
        lines = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
        return [
            Received(
                sender=line["from"],
                recipients=line["recipients"],
                headers=[(name, value) for name, value in line["headers"]],
                body=line["body"],
                size=line["size"],
                sha256=line["sha256"],
                time=line["time"],
            )
            for line in lines
        ]

    def copies(self, mail: EmailMessage) -> list[Received]:
        """What the sink has of this mail, a subject tag in front notwithstanding."""
        word = mail["Subject"].split()[-1]
        return [one for one in self.received() if one.subject.endswith(word)]

    def expect(self, mail: EmailMessage, timeout: float = 180) -> Received:
        """Wait until the sink has the mail; more than one copy is an error."""
        copies = wait_for(lambda: self.copies(mail), f"mail '{mail['Subject']}' at the sink", timeout)
        assert len(copies) == 1, f"{len(copies)} copies of '{mail['Subject']}' at the sink"
        return copies[0]

    def sink_mode(self, mode: str) -> None:
        """What the sink does with all mail: a reply code such as 452, close instead of a reply to the
        content, hang as long as this mode lasts and then close, or '' to take it."""
        self._kubectl("exec", "-i", "sink", "--", "sh", "-c", "cat >/tmp/mode", stdin=mode)

    def http(self, url: str, timeout: float = 30) -> str:
        """GET from inside the cluster."""
        script = (
            "import sys, urllib.request\n"
            "print(urllib.request.urlopen(sys.argv[1], timeout=float(sys.argv[2])).read().decode(), end='')"
        )
        return self._kubectl("exec", "client", "--", "python", "-c", script, url, str(timeout), timeout=timeout + 15)

    def reaches(self, host: str, port: int, timeout: float = 3, pod: str = "client") -> bool:
        """Whether a TCP connection from a pod of these succeeds (NetworkPolicies)."""
        script = (
            "import socket, sys\n"
            "try: socket.create_connection((sys.argv[1], int(sys.argv[2])), float(sys.argv[3]))\n"
            "except OSError as error: print(error)\n"
            "else: print('connected')"
        )
        command = ("exec", pod, "--", "python", "-c", script, host, str(port), str(timeout))
        return self._kubectl(*command).strip() == "connected"

    def _kubectl(self, *args: str, stdin: str | None = None, timeout: float = 120) -> str:
        return self.cluster.kubectl("-n", self.namespace, *args, stdin=stdin, timeout=timeout)


def _pod(name: str, image: str, command: list[str], port: int | None = None) -> Object:
    ready = {"readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1}} if port else {}
    container = {
        "name": name,
        "image": image,
        "command": command,
        "volumeMounts": [{"name": "post", "mountPath": "/post"}, {"name": "tmp", "mountPath": "/tmp"}],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    spec = {
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "volumes": [{"name": "post", "configMap": {"name": "post"}}, {"name": "tmp", "emptyDir": {}}],
        "containers": [container | ready],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"post": name}}, "spec": spec}


def _service(name: str, port: int, target: int) -> Object:
    spec = {"selector": {"post": name}, "ports": [{"port": port, "targetPort": target}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}
