"""Programs that should unpack and fail, each in its way: what they leave packed is marked, and the mail goes on."""

import bz2
import lzma
import random
from collections.abc import Iterator

import pytest

from images.docker import Lab
from images.gateway import Gateway, started_gateway
from images.test_banned import PROGRAM, compressed, in_zip
from images.test_unopened import unopened, with_files

NOISE = random.Random(1).randbytes(2000)  # stays as long when compressed
FAILING = {
    "/usr/local/bin/unzstd": "#!/bin/sh\nprintf 'half of it'\nexit 3\n",
    "/usr/local/bin/bzip2": "#!/bin/sh\nkill -KILL $$\n",
    "/usr/local/bin/lz4c": "#!/bin/sh\nexit 0\n",
    "/usr/local/bin/xz": "#!/bin/sh\nsleep 600\n",
}
MISSING = "/usr/bin/lzop"


@pytest.fixture(scope="module")
def gateway(images: dict[str, str], network: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("programs")
    programs = {}
    for path, script in (FAILING | {MISSING: ""}).items():
        programs[path] = directory / path.rpartition("/")[2]
        programs[path].write_text(script)
        programs[path].chmod(0o755 if script else 0o644)
    lab = Lab(images, network, tmp_path_factory.mktemp("failing"))
    with started_gateway(lab, {"AMAVIS_CHILD_TIMEOUT": "15"}, programs) as gateway:
        yield gateway


def test_what_a_failing_program_should_have_unpacked_is_marked(gateway: Gateway) -> None:
    assert "No decoder for       .lzo" in gateway.amavis.log
    files = {f"a.{how}": compressed(how, NOISE, gateway.amavis) for how in ("zst", "lz4")}
    files |= {"a.bz2": bz2.compress(NOISE), "a.lzo": b"\x89LZO\0\r\n\x1a\n" + NOISE}
    gateway.send(with_files("failing", files))
    assert unopened(gateway, "failing") == set(files)
    assert gateway.report("failing")["content_type"] == "Unchecked"


def test_a_program_that_hangs_is_ended_and_the_mail_goes_on(gateway: Gateway) -> None:
    files = {f"{number}.xz": lzma.compress(NOISE) for number in range(3)}
    gateway.send(with_files("hanging", files | {"a.zip": in_zip(PROGRAM)}))
    assert unopened(gateway, "hanging") >= set(files)
    reasons = [one["reason"] for one in gateway.report("hanging")["unopened"]]
    # One alone has had the time for all.
    assert ["timed out" in reason for reason in reasons] == [True] + [False] * (len(reasons) - 1)
    assert b"sleep 600" not in gateway.amavis.run("sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '").stdout
