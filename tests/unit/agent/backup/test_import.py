"""Held mail out of an archive: a restored quarantine is like the old one."""

import os
import time

from support.backup import DAY, fill


async def test_a_restored_quarantine_lists_and_shows_like_the_old_one(old, new):
    names = fill(old)
    report = await new.imported(await old.exported())
    size = sum((old.quarantine.root / name).stat().st_size for name in names)
    assert report == {"imported": 4, "bytes": size, "present": 0, "refused": 0, "problems": [], "error": None}
    listed = await new.json("/v1/held")
    assert listed == await old.json("/v1/held")
    assert [one["id"] for one in listed["items"]] == names[::-1]
    assert listed["items"][3]["released"] == ["bob@example.test"]
    assert [one["seen"] for one in listed["items"]] == [False, False, True, False]
    for name in names[:3]:
        assert await new.json(f"/v1/held/{name}") == await old.json(f"/v1/held/{name}")
        raw = [await (await one.client.get(f"/v1/held/{name}/raw")).read() for one in (old, new)]
        assert raw[0] == raw[1]
        stored = [(one.quarantine.root / name).read_bytes() for one in (old, new)]
        assert stored[0] == stored[1]


async def test_a_second_import_changes_nothing(old, new):
    fill(old)
    archive = await old.exported()
    await new.imported(archive)
    before = new.tree()
    assert await new.imported(archive) == {
        "imported": 0,
        "bytes": 0,
        "present": 4,
        "refused": 0,
        "problems": [],
        "error": None,
    }
    assert new.tree() == before
    untouched = old.tree()
    assert (await old.imported(archive))["present"] == 4
    assert old.tree() == untouched


async def test_who_had_a_mail_before_is_not_given_it_by_a_selector(old, new, amavis):
    fill(old)
    other = old.quarantine.hold("spam/e/eAbcDEfgh123", age=DAY)
    old.sync()
    await new.imported(await old.exported("?kind=spam"))
    amavis.replies("250 2.0.0 from MTA: 250 2.0.0 Ok: queued as 5A2")
    body = {"key": "key-2", "selector": {"sender": "alice@client.test"}}
    response = await new.client.post("/v1/releases", json=body)
    progress = await response.json()
    assert progress["counts"]["total"] == progress["counts"]["released"] == 1
    (request,) = amavis.requests
    assert f"mail_file={other}\r\n".encode() in request


async def test_a_release_that_broke_off_is_unknown_after_the_restore_too(old, new):
    name = fill(old)[0]
    old.quarantine.record('{"state": "started", "replies": [], "recipients": []}', "key-3.aAbcDEfgh123")
    old.sync()
    await new.imported(await old.exported())
    response = await new.client.post("/v1/releases", json={"key": "key-3", "messages": [name]})
    assert (await response.json())["messages"][0]["reason"] == "Interrupted"


async def test_marks_and_records_that_are_missing_are_added_to_a_mail_that_is_there(old, new):
    name = fill(old)[0]
    archive = await old.exported()
    await new.imported(archive)
    for path in (".releases/key-1.aAbcDEfgh123", ".seen/bAbcDEfgh123"):
        (new.quarantine.root / path).unlink()
    new.sync()
    await new.imported(archive)
    assert (await new.json(f"/v1/held/{name}"))["released"] == ["bob@example.test"]
    assert new.tree().keys() == old.tree().keys()


async def test_what_is_there_is_never_overwritten(old, new):
    names = fill(old)
    archive = await old.exported()
    new.quarantine.hold(names[0], mail="Subject: another\n\n", age=DAY)
    new.quarantine.hold(names[1], age=DAY)
    link = new.quarantine.root / names[2]
    link.parent.mkdir()
    link.symlink_to("/etc/passwd")
    new.quarantine.record('{"state": "started"}', "key-1.aAbcDEfgh123")
    before = new.tree()
    report = await new.imported(archive)
    assert (report["imported"], report["present"], report["refused"], report["error"]) == (1, 0, 3, None)
    assert {(one["name"], one["problem"]) for one in report["problems"]} == {
        (name, "another file has its id: that one stays as it is") for name in names[:3]
    }
    assert {name: new.tree()[name] for name in before} == before
    assert link.is_symlink()


async def test_a_record_that_says_something_else_stays_and_is_told(old, new):
    fill(old)
    archive = await old.exported("?kind=spam")
    record = new.quarantine.record('{"state": "done"}', "key-1.aAbcDEfgh123")
    report = await new.imported(archive)
    assert (report["imported"], report["refused"]) == (1, 0)
    (problem,) = report["problems"]
    assert problem["problem"] == "the record of release key-1 that is here is another: it stays"
    assert record.read_text() == '{"state": "done"}'


async def test_an_old_mail_is_not_too_old_in_the_first_week(old, new):
    names = fill(old)
    await new.imported(await old.exported())
    fresh = new.quarantine.hold("spam/f/fAbcDEfgh123", age=2 * DAY)
    new.sync()
    body = {"seconds": {"spam": DAY, "virus": DAY}}
    answer = await (await new.client.post("/v1/expiry", json=body)).json()
    assert answer == {"byAge": 1, "bySize": 0}
    assert fresh not in new.tree()
    for mark in (new.quarantine.root / ".restored").iterdir():
        os.utime(mark, (time.time() - 8 * DAY,) * 2)
    answer = await (await new.client.post("/v1/expiry", json=body)).json()
    assert answer == {"byAge": 2, "bySize": 0}
    assert {name for name in new.tree() if name[0] != "."} == set(names[2:])
    assert not list((new.quarantine.root / ".restored").iterdir())


async def test_what_came_by_an_import_counts_in_the_size_of_all(old, new):
    names = fill(old)
    await new.imported(await old.exported())
    answer = await (await new.client.post("/v1/expiry", json={"maxBytes": 0})).json()
    assert answer == {"byAge": 0, "bySize": len(names)}
    assert not list((new.quarantine.root / ".restored").iterdir())
