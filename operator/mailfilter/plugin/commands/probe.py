"""`kubectl mailfilter probe`."""

import time

import click

from mailfilter.plugin import gateway, options, output, testmail, trace
from mailfilter.plugin.forward import forward
from mailfilter.plugin.kubectl import Kubectl, Object
from mailfilter.plugin.smtp import Dialogue, Reply
from mailfilter.plugin.testmail import TestMail
from mailfilter.plugin.text import line
from mailfilter.plugin.trace import Seen

PORT = 2525
LOOK_SECONDS = 1.0
# Clocks and kubectl are not exact.
_EARLIER_SECONDS = 60


@click.command("probe")
@click.argument("recipient", type=options.Address())
@click.option("--send", type=click.Choice(testmail.KINDS), help="Send a test mail and follow it to its end.")
@click.option(
    "--from",
    "sender",
    type=options.Address(),
    metavar="ADDRESS",
    help="Envelope sender; left out, it is the null sender, to whom nothing ever bounces.",
)
@click.option("--timeout", type=click.IntRange(min=1), default=120, show_default=True, help="Seconds to follow it.")
@options.mailfilter
@options.cluster
def command(
    kubectl: Kubectl, recipient: str, send: str | None, sender: str | None, timeout: int, mailfilter: str | None
) -> None:
    """Try the way through a gateway.

    Asks Postfix whether it takes mail to RECIPIENT, as another mail server would, and sends nothing. With --send a test
    mail goes to RECIPIENT: `clean` has to arrive at the next hop, `spam` (GTUBE) and `virus` (EICAR) must not. The exit
    status is 1 when it is otherwise.
    """
    name = gateway.chosen(kubectl, mailfilter)
    body = gateway.mailfilter(kubectl, name)
    mail = testmail.make(send, body["spec"]["hostname"], sender or "", recipient) if send else None
    taken, sent = _talk(kubectl, body, sender or "", recipient, mail)
    if not taken.well:
        well, verdict = False, f"{name} does not take mail to {recipient} now"
    elif mail is None or sent is None:
        well, verdict = True, f"{name} takes mail to {recipient}. Nothing was sent: --send sends a test mail"
    elif not sent.well:
        well = mail.kind != "clean" and sent.code // 100 == 5
        verdict = f"the {mail.kind} mail was refused, {'as it has to be' if well else 'and should not be'}"
    else:
        well, verdict = _followed(kubectl, name, mail, sent, timeout)
    output.note(verdict)
    if not well:
        raise click.exceptions.Exit(1)


def _talk(
    kubectl: Kubectl, body: Object, sender: str, recipient: str, mail: TestMail | None
) -> tuple[Reply, Reply | None]:
    """The dialogue with Postfix: whether it takes mail to the recipient, and what it said to the mail."""
    name = body["metadata"]["name"]
    proxy = bool(body["spec"].get("postfix", {}).get("proxyProtocol"))
    with (
        forward(kubectl, gateway.pod(kubectl, name, "postfix"), PORT) as to,
        Dialogue(to, proxy=proxy) as dialogue,
    ):
        reply = dialogue.ehlo()
        if reply.well:
            reply = dialogue.mail(sender)
        if reply.well:
            reply = dialogue.rcpt(recipient)
        if reply.well and mail:
            return reply, dialogue.data(mail.content)
        # 421 is the server's farewell.
        if reply.code != 421:
            dialogue.reset()
        return reply, None


def _followed(kubectl: Kubectl, name: str, mail: TestMail, sent: Reply, timeout: int) -> tuple[bool, str]:
    """Looks at the logs until the mail has come to its end; whether that is the right one, and in words."""
    started = time.monotonic()
    while True:
        passed = time.monotonic() - started
        seen = trace.look(kubectl, name, mail.message_id, sent.text, int(passed) + _EARLIER_SECONDS)
        if seen.ended or passed > timeout:
            break
        time.sleep(LOOK_SECONDS)
    for title, text in _story(seen):
        click.echo(f"{title:<30} {line(text)}")
    if not seen.ended:
        return False, f"the {mail.kind} mail has not come to its end within {timeout} s"
    if mail.kind == "clean":
        return seen.arrived, "the clean mail arrived" if seen.arrived else "the clean mail did not arrive"
    return not seen.passed, f"the {mail.kind} mail was {'passed on' if seen.passed else 'stopped, as it has to be'}"


def _story(seen: Seen) -> list[tuple[str, str]]:
    """What became of the mail, step by step."""
    told = []
    if seen.report:
        fate = "passed on" if seen.passed else f"held as {seen.held}" if seen.held else "discarded"
        score = seen.report.get("spam_score")
        scored = "" if score is None else f", score {score:.1f}"
        told.append(("amavis", f"{seen.report.get('content_type', 'Other')}{scored}: {fate}"))
    told += [("next hop" if seen.report else "filter", f"{one.status}: {one.reply}") for one in seen.deliveries]
    return told
