"""The files of releases in work."""

import pytest

from mailfilter.agent.jobs import Chosen, Jobs
from mailfilter.api.status import MessageResult

MAILS = {"spam/a/aAbcDEfgh123": (), "spam/b/bAbcDEfgh123": ("bob@example.test",)}
FIRST, SECOND = MAILS


@pytest.fixture
def jobs(quarantine) -> Jobs:
    return Jobs(quarantine.root)


@pytest.fixture
def path(quarantine):
    return quarantine.root / ".jobs/key-1"


@pytest.fixture
def begun(jobs) -> None:
    with jobs.taken("key-1") as file:
        file.begin(Chosen(mails=MAILS, by_id=False))


def released(one: str) -> MessageResult:
    return MessageResult(id=one, result="Released")


def test_what_was_chosen_and_done_is_read_again(jobs, begun):
    with jobs.taken("key-1") as file:
        job = file.read()
        assert job.chosen.mails == MAILS
        file.end(released(FIRST))
    assert list(jobs.look("key-1").open) == [SECOND]
    assert jobs.unfinished(["key-1", "key-2"]) == {SECOND}


def test_one_works_on_a_job_at_a_time(jobs, begun):
    with jobs.taken("key-1") as file, jobs.taken("key-1") as other:
        assert file
        assert other is None
        assert jobs.look("key-1")
    with jobs.taken("key-1") as file:
        assert file


@pytest.mark.parametrize("torn", ['{"id": "spam/a/aAbcDEfgh123", "resu', "\0\0"])
def test_a_line_that_was_not_written_to_the_end_counts_for_nothing(jobs, begun, path, torn):
    with path.open("a") as file:
        file.write(torn)
    assert len(jobs.look("key-1").open) == 2
    with jobs.taken("key-1") as file:
        assert len(file.read().open) == 2
        file.end(released(SECOND))
    assert list(jobs.look("key-1").open) == [FIRST]


@pytest.mark.parametrize("line", ["", "{}", "\0\0\0", '{"id": "spam/z/zAbcDEfgh123", "result": "Released"}'])
def test_a_damaged_line_hides_no_other(jobs, begun, path, line):
    with path.open("a") as file:
        file.write(f"{line}\n")
    with jobs.taken("key-1") as file:
        file.read()
        file.end(released(SECOND))
    job = jobs.look("key-1")
    assert list(job.open) == [FIRST]
    assert job.counts().released == 1


@pytest.mark.parametrize("content", ["", '{"mails": {"spam/a/aAbcDEf', "\0\0\0\n"])
def test_without_what_was_chosen_nothing_was(jobs, begun, path, content):
    path.write_text(content)
    assert jobs.look("key-1") is None
    with jobs.taken("key-1") as file:
        assert file.read() is None
        file.begin(Chosen(mails=MAILS, by_id=True))
    assert len(jobs.look("key-1").open) == 2


def test_a_job_that_was_deleted_meanwhile_is_begun_anew(jobs, begun, path):
    with jobs.taken("key-1") as file:
        path.unlink()
        with jobs.taken("key-1") as other:
            assert other.read() is None
        file.end(released(FIRST))
    assert jobs.look("key-1") is None


def test_forget(jobs, begun, path):
    stamp = path.stat().st_mtime
    jobs.forget(keep=[], before=stamp)
    jobs.forget(keep=["key-1"], before=stamp + 1)
    assert path.exists()
    jobs.forget(keep=["key-2"], before=stamp + 1)
    assert not path.exists()
