"""The ClamAV image: clamd, its probe, and the loop around freshclam."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from images.docker import Container, Lab, docker, eventually
from images.gateway import CLAMAV, clamd_ready, started_clamd

SIGNATURE = "Test.Signature:0:*:6d61696c66696c746572\n"


def freshclam_conf(url: str) -> str:
    return (
        "Foreground yes\nDatabaseDirectory /var/lib/clamav\nDatabaseOwner clamav\nMaxAttempts 1\n"
        "ConnectTimeout 5\nReceiveTimeout 5\nDatabaseMirror localhost\n"
        "ExcludeDatabase main\nExcludeDatabase daily\nExcludeDatabase bytecode\n"
        f"DatabaseCustomURL {url}\n"
    )


class Handler(SimpleHTTPRequestHandler):
    """Calls the mirror between a file's headers and its content."""

    def __init__(self, *args: Any, mirror: "Mirror", **kwargs: Any) -> None:
        self.mirror = mirror
        super().__init__(*args, directory=str(mirror.directory), **kwargs)

    def copyfile(self, source: Any, outputfile: Any) -> None:
        self.mirror.before_content()
        super().copyfile(source, outputfile)


class Mirror:
    """An HTTP server that the containers reach at their network's gateway."""

    def before_content(self) -> None:
        """What happens while a file is fetched."""

    def __init__(self, directory: Path, network: str) -> None:
        template = "{{range .IPAM.Config}}{{.Gateway}}{{end}}"
        address = docker("network", "inspect", "--format", template, network).stdout.decode().strip()
        self.directory = directory
        self.server = ThreadingHTTPServer((address, 0), partial(Handler, mirror=self))
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


@contextmanager
def freshclam(lab: Lab, mirror: Mirror, signatures: Path, *options: str, **kwargs: Any) -> Iterator[Container]:
    """The loop, a second between two questions."""
    volumes = {
        "/etc/mailfilter/clamav": lab.config_map({"freshclam.conf": freshclam_conf(mirror.url)}).directory,
        "/var/lib/clamav": signatures,
    }
    command = (*options, "/etc/mailfilter/clamav/freshclam.conf", "1", "1")
    with lab.container(
        "clamav", *command, user=CLAMAV, volumes=volumes, entrypoint="mailfilter-freshclam", **kwargs
    ) as loop:
        yield loop


def test_a_file_that_is_replaced_while_it_is_fetched_is_fetched_again(lab: Lab, mirror: Mirror) -> None:
    served = mirror.directory / "custom.ndb"
    served.write_text(SIGNATURE)
    newer = SIGNATURE + "Test.Second:0:*:6d61696c66696c74657232\n"
    replaced = []

    def replace() -> None:
        if replaced:
            return
        replacement = mirror.directory / "new"
        replacement.write_text(newer)
        replacement.rename(served)
        replaced.append(served.stat().st_mtime)
        # HTTP dates have whole seconds: the copy is to get a later one.
        eventually(lambda: time.time() > replaced[0] + 2, "a later second")

    mirror.before_content = replace  # type: ignore[method-assign]
    signatures = lab.volume()
    with freshclam(lab, mirror, signatures):
        eventually((signatures / "custom.ndb").exists, "the first download")
        eventually(lambda: (signatures / "custom.ndb").read_text() == newer, "the new one")
    assert replaced


def test_clamd_is_told_of_new_signatures(lab: Lab, mirror: Mirror) -> None:
    (mirror.directory / "custom.ndb").write_text(SIGNATURE)
    os.utime(mirror.directory / "custom.ndb", (time.time() - 3600,) * 2)
    with started_clamd(lab) as clamd, freshclam(lab, mirror, lab.volume(), "--reload", beside=clamd) as loop:
        clamd.wait_for_log("Database correctly reloaded")
        loop.wait_for_log("up-to-date")
        assert clamd.log.count("Database correctly reloaded") == 1
        assert "does not answer" not in loop.log


def test_freshclam_goes_on_and_ends_at_a_signal(lab: Lab, mirror: Mirror) -> None:
    (mirror.directory / "custom.ndb").write_text(SIGNATURE)
    signatures = lab.volume()
    with freshclam(lab, mirror, signatures) as loop:
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
