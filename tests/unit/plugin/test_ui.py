"""`kubectl mailfilter ui`, and that no port-forward outlives its command."""

import contextlib
import signal
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from support.run import wait_for

PROGRAM = Path(sys.executable).with_name("kubectl-mailfilter")


@contextlib.contextmanager
def running(*words):
    with subprocess.Popen([PROGRAM, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_the_address_leads_to_the_agent_until_the_command_ends(world, number, status):
    with running("ui", "--no-open") as process:
        assert process.stdout
        address = urlsplit(process.stdout.readline().strip())
        assert (address.hostname, address.path, address.fragment) == ("127.0.0.1", "/", "token=s3cret")
        connection = HTTPConnection(address.netloc, timeout=10)
        connection.request("GET", "/v1/held", headers={"Authorization": "Bearer s3cret"})
        assert connection.getresponse().status == 200
        connection.close()
        assert world.forwards()
        process.send_signal(number)
        assert process.wait(10) == status
        wait_for(lambda: not world.forwards(), "the end of kubectl", 10, 0.05)


def test_it_ends_with_the_port_forward(world):
    with running("ui", "--no-open") as process:
        assert process.stdout
        process.stdout.readline()
        subprocess.run(["kill", (world.folder / "forwarding").read_text()], check=True)
        assert process.wait(10) == 1
        assert process.stderr
        assert "the connection to pod mx-amavis-0 broke" in process.stderr.read()


def test_the_browser_is_given_the_page(world, run, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or True)
    monkeypatch.setattr("mailfilter.plugin.forward.Forward.wait", lambda _forward: None)
    result = run("ui", "--port", "8099")
    assert opened == [f"http://127.0.0.1:{world.state['port']}/#token=s3cret"]
    assert "s3cret" not in result.output
    assert world.calls("port-forward")[0][-1] == "8099:8081"


def test_without_a_browser_the_address_is_printed(world, run, monkeypatch):
    monkeypatch.setattr("webbrowser.open", lambda _address: False)
    monkeypatch.setattr("mailfilter.plugin.forward.Forward.wait", lambda _forward: None)
    assert run("ui").stdout == f"http://127.0.0.1:{world.state['port']}/#token=s3cret\n"
