"""Filtering is suspended and taken up again: what becomes of mail that came before, meanwhile and after."""

import smtplib
from collections.abc import Iterator
from typing import Any

import pytest

from images.configuration import TABLES, main_cf
from images.docker import eventually
from images.gateway import LOADED, Gateway, amavis_ready
from images.mails import EICAR, mail
from images.pod import tables_hash

UNFILTERED = "X-Unfiltered: filtering was suspended"


@pytest.fixture
def gateway(chain: Gateway) -> Iterator[Gateway]:
    yield chain
    suspend(chain, "None")
    chain.idle()


def suspend(gateway: Gateway, how: str) -> None:
    tables = TABLES | {"filtering": f"suspended\t{how}\n"}
    # The parameters stay as they are: only a new container reads them.
    gateway.config.write({"main.cf": main_cf(), **tables})
    wanted = tables_hash(tables)
    eventually(lambda: (gateway.postfix.read(LOADED) or b"").decode().strip() == wanted, f"{how} is in force")


def deferred(gateway: Gateway, count: int) -> list[dict[str, Any]]:
    return eventually(
        lambda: found if len(found := [m for m in gateway.queue() if m["queue_name"] == "deferred"]) == count else [],
        f"{count} mails wait",
    )


def test_while_held_mail_waits_and_then_all_of_it_is_filtered(gateway: Gateway) -> None:
    started = gateway.postfix.run("cat", "/proc/1/stat").stdout
    suspend(gateway, "Hold")
    gateway.send(mail("held clean", "hello"))
    gateway.send(mail("held infected", EICAR))
    assert {m["recipients"][0]["delay_reason"] for m in deferred(gateway, 2)} == {"deferred transport"}
    gateway.flush()
    eventually(
        lambda: all("filtering is suspended" in str(one) for one in deferred(gateway, 2)), "a flush changes nothing"
    )
    assert not gateway.delivered("held")
    assert not [r for r in gateway.reports() if str(r.get("subject", "")).startswith("held")]
    assert gateway.postfix.run("postconf", "-h", "maximal_queue_lifetime").stdout.strip() == b"100d"
    suspend(gateway, "None")
    gateway.idle()
    assert gateway.report("held infected")["content_type"] == "Virus"
    (delivered,) = gateway.delivered("held")
    assert "Subject: held clean" in delivered
    assert UNFILTERED not in delivered
    assert gateway.postfix.run("cat", "/proc/1/stat").stdout.split()[21] == started.split()[21]


def test_passed_through_mail_says_so_and_expands_aliases_once(gateway: Gateway) -> None:
    suspend(gateway, "PassThrough")
    gateway.send(mail("passed infected", EICAR))
    eventually(lambda: gateway.delivered("passed infected"), "it is delivered")
    (delivered,) = gateway.delivered("passed infected")
    assert UNFILTERED in delivered
    suspend(gateway, "None")
    gateway.send(mail("filtered infected", EICAR))
    assert gateway.report("filtered infected")["content_type"] == "Virus"
    gateway.send(mail("filtered clean", "hello"))
    gateway.idle()
    assert not gateway.delivered("filtered infected")
    assert UNFILTERED not in gateway.delivered("filtered clean")[0]


@pytest.mark.parametrize("chain", ["AfterQueue"], indirect=True)
def test_b16_mail_from_before_the_switch_passes_only_when_the_filter_does_not_take_it(gateway: Gateway) -> None:
    gateway.amavis.stop()
    gateway.send(mail("before the switch", "hello"))
    deferred(gateway, 1)
    suspend(gateway, "Hold")
    gateway.send(mail("before too", "hello"))
    deferred(gateway, 2)
    suspend(gateway, "PassThrough")
    gateway.flush()
    eventually(lambda: len(gateway.delivered("before")) == 2, "both are delivered")
    assert all(UNFILTERED in one for one in gateway.delivered("before"))
    gateway.amavis.start()
    amavis_ready(gateway.amavis)


def test_a_client_that_stays_connected_gets_nothing_past_the_end_of_pass_through(gateway: Gateway) -> None:
    suspend(gateway, "PassThrough")
    with smtplib.SMTP(gateway.postfix.address, 2525, timeout=30) as client:
        client.send_message(mail("stays first", EICAR))
        eventually(lambda: gateway.delivered("stays first"), "the first passes")
        suspend(gateway, "None")
        client.send_message(mail("stays second", EICAR))
    assert gateway.report("stays second")["content_type"] == "Virus"
    gateway.idle()
    assert not gateway.delivered("stays second")
