"""Gateways of their own: a change of mode with mail in the queue, and notices to senders."""

from images.configuration import BEFORE_QUEUE, TABLES, main_cf, policy, setting
from images.docker import Lab, docker, eventually
from images.gateway import LOADED, amavis_ready, started_gateway
from images.mails import EICAR, GTUBE, exe, mail

BOB, CAROL = "bob@example.com", "carol@example.com"
REJECTING = policy(
    destiny=policy()["destiny"] | {"virus": setting("Reject"), "banned": setting("Reject")}, aboveCutoff="Reject"
)


def test_mail_that_waits_in_the_queue_at_a_change_of_mode_is_filtered_and_not_bounced(lab: Lab) -> None:
    with started_gateway(lab) as gateway:
        gateway.set_policy(REJECTING)
        gateway.amavis.stop()
        waiting = {"changed clean": "hello", "changed infected": EICAR, "changed spam": GTUBE}
        for subject, body in waiting.items():
            gateway.send(mail(subject, body))
        eventually(lambda: len(gateway.queue()) == 3, "all wait")
        gateway.postfix.stop()
        gateway.config.write({"main.cf": main_cf(**BEFORE_QUEUE), **TABLES})
        gateway.postfix.start()
        gateway.amavis.start()
        amavis_ready(gateway.amavis)
        eventually(lambda: gateway.postfix.run("postqueue", "-f", check=False).returncode == 0, "Postfix runs")
        gateway.idle()
        outcomes = {subject: gateway.report(subject)["content_type"] for subject in waiting}
        assert outcomes == {"changed clean": "Clean", "changed infected": "Virus", "changed spam": "Spam"}
        (only,) = gateway.delivered("")
        assert "Subject: changed clean" in only
        assert "X-Virus-Scanned" in only
        assert len(gateway.held()) == 2
        assert gateway.answer(mail("changed and refused", GTUBE))[0] == 554


def test_bounce_tells_the_sender_and_holds_the_mail(lab: Lab) -> None:
    """The sender is where the mail says that it is: this is what the condition BackscatterRisk warns of."""
    with started_gateway(lab) as gateway:
        tables = TABLES | {
            "reinjection_senders": "<>\tOK\n",
            "transport": f"{TABLES['transport']}client.example\tnexthop:[sink]:2526\n",
        }
        loaded = gateway.postfix.read(LOADED)
        gateway.config.write({"main.cf": main_cf(), **tables})
        eventually(lambda: gateway.postfix.read(LOADED) != loaded, "Postfix with the tables")
        gateway.set_policy(policy(destiny=policy()["destiny"] | {"banned": setting("Bounce", {CAROL: "Pass"})}))
        gateway.send(exe("bounced"), BOB, CAROL)
        gateway.send(exe("not bounced"), sender="")
        assert gateway.verdicts("bounced") == {BOB: "BOUNCE", CAROL: "PASS"}
        gateway.report("not bounced")
        gateway.idle()
        notices = [text for text in gateway.delivered("") if "X-Mail-Args: <>" in text]
        assert len(notices) == 1
        assert "X-Rcpt-Args: <alice@client.example>" in notices[0]
        assert "\nFrom: Content-filter <postmaster@example.com>\n" in notices[0]
        assert BOB in notices[0]
        assert CAROL not in notices[0].partition("Action: failed")[2].partition("\n\n")[0]
        (delivered,) = gateway.delivered("bounced")
        assert f"X-Rcpt-Args: <{CAROL}>" in delivered
        assert [one.split("/")[0] for one in gateway.held()] == ["banned", "banned"]


def test_b13_a_scanner_that_hangs_is_given_up_from_the_inside_out(lab: Lab) -> None:
    """The order of the operator's timeouts, in seconds instead of minutes: the client hears amavis, not Postfix."""
    patience = {"mailfilter_filter_timeout": "60s"} | BEFORE_QUEUE
    with started_gateway(lab, {"AMAVIS_CHILD_TIMEOUT": "10"}, **patience) as gateway:
        docker("pause", gateway.clamd.name)
        try:
            code, text = gateway.answer(mail("hangs", "hello"))
        finally:
            docker("unpause", gateway.clamd.name)
        assert (code, text.split()[0]) == (451, "4.5.0"), text
        assert gateway.answer(mail("goes on", "hello"))[0] == 250
        gateway.idle()
        assert [gateway.delivered(subject) != [] for subject in ("hangs", "goes on")] == [False, True]
