"""`kubectl mailfilter status`."""

import json

ONE = "spam/h/hAbcDEfgh123.gz"
DAY = 86400


def condition(kind, status, reason, message):
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": "2026-11-24T10:00:00Z",
    }


STATUS = {
    "conditions": [
        condition("Ready", "True", "Filtering", "all is well"),
        condition("QuarantineSpace", "False", "NearlyFull", "set \x1b[31mquarantine.retention"),
        condition("Progressing", "False", "Complete", "nothing to do"),
        condition("Suspended", "True", "Hold", "mail waits"),
    ],
    "components": {"postfix": {"ready": 1, "desired": 2}, "amavis": {"ready": 1, "desired": 1}},
    "policy": {"wanted": "a" * 64, "inForce": "b" * 64},
    "signatures": {"version": "27834", "updated": "2026-11-25T08:00:00Z"},
    "quarantine": {"messages": 3, "bytes": 1536, "byKind": {"spam": 3}},
    "queue": {"active": 1, "deferred": 4, "oldestSeconds": 7300},
    "endpoint": "192.0.2.1:25",
}


def gateway(name="mx", namespace="mail", status=STATUS):
    return {"metadata": {"name": name, "namespace": namespace}, "spec": {}, "status": status}


def save(world, *gateways):
    world.save(objects=world.state["objects"] | {"mailfilters.mailfilter.dev": list(gateways)})


def rows(printed):
    return [" ".join(line.split()) for line in printed.splitlines()]


def test_all_at_a_glance(world, run):
    save(world, gateway())
    world.hold(ONE, age=2 * DAY)
    world.hold("spam/i/iAbcDEfgh123.gz", age=60)
    world.hold("virus/x/xAbcDEfgh123", age=40 * DAY)
    result = run("status")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = rows(result.stdout)
    assert lines[:3] == [
        "CONDITION STATUS REASON SINCE",
        "Ready True Filtering 2026-11-24 10:00",
        "QuarantineSpace False NearlyFull 2026-11-24 10:00",
    ]
    # Only what one has to know is told in full.
    assert [line for line in lines if ": " in line] == [
        "QuarantineSpace: set \ufffd[31mquarantine.retention",
        "Suspended: mail waits",
    ]
    for line in (
        "Address 192.0.2.1:25",
        "Pods postfix 1/2, amavis 1/1",
        "Queue 1 active, 4 deferred, the oldest for 2 h",
        "Policy bbbbbbbbbbbb in force, aaaaaaaaaaaa on its way",
        "Signatures version 27834, of 2026-11-25 08:00",
        "Held 3 mails, 1.5 KiB",
        "HELD FOR UP TO 1 DAY 7 DAYS 30 DAYS OLDER ALL SIZE",
    ):
        assert line in lines
    amounts = {line.split()[0]: line.split()[1:6] for line in lines if line}
    assert amounts["spam"] == ["1", "1", "0", "0", "2"]
    assert amounts["virus"] == ["0", "0", "0", "1", "1"]


def test_the_operators_view_is_there_without_the_agent(world, run):
    save(world, gateway())
    world.save(forbidden=[["get", "secrets"]])
    result = run("status")
    assert result.exit_code == 0
    assert "Held 3 mails, 1.5 KiB" in rows(result.stdout)
    assert "HELD FOR" not in result.stdout
    assert 'cannot get resource "secrets"' in result.stderr
    found = json.loads(run("status", "-o", "json").stdout)
    assert (found["mailFilter"]["status"]["endpoint"], found["quarantine"]) == ("192.0.2.1:25", None)


def test_a_gateway_that_nobody_has_looked_at_yet(world, run):
    save(world, {"metadata": {"name": "mx", "namespace": "mail"}, "spec": {}})
    assert run("status").exit_code == 0
    assert rows(run("status", "-A").stdout)[1] == "mail mx Unknown"


def test_all_gateways_are_a_line_each(world, run):
    save(world, gateway(), gateway("my", "other", {"conditions": [condition("Ready", "False", "Waiting", "…")]}))
    result = run("status", "-A")
    assert rows(result.stdout) == [
        "NAMESPACE NAME READY REASON QUEUED DEFERRED HELD",
        "mail mx True Filtering 1 4 3",
        "other my False Waiting",
    ]
    assert not world.calls("port-forward")
    assert len(json.loads(run("status", "-A", "-o", "json").stdout)["items"]) == 2
    assert run("status", "-A", "-n", "mail").exit_code == 2


def test_a_name_that_is_none_is_told(world, run):
    result = run("status", "-m", "my")
    assert result.exit_code == 1
    assert "there is no MailFilter my" in result.stderr
