"""`kubectl mailfilter export` and `import`."""

import asyncio
import json
import os
import tarfile
import time
from types import SimpleNamespace

import pytest

from mailfilter.agent import backup, export
from mailfilter.plugin.commands import export as command

OTHER = "virus/x/xAbcDEfgh123"
NAME = "spam/h/hAbcDEfgh123.gz"


@pytest.fixture
def archive(world, run, tmp_path):
    """An archive of two mails, which are not held any more."""
    world.hold(OTHER, age=7200)
    world.hold(NAME, age=60)
    path = tmp_path / "held.tar"
    result = run("export", "-n", "mail", str(path))
    assert (result.exit_code, result.stdout) == (0, ""), result.stderr
    assert result.stderr == f"2 held mails are in {path}\n"
    for name in (OTHER, NAME):
        (world.quarantine.root / name).unlink()
    world.look()
    return path


def held(run):
    return [one["id"] for one in json.loads(run("list", "-o", "json").stdout)["items"]]


def test_what_was_exported_is_held_again_after_an_import(world, run, archive):
    assert held(run) == []
    result = run("import", str(archive))
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "2 imported, 0 held already, 0 left out\n"
    assert held(run) == [NAME, OTHER]
    again = run("import", str(archive), "-o", "json")
    report = json.loads(again.stdout)
    assert (again.exit_code, report["imported"], report["present"]) == (0, 0, 2)


def test_both_work_in_a_pipe(world, run, archive):
    assert run("import", "-", input=archive.read_bytes()).stdout.startswith("2 imported")
    result = run("export", "-", "--kind", "virus")
    assert result.stderr == "1 held mails are in the archive\n"
    (world.quarantine.root / OTHER).unlink()
    assert run("import", "-", input=result.stdout_bytes).stdout == "1 imported, 0 held already, 0 left out\n"


def test_in_a_folder_it_is_named_by_the_time_and_is_its_owners_alone(world, run, tmp_path, monkeypatch):
    world.hold(NAME, age=60)
    folder = tmp_path / "archives"
    folder.mkdir()
    assert run("export", str(folder), "--until", "1h").exit_code == 0
    (path,) = folder.iterdir()
    assert time.strptime(path.name, "quarantine-%Y%m%dT%H%M%SZ.tar")
    assert path.stat().st_mode & 0o777 == 0o600
    with tarfile.open(path) as tar:
        assert tar.getnames() == ["mailfilter-quarantine.json", "index.jsonl"]
    monkeypatch.chdir(folder)
    path.unlink()
    assert run("export").exit_code == 0
    assert len(list(folder.iterdir())) == 1


def test_an_archive_that_is_there_is_not_overwritten(world, run, archive):
    before = archive.read_bytes()
    result = run("export", str(archive))
    assert (result.exit_code, result.stderr) == (1, f"Error: {archive} is there already\n")
    assert archive.read_bytes() == before


def test_an_export_that_breaks_off_leaves_no_archive(world, run, tmp_path, monkeypatch):
    name = world.hold(OTHER, age=60, mail="Subject: big\n\n" + "line\n" * 500_000)
    described = export._about

    def shrinking(volume, entry, file):
        found = described(volume, entry, file)
        os.truncate(world.quarantine.root / name, 5)
        return found

    monkeypatch.setattr(export, "_about", shrinking)
    folder = tmp_path / "archives"
    folder.mkdir()
    result = run("export", str(folder / "held.tar"))
    assert result.exit_code == 1
    assert "the connection to pod mx-amavis-0 broke" in result.stderr
    assert not list(folder.iterdir())


def test_a_file_that_cannot_be_written_is_told(world, run, tmp_path):
    result = run("export", str(tmp_path / "nowhere" / "held.tar"))
    assert result.exit_code == 1
    assert "nowhere/held.tar cannot be written" in result.stderr


def test_a_part_of_an_archive_is_an_error_that_says_how_far_it_came(world, run, archive):
    # Without the index and what a tar ends with.
    content = archive.read_bytes()
    archive.write_bytes(content[: content.index(b"index.jsonl")])
    result = run("import", str(archive))
    assert (result.exit_code, result.stdout) == (1, "2 imported, 0 held already, 0 left out\n")
    assert result.stderr == "Error: the archive: it breaks off: mails that came later are missing\n"


def test_what_is_left_out_is_told_and_an_error(world, run, archive):
    world.hold(NAME, mail="Subject: another\n\n")
    result = run("import", str(archive))
    assert result.exit_code == 1
    counts, _, problem = result.stdout.splitlines()
    assert counts == "1 imported, 0 held already, 1 left out"
    assert problem.split(maxsplit=1) == [NAME, "another file has its id: that one stays as it is"]


@pytest.mark.parametrize("busy", [True, False])
def test_a_refusal_reaches_who_is_still_sending(world, run, archive, monkeypatch, busy):
    big = archive.read_bytes() + bytes(20 << 20)
    if busy:
        lock = asyncio.Lock()
        monkeypatch.setattr(lock, "locked", lambda: True)
        world.agent._backup._importing = lock
        said = "another import is under way"
    else:
        big = big[600:]
        said = "this is no tar"
    result = run("import", "-", input=big)
    assert result.exit_code == 1
    assert said in result.stderr


def test_an_import_that_finds_no_room_says_so(world, run, archive, monkeypatch):
    monkeypatch.setattr(backup.Backup, "_room", lambda _self: 10)
    result = run("import", str(archive))
    assert result.exit_code == 1
    assert "kept for the mail that comes in" in result.stderr
    assert held(run) == []


def test_a_job_in_the_cluster_needs_no_kubectl(world, run, tmp_path, monkeypatch):
    world.hold(NAME, age=60)
    monkeypatch.setenv("PATH", "/nonexistent")
    folder = tmp_path / "archives"
    folder.mkdir()
    url = f"http://127.0.0.1:{world.state['port']}"
    result = run("export", str(folder), "--agent", url, "--token-file", str(tmp_path / "token"))
    assert result.exit_code == 0, result.stderr
    (path,) = folder.iterdir()
    path.unlink()
    (tmp_path / "wrong").write_text("x")
    for address, file, said in (
        (url, "wrong", "refuses the token"),
        (url, "missing", "no token can be read"),
        ("mx-amavis-pods:8081", "token", "is no address of an agent"),
        ("http://127.0.0.1:1", "token", "the connection to 127.0.0.1:1 broke"),
    ):
        result = run("export", str(folder), "--agent", address, "--token-file", str(tmp_path / file))
        assert result.exit_code == 1
        assert said in result.stderr
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["export", "--agent", "http://x"], "--agent and --token-file go together"),
        (["export", "--kind", "junk"], "is not one of"),
        (["import"], "Missing argument 'FILE'"),
        (["import", "/nonexistent"], "No such file"),
    ],
)
def test_what_is_wrong_is_told_before_the_cluster_is_asked(world, run, words, said):
    result = run(*words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not world.calls("get")


def test_no_archive_goes_to_a_terminal(world, run, monkeypatch):
    terminal = SimpleNamespace(stdout=SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr(command, "sys", terminal)
    result = run("export", "-")
    assert result.exit_code == 2
    assert "not for a terminal" in result.stderr
