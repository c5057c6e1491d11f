"""The ClamAV image: clamd, its probe, and the loop around freshclam."""

import os
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from images.docker import Lab, docker, eventually
from images.gateway import CLAMAV, clamd_ready, started_clamd

SIGNATURE = "Test.Signature:0:*:6d61696c66696c746572\n"


def freshclam_conf(url: str) -> str:
    return (
        "Foreground yes\nDatabaseDirectory /var/lib/clamav\nDatabaseOwner clamav\nMaxAttempts 1\n"
        "ConnectTimeout 5\nReceiveTimeout 5\nDatabaseMirror localhost\n"
        "ExcludeDatabase main\nExcludeDatabase daily\nExcludeDatabase bytecode\n"
        f"DatabaseCustomURL {url}\n"
    )


class Mirror:
    """An HTTP server that the containers reach at their network's gateway."""

    def __init__(self, directory: Path, network: str) -> None:
        template = "{{range .IPAM.Config}}{{.Gateway}}{{end}}"
        address = docker("network", "inspect", "--format", template, network).stdout.decode().strip()
        handler = partial(SimpleHTTPRequestHandler, directory=str(directory))
        self.directory = directory
        self.server = ThreadingHTTPServer((address, 0), handler)
        self.url = f"http://{address}:{self.server.server_port}/custom.ndb"


@pytest.fixture
def mirror(tmp_path: Path, network: str) -> Iterator[Mirror]:
    directory = tmp_path / "mirror"
    directory.mkdir()
    mirror = Mirror(directory, network)
    threading.Thread(target=mirror.server.serve_forever, daemon=True).start()
    yield mirror
    mirror.server.shutdown()


def test_b36_the_probe_fails_when_clamd_is_down(lab: Lab) -> None:
    with started_clamd(lab) as clamd:
        assert clamd.run("cat", "/proc/1/comm").stdout == b"clamd\n"
    with lab.container("clamav", "infinity", user=CLAMAV, entrypoint="sleep") as nothing:
        assert nothing.run("mailfilter-clamd-ping", check=False).returncode


def test_b36_the_probe_fails_when_the_port_is_open_and_nobody_answers(lab: Lab) -> None:
    with lab.container("clamav", "-MIO::Socket::INET", "-e", _MUTE, user=CLAMAV, entrypoint="perl") as mute:
        mute.wait_for_log("listening")
        assert mute.run("mailfilter-clamd-ping", check=False).returncode


_MUTE = "my $s = IO::Socket::INET->new(LocalPort => 3310, Listen => 5) or die; $| = 1; print qq(listening\\n); sleep 60"


def test_clamd_takes_a_changed_signature_file(lab: Lab) -> None:
    with started_clamd(lab) as clamd:
        docker("kill", "--signal", "USR2", clamd.name)
        clamd.wait_for_log("Database correctly reloaded")
        clamd_ready(clamd)


def test_no_signatures_are_in_the_image(lab: Lab) -> None:
    with lab.container("clamav", "-A", "/var/lib/clamav", user=CLAMAV, entrypoint="ls") as listing:
        assert eventually(lambda: listing.exit_code is not None, "it ends")
        assert listing.log == ""


def test_freshclam_once_fetches_as_soon_as_it_can(lab: Lab, mirror: Mirror) -> None:
    signatures = lab.volume()
    volumes = {
        "/etc/mailfilter/clamav": lab.config_map({"freshclam.conf": freshclam_conf(mirror.url)}).directory,
        "/var/lib/clamav": signatures,
    }
    command = ("--once", "/etc/mailfilter/clamav/freshclam.conf", "1", "2")
    with lab.container("clamav", *command, user=CLAMAV, volumes=volumes, entrypoint="mailfilter-freshclam") as once:
        once.wait_for_log("failed, next try in 1 s")
        once.wait_for_log("failed, next try in 2 s")
        (mirror.directory / "custom.ndb").write_text(SIGNATURE)
        eventually(lambda: once.exit_code is not None, "it ends")
        assert once.exit_code == 0
        assert (signatures / "custom.ndb").read_text() == SIGNATURE
        mirror.server.shutdown()
        once.start()
        eventually(lambda: once.exit_code is not None, "with signatures it ends without a download")
        assert once.exit_code == 0


def test_freshclam_goes_on_and_ends_at_a_signal(lab: Lab, mirror: Mirror) -> None:
    (mirror.directory / "custom.ndb").write_text(SIGNATURE)
    signatures = lab.volume()
    volumes = {
        "/etc/mailfilter/clamav": lab.config_map({"freshclam.conf": freshclam_conf(mirror.url)}).directory,
        "/var/lib/clamav": signatures,
    }
    command = ("/etc/mailfilter/clamav/freshclam.conf", "1", "1")
    with lab.container("clamav", *command, user=CLAMAV, volumes=volumes, entrypoint="mailfilter-freshclam") as loop:
        eventually((signatures / "custom.ndb").exists, "the first download")
        newer = SIGNATURE + "Test.Second:0:*:6d61696c66696c74657232\n"
        replacement = mirror.directory / "new"
        replacement.write_text(newer)
        # HTTP dates have whole seconds.
        os.utime(replacement, (time.time() + 60, time.time() + 60))
        replacement.rename(mirror.directory / "custom.ndb")
        eventually(lambda: (signatures / "custom.ndb").read_text() == newer, "a later download")
        loop.stop()
        assert loop.exit_code == 0
