"""Images are built, not looked for: these tests judge what the sources say now."""

import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from images.configuration import BEFORE_QUEUE
from images.docker import Lab, docker
from images.gateway import Gateway, started_gateway

ROOT = Path(__file__).parents[2]
NAMES = ("operator", "postfix", "amavis", "clamav")
MODES: dict[str, dict[str, str]] = {"AfterQueue": {}, "BeforeQueue": BEFORE_QUEUE}


@pytest.fixture(scope="session")
def images() -> Iterator[dict[str, str]]:
    """References of the daemons' images by name. Tags of our own: another build removes those that it replaces."""
    subprocess.run((ROOT / "images/build", *NAMES), check=True)
    values = yaml.safe_load((ROOT / ".build/images.yaml").read_text())["images"]
    kept = {name: f"mailfilter-test:{name}-{secrets.token_hex(4)}" for name in NAMES}
    for name, reference in kept.items():
        docker("tag", f"{values[name]['repository']}:{values[name]['tag']}", reference)
    yield kept
    for reference in kept.values():
        docker("rmi", reference)


@pytest.fixture(scope="session")
def network() -> Iterator[str]:
    """A network of our own, removed at the end."""
    name = f"mailfilter-test-{secrets.token_hex(4)}"
    docker("network", "create", name)
    yield name
    docker("network", "rm", name)


@pytest.fixture
def lab(images: dict[str, str], network: str, tmp_path: Path) -> Lab:
    """Containers for one test."""
    return Lab(images, network, tmp_path)


@pytest.fixture(scope="module", params=MODES)
def chain(
    request: pytest.FixtureRequest, images: dict[str, str], network: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """The whole chain, in one mode of filtering and then in the other."""
    lab = Lab(images, network, tmp_path_factory.mktemp(request.param))
    with started_gateway(lab, **MODES[request.param]) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def after_queue(images: dict[str, str], network: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The whole chain, which filters after the queue."""
    with started_gateway(Lab(images, network, tmp_path_factory.mktemp("chain"))) as gateway:
        yield gateway
