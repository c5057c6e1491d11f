"""Containers as the operator's pods run them: read-only root, only the capabilities needed, a network of their own."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

HARDENED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
POSTFIX_CAPABILITIES = ("SETUID", "SETGID", "CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL")


def docker(*arguments: str, stdin: bytes | None = None, check: bool = True) -> subprocess.CompletedProcess[bytes]:
    """Runs the docker CLI; stderr is part of the error."""
    done = subprocess.run(("docker", *arguments), input=stdin, capture_output=True, check=False, timeout=300)
    if check and done.returncode:
        raise AssertionError(
            f"docker {' '.join(arguments)}: {done.returncode}\n{done.stdout!r}\n{done.stderr.decode()}"
        )
    return done


def eventually(condition: Callable[[], T], what: str, seconds: float = 30) -> T:
    """Polls until the condition gives something true, and returns that."""
    deadline = time.monotonic() + seconds
    while True:
        if found := condition():
            return found
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.1)


@dataclass(frozen=True)
class Container:
    """A container by its name."""

    name: str

    @property
    def address(self) -> str:
        """Its address in the tests' network."""
        template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        return docker("inspect", "--format", template, self.name).stdout.decode().strip()

    @property
    def log(self) -> str:
        """All of stdout and stderr."""
        done = docker("logs", self.name)
        return (done.stdout + done.stderr).decode(errors="replace")

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        state = docker("inspect", "--format", "{{.State.Running}} {{.State.ExitCode}}", self.name).stdout.split()
        return None if state[0] == b"true" else int(state[1])

    def run(self, *command: str, stdin: bytes | None = None, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        """Runs a command inside."""
        return docker("exec", *(("-i",) if stdin is not None else ()), self.name, *command, stdin=stdin, check=check)

    def read(self, path: str) -> bytes | None:
        """Content of a file inside, None if there is none."""
        done = self.run("cat", path, check=False)
        return None if done.returncode else done.stdout

    def list(self, directory: str) -> list[str]:
        """All files below a directory inside, relative to it."""
        done = self.run("find", directory, "-type", "f", "-printf", "%P\n")
        return sorted(done.stdout.decode().split())

    def wait_for_log(self, text: str, seconds: float = 30) -> None:
        """Waits until the log has the text; at once fails with the log when the container has ended without."""

        def there() -> bool:
            if text in self.log:
                return True
            assert self.exit_code is None, f"{self.name} ended, without {text!r}:\n{self.log}"
            return False

        try:
            eventually(there, f"{text!r} in the log of {self.name}", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log[-3000:]}") from None

    def stop(self) -> None:
        """Ends it as the kubelet does."""
        docker("stop", "--time", "10", self.name)

    def start(self) -> None:
        """Starts it again, its volumes as they were."""
        docker("start", self.name)

    def remove(self) -> None:
        """Removes it with what it wrote outside of volumes."""
        docker("rm", "--force", "--volumes", self.name)


class ConfigMap:
    """A directory that changes as a mounted ConfigMap does: all files at once, by a symbolic link."""

    def __init__(self, directory: Path, files: Mapping[str, str | bytes]) -> None:
        self.directory = directory
        self._generation = 0
        directory.mkdir()
        self.write(files)

    def write(self, files: Mapping[str, str | bytes]) -> None:
        """Replaces all files, and then removes the old ones."""
        old = self.directory / f"..{self._generation}"
        self._generation += 1
        data = self.directory / f"..{self._generation}"
        data.mkdir()
        for name, content in files.items():
            (data / name).write_bytes(content.encode() if isinstance(content, str) else content)
            link = self.directory / name
            if not link.is_symlink():
                link.symlink_to(f"..data/{name}")
        (self.directory / "..data.new").symlink_to(data.name)
        (self.directory / "..data.new").rename(self.directory / "..data")
        shutil.rmtree(old, ignore_errors=True)


class Lab:
    """Starts containers in one network and removes them all."""

    def __init__(self, images: dict[str, str], network: str, directory: Path) -> None:
        self.images = images
        self._network = network
        self._directory = directory
        self._numbers = count()

    @property
    def host(self) -> str:
        """This machine's address in the containers' network."""
        template = "{{(index .IPAM.Config 0).Gateway}}"
        return docker("network", "inspect", "--format", template, self._network).stdout.decode().strip()

    def volume(self) -> Path:
        """An empty directory that every user of a container may write to, as an emptyDir."""
        path = self._fresh()
        path.mkdir()
        path.chmod(0o777)
        return path

    def config_map(self, files: Mapping[str, str | bytes]) -> ConfigMap:
        """A ConfigMap to mount."""
        return ConfigMap(self._fresh(), files)

    def _fresh(self) -> Path:
        return self._directory / str(next(self._numbers))

    @contextmanager
    def container(
        self,
        image: str,
        *command: str,
        alias: str = "none",
        user: str | None = None,
        capabilities: tuple[str, ...] = (),
        env: dict[str, str] | None = None,
        volumes: dict[str, Path] | None = None,
        tmpfs: tuple[str, ...] = (),
        entrypoint: str | None = None,
        dns: str | None = None,
        beside: Container | None = None,
    ) -> Iterator[Container]:
        """A hardened container of the image `mailfilter-<image>`; `volumes` by the path inside.

        `beside` is a container whose network it shares, as those of one pod do.
        """
        network = f"--network=container:{beside.name}" if beside else f"--network={self._network}"
        options = [*HARDENED, network, "--label", "dev.mailfilter.test"]
        options += [] if beside else ["--network-alias", alias]
        options += ["--user", user] if user else []
        options += [f"--cap-add={capability}" for capability in capabilities]
        options += [f"--env={name}={value}" for name, value in (env or {}).items()]
        options += [f"--volume={source}:{target}" for target, source in (volumes or {}).items()]
        options += [f"--tmpfs={path}:rw,mode=1777" for path in ("/tmp", *tmpfs)]
        options += [f"--dns={dns}"] if dns else []
        options += [f"--entrypoint={entrypoint}"] if entrypoint is not None else []
        identity = docker("run", "--detach", *options, self.images[image], *command).stdout.decode().strip()
        container = Container(identity)
        try:
            yield container
        finally:
            container.remove()
