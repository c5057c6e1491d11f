"""The Postfix image: configuration, lookup tables, who may send what, and that queued mail is not lost."""

import secrets
import smtplib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from images.configuration import TABLES, main_cf
from images.docker import Lab, docker, eventually
from images.gateway import greeting, started_postfix, started_sink, started_tables
from images.mails import mail
from images.pod import Pod, started_pod, tables_hash


@pytest.fixture(scope="module")
def pod(images: dict[str, str], network: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    with started_pod(Lab(images, network, tmp_path_factory.mktemp("postfix"))) as pod:
        yield pod


def test_configuration_is_clean(pod: Pod) -> None:
    for command in (("postfix", "check"), ("postconf", "-n"), ("postconf", "-M"), ("postconf", "-P")):
        done = pod.postfix.run(*command)
        assert done.stderr == b"", command
    assert "warning" not in pod.postfix.log


def test_no_service_delivers_here_or_runs_in_a_chroot(pod: Pod) -> None:
    services = [line.split() for line in pod.postfix.run("postconf", "-M").stdout.decode().splitlines()]
    assert {service[4] for service in services} == {"n"}
    here = {"local", "virtual", "pipe", "spawn", "lmtp"}
    assert [service[0] for service in services if service[7] in here] == ["receipt"]


def test_hash_of_the_tables_is_the_contracts(pod: Pod) -> None:
    assert pod.in_force() == tables_hash(TABLES)


def nested(depth: int) -> bytes:
    """A mail of parts within parts."""
    inner = [f'Content-Type: multipart/mixed; boundary="b{one}"\r\n\r\n--b{one}\r\n' for one in range(depth)]
    header = "From: alice@client.example\r\nSubject: nested\r\nMIME-Version: 1.0\r\n"
    return f"{header}{''.join(inner)}Content-Type: text/plain\r\n\r\nhello\r\n".encode()


@pytest.mark.parametrize("port", [2525, 10025])
def test_mail_that_was_taken_is_not_refused_for_its_depth_when_it_comes_back(pod: Pod, port: int) -> None:
    with smtplib.SMTP(pod.postfix.address, port, timeout=30) as client:
        assert client.sendmail("alice@client.example", ["bob@example.com"], nested(500)) == {}


def test_b21_no_client_address_opens_the_relay(pod: Pod) -> None:
    for port in (2525, 10025):
        assert pod.rejects("x@elsewhere.example", port).startswith("554 5.7.1 ")
        assert pod.rejects("x@example.com.elsewhere.example", port).startswith("554 5.7.1 ")
        assert pod.rejects("x%elsewhere.example@example.com", port).startswith("554 5.7.1 ")
        assert pod.rejects(f"{'ab' * 16}@release-receipts.invalid", port).startswith("554 5.7.1 ")
        assert pod.rejects("bob@example.com", port) == ""


def test_b20_a_domain_means_itself_and_dot_means_its_subdomains(pod: Pod) -> None:
    assert pod.rejects("bob@a.b.example.com") == ""
    assert pod.rejects("bob@example.org") == ""
    assert pod.rejects("bob@sub.example.org").startswith("554 5.7.1 ")


def test_reinjection_takes_administrators_who_are_elsewhere(pod: Pod) -> None:
    assert pod.rejects("admin@isp.example", 10025) == ""
    assert pod.rejects("admin@isp.example", 2525).startswith("554 5.7.1 ")


def test_tables_change_while_mail_flows(pod: Pod) -> None:
    declared = {"relay_domains": TABLES["relay_domains"] + "new.example\tOK\n"}
    pod.set_tables(TABLES | declared)
    eventually(lambda: pod.rejects("x@new.example").startswith("450 4.4.4 "), "without a next hop it has to wait")
    routed = {"transport": TABLES["transport"] + "new.example\tnexthop:[sink]:25\n"}
    pod.set_tables(TABLES | declared | routed)
    eventually(lambda: pod.rejects("x@new.example") == "", "the new domain is accepted")
    pod.set_tables(TABLES)
    eventually(lambda: pod.rejects("x@new.example"), "it no longer is")


@pytest.mark.parametrize("broken", ["transport", "virtual_alias"])
def test_a_table_that_does_not_compile_leaves_all_old_ones(pod: Pod, broken: str) -> None:
    wanted = TABLES | {"relay_domains": "other.example\tOK\n", broken: "a key and then nothing\nlonely\n"}
    pod.config.write({"main.cf": main_cf(), **wanted})
    assert broken in eventually(pod.error, "the error is told")
    assert pod.in_force() == tables_hash(TABLES)
    assert pod.rejects("bob@example.com") == ""
    pod.set_tables(TABLES)


def test_without_relay_domains_the_old_tables_stay(pod: Pod) -> None:
    pod.config.write({"main.cf": main_cf()})
    (pod.config.directory / "relay_domains").unlink()
    assert "relay_domains" in eventually(pod.error, "the error is told")
    assert pod.rejects("bob@example.com") == ""
    pod.set_tables(TABLES)


def test_tables_that_are_replaced_while_they_are_read_are_no_error(pod: Pod) -> None:
    refused = pod.tables.log.count("there is no table")
    for number in range(100):
        last = TABLES | {"relay_domains": f"{TABLES['relay_domains']}d{number}.example\tOK\n"}
        pod.config.write({"main.cf": main_cf(), **last})
    eventually(lambda: pod.in_force() == tables_hash(last), "the last is in force")
    assert pod.tables.log.count("there is no table") == refused
    assert pod.error() == ""
    pod.set_tables(TABLES)


def test_without_a_filter_postfix_does_not_start(lab: Lab) -> None:
    with (
        pytest.raises(AssertionError, match="mail would pass unscanned"),
        started_pod(lab, content_filter=""),
    ):
        pass


def test_mail_waits_while_the_name_of_the_filter_does_not_resolve(lab: Lab) -> None:
    with started_pod(lab, content_filter="amavis:[nowhere.invalid]:10024") as pod:
        pod.send(mail("waiting", "hello"))
        reason = eventually(
            lambda: next((r.get("delay_reason") for m in pod.queue() for r in m["recipients"]), None), "it is deferred"
        )
        assert "unable to look up host" in reason
        assert "status=bounced" not in pod.postfix.log


def test_b24_queued_mail_survives_the_pod_and_a_next_hop_that_does_not_resolve(lab: Lab) -> None:
    parameters = {"content_filter": "amavis:[filter-of-b24]:10024"}
    config = lab.config_map({"main.cf": main_cf(**parameters), **TABLES})
    compiled, queue = lab.volume(), lab.volume()
    with started_tables(lab, config, compiled) as tables:
        with started_postfix(lab, config, compiled, queue) as postfix:
            pod = Pod(config, tables, postfix, queue)
            for number in range(5):
                pod.send(mail(f"kept {number}", "hello"), port=10025)
            eventually(lambda: [m["queue_name"] for m in pod.queue()] == ["deferred"] * 5, "all deferred")
        (queue / "pid/master.pid").parent.mkdir(exist_ok=True)
        with started_sink(lab) as sink, started_postfix(lab, config, compiled, queue) as postfix:
            pod = Pod(config, tables, postfix, queue)
            postfix.run("postqueue", "-f")
            eventually(lambda: not pod.queue(), "all delivered")
            # Other Postfixes of these tests may still have mail for a sink.
            subjects = sink.run("sh", "-c", "grep -h '^Subject: kept' /tmp/mail.*").stdout.decode().splitlines()
            assert sorted(subjects) == [f"Subject: kept {number}" for number in range(5)]


def test_b27_b23_a_stale_pid_does_not_keep_it_from_starting(lab: Lab) -> None:
    with started_pod(lab) as pod:
        pod.postfix.run("sh", "-c", "kill -9 1; kill -9 $(cat /var/spool/postfix/pid/master.pid)", check=False)
        pod.postfix.stop()
        (pod.queue_volume.parent / "stale").write_text("")
        pod.postfix.start()
        eventually(lambda: greeting(pod.postfix, 2525), "it greets again")


def test_b15_only_the_outer_port_speaks_proxy(lab: Lab) -> None:
    with started_pod(lab, mailfilter_upstream_proxy="haproxy") as pod:
        eventually(lambda: (greeting(pod.postfix, 10025) or b"").startswith(b"220 "), "10025 greets at once")
        with socket.create_connection((pod.postfix.address, 2525), timeout=10) as connection:
            connection.sendall(b"PROXY TCP4 203.0.113.9 203.0.113.1 5555 25\r\n")
            assert connection.recv(100).startswith(b"220 ")
        pod.postfix.wait_for_log("connect from unknown[203.0.113.9]")


@pytest.fixture
def dual_stack() -> Iterator[str]:
    """A network with addresses of both families."""
    name = f"mailfilter-test-{secrets.token_hex(4)}"
    docker("network", "create", "--ipv6", "--subnet", f"fd00:{secrets.token_hex(2)}:{secrets.token_hex(2)}::/64", name)
    yield name
    docker("network", "rm", name)


def test_b06_released_mail_is_taken_from_a_pod_with_an_ipv6_address(
    images: dict[str, str], dual_stack: str, tmp_path: Path
) -> None:
    with started_pod(Lab(images, dual_stack, tmp_path)) as pod:
        template = "{{range .NetworkSettings.Networks}}{{.GlobalIPv6Address}}{{end}}"
        address = docker("inspect", "--format", template, pod.postfix.name).stdout.decode().strip()
        with smtplib.SMTP(address, 10025, timeout=30) as client:
            client.send_message(mail("by ipv6", "hello"))
        pod.postfix.wait_for_log(f"client=unknown[{address.rpartition(':')[0].rstrip(':')}::1]")


def test_b63_what_the_filter_adds_does_not_make_a_large_mail_bounce(lab: Lab) -> None:
    with started_pod(lab, message_size_limit="20000") as pod:
        with pytest.raises(smtplib.SMTPSenderRefused, match=r"552|size"):
            pod.send(mail("too large", "x\n" * 15000))
        pod.send(mail("grown", "x\n" * 15000), port=10025)
        assert eventually(pod.queue, "it is taken")


def test_postfix_ends_at_a_signal_and_keeps_its_queue(lab: Lab) -> None:
    with started_pod(lab, content_filter="amavis:[nowhere.invalid]:10024") as pod:
        pod.send(mail("stays", "hello"))
        eventually(pod.queue, "it is queued")
        pod.postfix.stop()
        assert pod.postfix.exit_code == 0
        pod.postfix.start()
        eventually(lambda: greeting(pod.postfix, 2525), "it greets again")
        assert len(pod.queue()) == 1
