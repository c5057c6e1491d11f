"""A real API server: the custom resources, and nobody who acts on them but the test."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from kubernetes.aio.config import kube_config

from mailfilter.cluster.api import connect
from support import install
from support.cluster import Cluster
from support.loop import World


@pytest.fixture(scope="session", autouse=True)
def no_operator(cluster: Cluster, crds: None) -> None:
    """An operator that an earlier run of the end-to-end tests left would act on what is created here."""
    install.uninstall(cluster)


@pytest.fixture(scope="module")
def quiet(cluster: Cluster, namespace: str) -> str:
    """A namespace in which no pod starts: what workloads make is not the matter here."""
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    cluster.apply(quota, namespace)
    return namespace


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(cluster: Cluster, quiet: str) -> AsyncIterator[World]:
    """The API as the operator uses it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(cluster.kubeconfig))
        world = World(await connect(), quiet)
    yield world
    await world.close()
