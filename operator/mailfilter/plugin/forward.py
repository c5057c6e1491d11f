"""A port of a pod on this machine, as long as it is wanted: `kubectl port-forward`."""

import contextlib
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from types import FrameType

from mailfilter.plugin.errors import PluginError
from mailfilter.plugin.kubectl import Kubectl, explained

READY_SECONDS = 30
LAST_WORDS_SECONDS = 2
_LISTENS = re.compile(r"^Forwarding from 127\.0\.0\.1:(\d+) ->")


class Forward:
    """A running port-forward."""

    host = "127.0.0.1"

    def __init__(self, process: subprocess.Popen[str], pod: str) -> None:
        self.pod = pod
        self.port = 0
        self._process = process
        self._lines: deque[str] = deque(maxlen=20)
        self._news = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        # To the end: kubectl would stand still on a full pipe.
        for text in self._process.stdout or ():
            if found := _LISTENS.match(text):
                self.port = int(found[1])
                self._news.set()
            elif not text.startswith(("Forwarding from", "Handling connection")):
                self._lines.append(text)
        self._news.set()

    def listen(self) -> None:
        """Waits until the port is there. Raises PluginError."""
        if not self._news.wait(READY_SECONDS):
            raise PluginError(f"kubectl port-forward to {self.pod} does not come about within {READY_SECONDS} s")
        if not self.port:
            raise explained("".join(self._lines), "port-forward")

    def broken(self, error: Exception) -> PluginError:
        """What to say when a connection through it broke."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(LAST_WORDS_SECONDS)
        said = f": {self._lines[-1].strip()}" if self._lines else f": {error or type(error).__name__}"
        return PluginError(f"the connection to pod {self.pod} broke{said}")

    def wait(self) -> None:
        """Until kubectl ends. Raises PluginError, since it does not end by itself."""
        self._process.wait()
        raise self.broken(EOFError("kubectl port-forward has ended"))

    def end(self) -> None:
        """Ends kubectl."""
        self._process.terminate()
        try:
            self._process.wait(LAST_WORDS_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()


@contextlib.contextmanager
def forward(kubectl: Kubectl, pod: str, port: int, local: int = 0) -> Iterator[Forward]:
    """A port of a pod, on 127.0.0.1; `local` 0 takes a free one. Raises PluginError.

    kubectl ends with the block, whatever ends that: signals that would end this process first end the block.
    """
    command = kubectl.command("port-forward", "--address=127.0.0.1", f"pod/{pod}", f"{local or ''}:{port}")
    with _signals_raise():
        running = Forward(
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True),  # noqa: S603
            pod,
        )
        try:
            running.listen()
            yield running
        finally:
            running.end()


@contextlib.contextmanager
def _signals_raise() -> Iterator[None]:
    def leave(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, leave) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
