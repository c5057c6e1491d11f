"""The work queue: each key once, never twice at a time, failures alone wait."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from mailfilter.cluster import queue as module
from mailfilter.cluster.queue import Key, WorkQueue

A, B = ("ns", "a"), ("ns", "b")
PATIENCE = 20.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_BACKOFF_SECONDS", 0.01)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@asynccontextmanager
async def running(work: Callable[[Key], Awaitable[float | None]], workers: int = 2) -> AsyncIterator[WorkQueue]:
    queue = WorkQueue("MailFilter", work)
    task = asyncio.create_task(queue.run(workers))
    try:
        yield queue
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled(), "the queue ended by itself"


async def test_a_burst_is_one_call() -> None:
    calls: list[Key] = []

    async def work(key: Key) -> None:
        calls.append(key)

    async with running(work) as queue:
        for _ in range(50):
            queue.add(A)
        queue.add(B)
        await until(lambda: B in calls)
        await until(lambda: A in calls)
    assert Counter(calls) == {A: 1, B: 1}


async def test_a_key_is_never_worked_on_twice_at_a_time() -> None:
    active: Counter[Key] = Counter()
    calls: Counter[Key] = Counter()
    most = 0
    go = asyncio.Event()

    async def work(key: Key) -> None:
        nonlocal most
        active[key] += 1
        most = max(most, active[key])
        calls[key] += 1
        await go.wait()
        active[key] -= 1

    async with running(work, workers=4) as queue:
        queue.add(A, 0)
        await until(lambda: calls[A] == 1)
        queue.add(A, 0)
        queue.add(B, 0)
        await until(lambda: calls[B] == 1)
        assert calls[A] == 1, "what comes while a key is in work waits for its end"
        go.set()
        await until(lambda: calls[A] == 2)
    assert most == 1


async def test_a_failing_key_comes_again_and_blocks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: Counter[Key] = Counter()
    delays: list[float] = []
    add = WorkQueue.add

    def recorded(queue: WorkQueue, key: Key, delay: float = 0) -> None:
        if key == A:
            delays.append(delay)
        add(queue, key, delay)

    monkeypatch.setattr(WorkQueue, "add", recorded)

    async def work(key: Key) -> None:
        calls[key] += 1
        if key == A and calls[A] < 5:
            raise RuntimeError("broken")

    async with running(work, workers=1) as queue:
        queue.add(A, 0)
        queue.add(B, 0)
        await until(lambda: calls[A] == 5 and calls[B] == 1)
    first, *backoffs = delays
    assert first == 0
    assert len(backoffs) == 4
    for number, delay in enumerate(backoffs):
        assert 0.8 <= delay / (0.01 * 2**number) <= 1.2


async def test_backoff_ends_and_begins_anew_after_success(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LAST_BACKOFF_SECONDS", 0.02)
    outcomes = [RuntimeError("x")] * 6 + [None] + [RuntimeError("x")]
    delays: list[float] = []
    done = asyncio.Event()

    async def work(_: Key) -> float | None:
        if not outcomes:
            done.set()
            return None
        if (outcome := outcomes.pop(0)) is not None:
            raise outcome
        return 0.0

    async with running(work, workers=1) as queue:
        monkeypatch.setattr(module.random, "uniform", lambda low, high: delays.append(1) or 1.0)
        queue.add(A, 0)
        async with asyncio.timeout(PATIENCE):
            await done.wait()
        assert queue._failures == {}
    assert len(delays) == 7


async def test_returned_seconds_bring_the_key_again() -> None:
    calls: list[Key] = []

    async def work(key: Key) -> float | None:
        calls.append(key)
        return 0.001 if len(calls) < 3 else None

    async with running(work) as queue:
        queue.add(A)
        await until(lambda: len(calls) == 3)
        assert A not in queue._due


async def test_the_earlier_time_wins() -> None:
    calls: list[Key] = []

    async def work(key: Key) -> None:
        calls.append(key)

    async with running(work) as queue:
        queue.add(A, 3600)
        queue.add(A, 0)
        queue.add(A, 3600)
        await until(lambda: calls)
        assert calls == [A]


async def test_stuck_names_what_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STUCK_SECONDS", 0.0)
    inside = asyncio.Event()

    async def work(_: Key) -> None:
        inside.set()
        await asyncio.Event().wait()

    async with running(work) as queue:
        assert queue.stuck() == []
        queue.add(A, 0)
        await inside.wait()
        await until(lambda: queue.stuck() == [A])
