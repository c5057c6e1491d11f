"""A quarantine volume that is full: nothing is lost, it is told, and it drains when there is room again."""

import random
import re
import secrets
import string
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from images.agent import TOKEN, ask
from images.configuration import policy, setting
from images.docker import Container, Lab, docker, eventually
from images.gateway import Gateway, started_agent, started_gateway
from images.mails import GTUBE, mail

ROOM = 4 << 20
LARGE = 1 << 20


@pytest.fixture(scope="module")
def gateway(images: dict[str, str], network: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    volume = f"mailfilter-test-{secrets.token_hex(4)}"
    options = ("type=tmpfs", "device=tmpfs", f"o=size={ROOM},mode=1777")
    docker("volume", "create", *(f"--opt={one}" for one in options), volume)
    try:
        lab = Lab(images, network, tmp_path_factory.mktemp("full"))
        with started_gateway(lab, quarantine=Path(volume)) as gateway:
            gateway.set_policy(policy(levels=policy()["levels"] | {"cutoff": setting(2000.0)}))
            yield gateway
    finally:
        docker("volume", "rm", volume)


@pytest.fixture(scope="module")
def agent(gateway: Gateway) -> Iterator[Container]:
    with started_agent(gateway, TOKEN, parallel=1) as agent:
        eventually(lambda: (ask(agent, "GET", "/v1/held") or {}).get("complete"), "the agent answers")
        yield agent


def spam(subject: str, size: int) -> Any:
    """A mail that is held as spam, and does not get smaller by compression."""
    letters = "".join(random.Random(subject).choices(string.ascii_letters + string.digits + "+/", k=size))
    return mail(subject, f"{GTUBE}\n" + "\n".join(letters[start : start + 76] for start in range(0, size, 76)))


def ids(agent: Container) -> list[str]:
    return [one["id"] for one in ask(agent, "GET", "/v1/held")["items"]]


def files(gateway: Gateway) -> list[str]:
    """What lies on the volume, but for empty directories and records."""
    return [one for one in gateway.held() if not one.endswith(".writable")]


def full(agent: Container) -> dict[str, Any]:
    """What the operator is told of the volume."""
    found: dict[str, Any] = ask(agent, "GET", "/v1/status")["amavis"]["quarantine"]
    return found


def waiting(gateway: Gateway) -> list[dict[str, Any]]:
    """Postfix' queue, when nothing of it is in work."""

    def put_off() -> list[dict[str, Any]]:
        found = gateway.queue()
        return found if {one["queue_name"] for one in found} == {"deferred"} else []

    return eventually(put_off, "mail waits, and none is in work", 60)


def tries(gateway: Gateway) -> Counter[str]:
    """How often each mail of the queue was tried, by queue id."""
    return Counter(re.findall(r" (\w+): to=<.* status=", gateway.postfix.log))


def waiting_again(gateway: Gateway) -> list[dict[str, Any]]:
    """Postfix' queue after it has tried each mail in it once more."""
    before = tries(gateway)
    ids = {one["queue_id"] for one in waiting(gateway)}
    gateway.flush()
    eventually(lambda: all(tries(gateway)[one] > before[one] for one in ids), "each mail is tried again", 60)
    return waiting(gateway)


def stored(gateway: Gateway, agent: Container, number: int) -> None:
    """Has Postfix try all again, until the queue is empty and so many mails are held; the agent can read each."""
    gateway.idle()
    assert len(files(gateway)) == number
    eventually(lambda: ask(agent, "GET", "/v1/held")["total"] == number, "the agent knows all mail")
    assert [one for one in ask(agent, "GET", "/v1/held")["items"] if one["problem"]] == []


def test_on_a_full_volume_mail_waits_and_comes_in_when_there_is_room(gateway: Gateway, agent: Container) -> None:
    subjects = [f"big {number}" for number in range(7)]
    for subject in subjects:
        gateway.send(spam(subject, LARGE))
    queue = waiting(gateway)
    assert len(queue) == 2
    assert all("451 4.5.0" in one["recipients"][0]["delay_reason"] for one in queue)
    # Nothing of what did not find room lies there, also after more tries.
    assert len(files(gateway)) == 5
    assert len(waiting_again(gateway)) == 2
    assert len(files(gateway)) == 5
    # The last blocks as well.
    gateway.amavis.run("sh", "-c", "cat /dev/zero > /var/lib/amavis/quarantine/.fill 2>/dev/null || true")
    told = eventually(lambda: (found := full(agent)) and not found["freeBytes"] and found, "the agent looks again", 40)
    assert told["writable"] is False
    # A release cannot be written down: nothing is sent, and it goes on later.
    first = ask(agent, "GET", "/v1/held")["items"][-1]["id"]
    with pytest.raises(AssertionError, match=r"503 .*the quarantine volume"):
        ask(agent, "POST", "/v1/releases", {"key": "on-full", "messages": [first]})
    assert gateway.delivered("big") == []
    # A mail is deleted without any room.
    ask(agent, "DELETE", f"/v1/held/{first}")
    # Two that are tried at once may leave each other no room.
    eventually(lambda: len(waiting_again(gateway)) == 1, "one of them comes in", 120)
    assert len(files(gateway)) == 5
    # And by size, as the operator asks.
    asked = {"seconds": {}, "maxBytes": 3 * LARGE, "keep": [], "releases": []}
    eventually(lambda: ask(agent, "POST", "/v1/expiry", asked)["bySize"] == 2, "room is made")
    stored(gateway, agent, 4)
    second = ask(agent, "GET", "/v1/held")["items"][0]["id"]
    done = ask(agent, "POST", "/v1/releases", {"key": "on-full", "messages": [second]})
    assert done["counts"]["released"] == 1
    gateway.idle()
    assert len(gateway.delivered("big")) == 1
