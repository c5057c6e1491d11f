"""`kubectl mailfilter delete`: nothing without a yes, and the number first."""

import pytest

ONE, OTHER = "spam/h/hAbcDEfgh123.gz", "virus/x/xAbcDEfgh123"


@pytest.fixture
def held(world):
    world.hold(ONE, age=20)
    world.hold(OTHER, age=10)
    return lambda: {str(path.relative_to(world.quarantine.root)) for path in world.quarantine.root.rglob("*Abc*")}


@pytest.mark.parametrize(
    ("words", "question", "left"),
    [
        ([ONE, ONE], "Delete 1 held mail of mx?", {OTHER}),
        ([ONE, OTHER], "Delete 2 held mails of mx?", set()),
        (["--kind", "spam"], "Delete 1 held mail of mx?", {OTHER}),
        (["--sender", "@client.test"], "Delete 2 held mails of mx?", set()),
        (["--sender", "@client.test", "--limit", "1"], "Delete the newest 1 of 2 held mails of mx?", {ONE}),
    ],
)
def test_it_asks_with_the_number_and_deletes_that(held, run, words, question, left):
    for answer, after in (("n\n", {ONE, OTHER}), ("", {ONE, OTHER}), ("y\n", left)):
        result = run("delete", *words, input=answer)
        assert question in result.stderr
        assert held() == after
        assert result.exit_code == (0 if answer == "y\n" else 1)
    assert result.stdout.endswith(f"{2 - len(left)} deleted\n")


def test_yes_can_be_said_before(held, run):
    result = run("delete", ONE, "--yes")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "1 deleted\n", "")
    assert held() == {OTHER}


def test_what_is_gone_is_told(held, run):
    assert run("delete", ONE, "-y").exit_code == 0
    result = run("delete", ONE, OTHER, "-y")
    assert (result.exit_code, result.stdout) == (1, "1 deleted\n")
    assert result.stderr == f"{ONE}: no such held mail\n"
    assert held() == set()


def test_nothing_to_delete_is_no_question(held, run):
    result = run("delete", "--kind", "banned")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "no held mail is like that\n")


def test_all_mail_is_never_meant_by_saying_nothing(held, run):
    assert run("delete", "--yes").exit_code == 2
    assert held() == {ONE, OTHER}
