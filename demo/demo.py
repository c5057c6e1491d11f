"""make demo: from nothing to a running gateway on a local kind cluster, real mail through it, one mail released.

Every stage can be run again: what is there already is used. The exit status is 1 when a mail fared otherwise than
expected.
"""

import io
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

from rich.console import Console
from rich.table import Table

from support import install, testbed
from support.cluster import Cluster, Object
from support.gateway import Gateway, reports
from support.mail import EICAR, GTUBE, Post, message
from support.run import CommandError, run, wait_for

CLUSTER, NAMESPACE, NAME = "mailfilter-demo", "mailfilter-demo", "mx"
SAMPLE = Path(__file__).with_name("mailfilter.yaml")
PLUGIN = Path(sys.executable).with_name("kubectl-mailfilter")

console = Console(highlight=False)


@dataclass
class Row:
    """One mail of the demo, what is expected, and what became of it."""

    what: str
    mail: EmailMessage
    expected: str
    sender: str = "alice@client.example"
    recipient: str = "bob@example.com"
    happened: str = "?"
    score: float | None = None
    held: str = ""

    @property
    def right(self) -> bool:
        return self.happened == self.expected


def mails() -> list[Row]:
    """What is sent, in this order."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("eicar.com", EICAR)
    # The beginning of a Windows program, which is all that its type shows by.
    program = b"MZ" + bytes(58) + (64).to_bytes(4, "little") + b"PE\0\0" + bytes(200)

    def mail(
        subject: str, body: str = "How are you?\n", sender: str = "alice@client.example", **more: bytes
    ) -> EmailMessage:
        attachments = {name.replace("_", "."): content for name, content in more.items()}
        return message(subject, body, sender=sender, attachments=attachments)

    clean, tagged, gone = "delivered", "delivered with X-Spam-Status", "discarded, not stored"
    pest, partner = "pest@client.example", "carol@mail.partner.example"
    return [
        Row("a clean mail", mail("Lunch?"), clean),
        Row("a clean mail to the second domain", mail("Dinner?"), clean, recipient="dave@example.org"),
        Row("spam-like, 2 to 5 points", mail("News", "You have won the demo lottery.\n"), tagged),
        Row("spam, 5 to 10 points", mail("Offer", "Cheap demo pills, today only.\n"), "held as spam"),
        Row("GTUBE, above 10 points", mail("Buy", f"{GTUBE}\n"), gone),
        Row("EICAR", mail("Invoice", invoice_txt=EICAR), "held as virus"),
        Row("EICAR in a zip", mail("Invoices", invoices_zip=archive.getvalue()), "held as virus"),
        Row("an executable", mail("Holiday pictures", pictures_exe=program), "held as banned"),
        Row("a clean mail of a denied sender", mail("Hello", sender=pest), "held as spam", sender=pest),
        Row("GTUBE of an allowed sender", mail("Weekly", f"{GTUBE}\n", sender=partner), clean, sender=partner),
    ]


@contextmanager
def stage(number: int, what: str) -> Iterator[None]:
    """One line of progress: what is done now, and how long it took."""
    started = time.monotonic()
    console.print(f"[bold]{number:2}/9[/] {what} …", end="\r" if console.is_terminal else "\n")
    yield
    console.print(f"[green]{number:2}/9[/] {what}: done in {time.monotonic() - started:.0f} s")


def fate(post: Post, row: Row, found: dict[str, Object]) -> bool:
    """Fills in what became of a mail. False while it is on its way."""
    report = found.get(row.mail["Message-ID"].strip("<>"))
    if report is None:
        return False
    row.score = report.get("spam_score")
    row.held = report.get("quarantine", "")
    if row.held:
        row.happened = f"held as {row.held.partition('/')[0]}"
    elif "DISCARD" in report["action"]:
        row.happened = "discarded, not stored"
    else:
        copies = post.copies(row.mail)
        if not copies:
            return False
        if len(copies) > 1:
            row.happened = f"delivered {len(copies)} times"
        elif copies[0].header("X-Spam-Flag"):
            row.happened = "delivered with X-Spam-Flag"
        else:
            row.happened = "delivered with X-Spam-Status" if copies[0].header("X-Spam-Status") else "delivered"
    return True


def all_known(cluster: Cluster, post: Post, rows: list[Row]) -> bool:
    found = reports(cluster, NAMESPACE)
    return all([fate(post, row, found) for row in rows])  # noqa: C419 - each row is to be filled in


def show(rows: list[Row]) -> None:
    table = Table(title="What became of each mail", show_lines=False)
    for column in ("sent", "expected", "happened", "score", "quarantine id"):
        table.add_column(column, justify="right" if column == "score" else "left", overflow="fold")
    for row in rows:
        score = "" if row.score is None else f"{row.score:.1f}"
        style = "" if row.right else "bold red"
        table.add_row(row.what, row.expected, row.happened, score, row.held, style=style)
    console.print(table)


def release(cluster: Cluster, post: Post, row: Row) -> None:
    """Releases a held mail as a user would, and shows that it arrives."""
    for words in (["list"], ["release", row.held, "--wait", "--timeout", "60"]):
        console.print(f"$ kubectl mailfilter {' '.join(words)} -n {NAMESPACE}", soft_wrap=True)
        printed = run(PLUGIN, *words, "-n", NAMESPACE, env=cluster.env, timeout=90)
        console.print(printed.rstrip(), markup=False, soft_wrap=True)
    copy = wait_for(lambda: post.copies(row.mail), "the released mail at the next hop")[0]
    console.print(
        f"The next hop took it: from <{copy.sender}> to {', '.join(copy.recipients)}, Subject: {copy.subject}"
    )


def main() -> int:
    started = time.monotonic()
    with stage(
        1, "Docker, kind, kubectl and helm (the first time on a bare machine builds Kubernetes: about 16 minutes)"
    ):
        testbed.enter()
    cluster = Cluster(CLUSTER)
    post = Post(cluster, NAMESPACE)
    with stage(2, "building the images operator, postfix, amavis and clamav"):
        images = install.build_images()
    with stage(3, f"a kind cluster {CLUSTER}"):
        cluster.up()
    with stage(4, "loading the images into it"):
        cluster.load(*images.values())
    with stage(5, "installing the operator by its Helm chart"):
        install.install(cluster)
    with stage(6, "a next hop, a server with a virus signature and a client"):
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        post.start(images["operator"])
    with stage(7, f"the MailFilter of demo/{SAMPLE.name}: waiting for Ready"):
        cluster.apply(SAMPLE.read_text(), NAMESPACE)
        Gateway(cluster, post, {}, NAME).ready()
    console.print(cluster.kubectl("-n", NAMESPACE, "get", "mailfilter", NAME).rstrip())
    rows = mails()
    with stage(8, f"sending {len(rows)} mails to port 25 of the gateway"):
        for row in rows:
            (reply,) = post.send(row.mail, sender=row.sender, to=row.recipient)
            if reply.code != 250:
                raise CommandError(f"{row.what}: the gateway answered {reply.code} {reply.text}")
        wait_for(lambda: all_known(cluster, post, rows), "every mail's end", timeout=120)
    show(rows)
    held = next((row for row in rows if row.held and row.right and row.held.startswith("spam/")), None)
    if held:
        with stage(9, f"releasing {held.held} ({held.what})"):
            release(cluster, post, held)
    console.print(f"\nAll of it took {time.monotonic() - started:.0f} s. What to try next:")
    console.print(
        f"""
  export KUBECONFIG={cluster.kubeconfig}
  kubectl -n {NAMESPACE} get mailfilters,quarantinereleases
  .venv/bin/kubectl-mailfilter status -n {NAMESPACE}      # on PATH it is kubectl mailfilter
  kubectl explain mailfilter.spec.spam
  .venv/bin/mailfilter plan --diff -n {NAMESPACE} demo/{SAMPLE.name}   # what a change of the file would do
  kubectl -n {NAMESPACE} edit mailfilter {NAME}           # a changed list or level is in force within a second or two
  kubectl -n {NAMESPACE} logs {NAME}-amavis-0 -c amavis   # one JSON line for each mail
  kubectl -n {NAMESPACE} logs sink                        # what the next hop got

  kind delete cluster --name {CLUSTER}        # cleans up; make clean also deletes what was built
""",
        soft_wrap=True,
    )
    wrong = [row.what for row in rows if not row.right]
    if wrong or not held:
        console.print(f"[bold red]Not as expected: {', '.join(wrong) or 'nothing was held that could be released'}")
        return 1
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (CommandError, AssertionError) as error:
        console.print(f"[bold red]The demo stopped:[/] {error}\nRun it again to go on from here.", soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        console.print("\nStopped. Run it again to go on from here.")
        sys.exit(130)
