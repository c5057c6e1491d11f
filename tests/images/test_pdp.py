"""Releases as amavis itself carries them out, by AM.PDP on the real chain."""

import json
import threading
from collections.abc import Iterator

import pytest

from images.configuration import policy, setting
from images.docker import eventually
from images.gateway import Gateway
from images.mails import GTUBE, exe, mail


@pytest.fixture
def gateway(after_queue: Gateway) -> Iterator[Gateway]:
    """The gateway with the policy and tables that it started with, its queue empty."""
    after_queue.set_policy(policy())
    yield after_queue
    after_queue.idle()


@pytest.fixture
def held(gateway: Gateway, request: pytest.FixtureRequest) -> tuple[str, str]:
    """A held spam: its subject and id."""
    subject = f"held for {request.node.name}"
    levels = policy()["levels"] | {"cutoff": setting(2000.0)}
    gateway.set_policy(policy(levels=levels))
    gateway.send(mail(subject, GTUBE), "bob@example.com", "carol@example.com")
    return subject, gateway.held_after(subject)


def record(gateway: Gateway, key: str, identity: str) -> dict[str, object]:
    mail_id = identity.rpartition("/")[2].removesuffix(".gz")
    content: dict[str, object] = json.loads(
        gateway.amavis.read(f"/var/lib/amavis/quarantine/.releases/{key}.{mail_id}") or b"{}"
    )
    return content


def test_b09_release_keeps_the_sender_and_happens_once(gateway: Gateway, held: tuple[str, str]) -> None:
    subject, identity = held
    both = ("bob@example.com", "carol@example.com")
    replies = [reply for who in both for reply in gateway.release(identity, who, key="k1")]
    assert [reply[:10] for reply in replies] == ["250 2.0.0 ", "250 2.0.0 "]
    assert "queued as" in replies[0]
    assert record(gateway, "k1", identity) == {
        "state": "done",
        "recipients": [*both],
        "replies": replies,
    }
    assert [gateway.release(identity, who, key="k1") for who in both] == [[reply] for reply in replies]
    gateway.idle()
    copies = gateway.delivered(subject)
    assert len(copies) == 2
    for who in both:
        (delivered,) = [copy for copy in copies if f"X-Rcpt-Args: <{who}>" in copy]
        assert "X-Mail-Args: <alice@client.example>" in delivered
        assert f"Resent-To: <{who}>" in delivered
        assert "X-Quarantine-ID" not in delivered
    assert identity in gateway.held()


def test_b01_release_that_postfix_refuses_is_not_a_success(gateway: Gateway, held: tuple[str, str]) -> None:
    subject, identity = held
    for _ in range(2):
        (reply,) = gateway.release(identity, "bob@elsewhere.example", key="k2")
        assert reply.startswith("554 5.7.1 ")
        (other,) = gateway.release(identity, "carol@example.com", key="k2")
        assert other.startswith("250 2.0.0 ")
    gateway.idle()
    assert len(gateway.delivered(subject)) == 1


def test_release_that_another_process_works_at(gateway: Gateway, held: tuple[str, str]) -> None:
    _, identity = held
    path = f"/var/lib/amavis/quarantine/.releases/k3.{identity.rpartition('/')[2].removesuffix('.gz')}"
    lock = "use Fcntl ':flock'; open my $f, '>>', $ARGV[0]; flock $f, LOCK_EX; $| = 1; sleep 5"
    holder = threading.Thread(target=gateway.amavis.run, args=("perl", "-e", lock, path))
    holder.start()
    eventually(lambda: gateway.amavis.read(path) is not None, "the lock's file")
    assert gateway.release(identity, "bob@example.com", key="k3") == ["450 4.5.0 release in progress"]
    holder.join()
    assert gateway.release(identity, "bob@example.com", key="k3")[0].startswith("250 2.0.0 ")


def test_release_that_broke_off_is_not_repeated(gateway: Gateway, held: tuple[str, str]) -> None:
    subject, identity = held
    path = f"/var/lib/amavis/quarantine/.releases/k4.{identity.rpartition('/')[2].removesuffix('.gz')}"
    gateway.amavis.run("sh", "-c", f'echo \'{{"state": "started"}}\' > {path}')
    assert gateway.release(identity, "bob@example.com", key="k4") == ["450 4.5.0 release interrupted"]
    assert not gateway.delivered(subject)


def test_b02_release_of_nothing_is_not_a_success(gateway: Gateway, held: tuple[str, str]) -> None:
    _, identity = held
    assert gateway.release("spam/A/AAAAAAAAAAAA.gz", "bob@example.com", key="k5")[0].startswith(
        "450 4.5.0 Failure: File"
    )
    assert gateway.release("spam/../virus/x", "bob@example.com", key="k5")[0].startswith("450 4.5.0 Failure:")
    assert gateway.release(identity, key="k5")[0].startswith("450 4.5.0 Failure: a release with a key has one")
    assert gateway.release(identity, "bob@example.com", "carol@example.com", key="k5")[0].startswith(
        "450 4.5.0 Failure:"
    )
    assert gateway.release(identity, "bob@example.com", key="k/../5")[0].startswith("450 4.5.0 Failure: malformed")


def test_b03_banned_mail_is_released_as_it_came(gateway: Gateway) -> None:
    gateway.send(exe("banned and released"))
    identity = gateway.held_after("banned and released")
    assert gateway.release(identity, "bob@example.com", key="k6")[0].startswith("250 2.0.0 ")
    gateway.idle()
    assert 'filename="tool.exe"' in gateway.delivered("banned and released")[0]
