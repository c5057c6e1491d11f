"""Which DNS lists are usable, by what they answer."""

import socket

import pytest

from mailfilter.agent import dnsbl

TEST, CONTROL = "2.0.0.127.bl.example", "1.0.0.127.bl.example"


@pytest.mark.parametrize(
    ("answers", "part"),
    [
        ({TEST: {"127.0.0.2"}}, None),
        ({TEST: {"127.0.0.2", "127.0.0.4", "127.0.0.11"}}, None),
        ({TEST: {"127.0.0.10"}, CONTROL: {"127.0.0.12"}}, None),
        ({}, "does not list its test address"),
        ({TEST: {"127.0.0.1"}}, "does not list its test address"),
        ({TEST: {"127.0.0.12"}}, "does not list its test address"),
        ({TEST: {"127.255.255.254"}}, "it answers 127.255.255.254: it does not want"),
        ({TEST: {"127.0.0.2"}, CONTROL: {"127.255.255.255"}}, "it answers 127.255.255.255"),
        ({TEST: {"127.0.0.2"}, CONTROL: {"127.0.0.2"}}, "may list everybody"),
    ],
)
async def test_b44_a_list_is_judged_by_its_test_entries(answers: dict[str, set[str]], part: str | None) -> None:
    async def resolve(name: str) -> set[str]:
        return answers.get(name, set())

    found = await dnsbl.problem("bl.example", resolve)
    assert found is None if part is None else part in (found or "")


async def test_no_answer_is_a_problem() -> None:
    async def resolve(name: str) -> set[str]:
        raise dnsbl.NoAnswerError("try again")

    assert await dnsbl.problem("bl.example", resolve) == "DNS does not answer (try again)"


@pytest.mark.parametrize(("number", "unknown"), [(socket.EAI_NONAME, True), (socket.EAI_AGAIN, False)])
async def test_an_unknown_name_is_an_answer(monkeypatch: pytest.MonkeyPatch, number: int, unknown: bool) -> None:
    asked = []

    def getaddrinfo(host: str, *_: object, **__: object) -> None:
        asked.append(host)
        raise socket.gaierror(number, "no")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    if unknown:
        assert await dnsbl.resolve("x.example") == set()
    else:
        with pytest.raises(dnsbl.NoAnswerError):
            await dnsbl.resolve("x.example")
    # With a dot at the end: a search list must not make another name of it.
    assert asked == ["x.example."]
