"""STARTTLS with the key and certificate of a mounted Secret, which may be missing, broken or renewed."""

import smtplib
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from images.docker import ConfigMap, Lab, eventually
from images.mails import mail
from images.pod import Pod, started_pod
from support.certificates import pair


@pytest.fixture
def secret(lab: Lab) -> ConfigMap:
    return lab.config_map({})


@pytest.fixture
def pod(lab: Lab, secret: ConfigMap) -> Iterator[Pod]:
    with started_pod(lab, secret=secret) as pod:
        yield pod


def served(pod: Pod, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2) -> str:
    """The whole certificate that a client of that version gets; empty when there is no TLS."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    with smtplib.SMTP(pod.postfix.address, 2525, "client.example", timeout=30) as client:
        client.ehlo()
        if not client.has_extn("starttls"):
            return ""
        client.starttls(context=context)
        assert isinstance(client.sock, ssl.SSLSocket)
        return ssl.DER_cert_to_PEM_cert(client.sock.getpeercert(binary_form=True) or b"")


def told(pod: Pod, name: str) -> str:
    return (pod.tables.read(f"/var/lib/mailfilter/tables/tls-{name}") or b"").decode().strip()


def loaded(pod: Pod) -> str:
    return (pod.postfix.read("/var/spool/postfix/certificate-loaded") or b"").decode().strip()


def test_the_pair_comes_is_renewed_and_stays_when_the_next_is_broken(
    pod: Pod, secret: ConfigMap, tmp_path: Path
) -> None:
    assert served(pod) == ""
    assert told(pod, "error") == "missing"
    pod.send(mail("plain", "hello"))
    pids = pod.postfix.run("cat", "/proc/1/stat").stdout.split()[21]
    first, second = pair(tmp_path, "first.example"), pair(tmp_path, "second.example")
    secret.write(first)
    eventually(lambda: served(pod) == first["tls.crt"], "the first is served")
    assert told(pod, "error") == ""
    assert told(pod, "expires").endswith("Z")
    eventually(lambda: loaded(pod) == told(pod, "chain") != "", "Postfix says that it has it")
    secret.write(second)
    eventually(lambda: served(pod) == second["tls.crt"], "the second is served")
    broken = {
        "is not the key of": {"tls.key": first["tls.key"], "tls.crt": second["tls.crt"]},
        "no chain of certificates": {"tls.key": second["tls.key"], "tls.crt": "hello"},
        "no private key": {"tls.key": "hello", "tls.crt": second["tls.crt"]},
        "missing": {"tls.key": "", "tls.crt": ""},
    }
    for why, content in broken.items():
        secret.write(content)
        eventually(lambda why=why: why in told(pod, "error"), why)
        assert served(pod) == second["tls.crt"]
    secret.write(first)
    eventually(lambda: served(pod) == first["tls.crt"], "it is mended")
    assert told(pod, "error") == ""
    assert pod.postfix.run("cat", "/proc/1/stat").stdout.split()[21] == pids
    mode = pod.postfix.run("stat", "-c", "%a", "/var/lib/mailfilter/tls/chain.pem").stdout
    assert mode.strip() == b"600"


def test_a_chain_is_served_whole_and_says_so_in_the_mail(lab: Lab, tmp_path: Path) -> None:
    first, other = pair(tmp_path, "first.example"), pair(tmp_path, "other.example")
    secret = lab.config_map(first | {"tls.crt": first["tls.crt"] + other["tls.crt"]})
    with started_pod(lab, secret=secret, mailfilter_tls_minimum="TLSv1.3") as pod:
        eventually(lambda: served(pod, ssl.TLSVersion.TLSv1_3) == first["tls.crt"], "the server's own comes first")
        with pytest.raises((ssl.SSLError, OSError)):
            served(pod, ssl.TLSVersion.TLSv1_2)
        pod.send(mail("with tls", "hello"))
        with smtplib.SMTP(pod.postfix.address, 2525, "client.example", timeout=30) as client:
            client.starttls()
            client.send_message(mail("secured", "hello"))
        (identity,) = [one["queue_id"] for one in pod.queue() if b"secured" in content(pod, one["queue_id"])]
        assert b"using TLSv1.3 with cipher" in content(pod, identity)
        assert pod.rejects("bob@example.com", 10025) == ""


def content(pod: Pod, identity: str) -> bytes:
    return pod.postfix.run("postcat", "-q", identity).stdout


def test_a_pair_that_is_replaced_while_it_is_read_is_not_missing(pod: Pod, secret: ConfigMap, tmp_path: Path) -> None:
    pairs = [pair(tmp_path, "first.example"), pair(tmp_path, "second.example")]
    secret.write(pairs[0])
    eventually(lambda: served(pod) == pairs[0]["tls.crt"], "the first is served")
    seen = set()
    for number in range(60):
        secret.write(pairs[number % 2])
        seen.add(told(pod, "error"))
    assert seen == {""}
    eventually(lambda: served(pod) == pairs[1]["tls.crt"], "the last is served")
