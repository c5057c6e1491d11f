"""Fixtures of the tests that need a cluster; all but `namespace` and `post` live as long as the run."""

import re
import uuid
from collections.abc import Iterator

import pytest

from support import ROOT, install, testbed
from support.cluster import Cluster
from support.gateway import diagnosis
from support.mail import Post

_CLUSTER = pytest.StashKey[Cluster]()
_NAMESPACE = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cluster", default="mailfilter-test", help="name of the kind cluster that the tests use")
    parser.addoption("--held", type=int, default=600, help="how many mails one release by selector gives back")
    parser.addoption("--kills", type=int, default=0, help="how often pod and operator die meanwhile; 0: what CI has")
    parser.addoption(
        "--keep-namespaces", action="store_true", help="leave the tests' namespaces for the next run to delete"
    )


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """The kind cluster of the tests: it stays for the next run, what was made in it does not."""
    testbed.enter()
    cluster = Cluster(request.config.getoption("--cluster"))
    cluster.up()
    cluster.clear()
    request.config.stash[_CLUSTER] = cluster
    return cluster


@pytest.fixture(scope="session")
def images(cluster: Cluster) -> install.Images:
    """The project's images, built and in the cluster."""
    images = install.build_images()
    cluster.load(*images.values())
    return images


@pytest.fixture(scope="session")
def crds(cluster: Cluster) -> None:
    """The custom resource definitions alone, for tests that need no operator."""
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds"))
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=120s", "-f", str(ROOT / "crds"), timeout=130)


@pytest.fixture(scope="session")
def operator(cluster: Cluster, images: install.Images) -> str:
    """The operator, installed by the chart for all namespaces; the value is the namespace that it runs in."""
    install.install(cluster)
    return install.SYSTEM


@pytest.fixture(scope="module")
def namespace(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[str]:
    """A fresh namespace for each module of tests."""
    module = re.sub("[^a-z0-9]+", "-", request.node.path.stem.removeprefix("test_").lower())
    name = f"test-{module[:40]}-{uuid.uuid4().hex[:5]}"
    cluster.kubectl("create", "namespace", name)
    request.config.stash[_NAMESPACE] = name
    yield name
    if not request.config.getoption("--keep-namespaces"):
        cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="module")
def post(cluster: Cluster, images: install.Images, namespace: str) -> Post:
    """The pods client, sink and signatures in the module's namespace."""
    post = Post(cluster, namespace)
    post.start(images["operator"])
    return post


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    cluster = item.config.stash.get(_CLUSTER, None)
    if report.failed and cluster and "namespace" in getattr(item, "fixturenames", ()):
        namespace = item.config.stash.get(_NAMESPACE, "default")
        report.sections.append(("cluster", diagnosis(cluster, namespace, install.SYSTEM)))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests measured (record_property): figures that are reported, not judged."""
    reports = [report for report in terminalreporter.stats.get("passed", []) if report.user_properties]
    if reports:
        terminalreporter.section("measured")
    for report in reports:
        figures = ", ".join(f"{name} {value}" for name, value in report.user_properties)
        terminalreporter.write_line(f"{report.nodeid}: {figures}")
