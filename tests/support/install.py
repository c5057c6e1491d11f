"""The project's images and the operator, as a user installs them."""

import yaml

from support import BUILD, ROOT
from support.cluster import Cluster
from support.run import CommandError, run

CHART = ROOT / "charts/mailfilter-operator"
SYSTEM = "mailfilter-system"
RELEASE = "mailfilter-operator"

Images = dict[str, str]


def build_images() -> Images:
    """Build all images: component (operator, postfix, amavis, clamav) → name."""
    run(ROOT / "images/build", timeout=1800)
    built = yaml.safe_load((BUILD / "images.yaml").read_text())["images"]
    return {component: f"{image['repository']}:{image['tag']}" for component, image in built.items()}


def install(
    cluster: Cluster, *settings: str, release: str = RELEASE, namespace: str = SYSTEM, wait: bool = True
) -> None:
    """helm upgrade --install with the built images; settings are such as workers=1 or watchNamespaces={a,b}."""
    command = ["upgrade", "--install", release, str(CHART), "-n", namespace, "--create-namespace"]
    command += ["-f", str(BUILD / "images.yaml"), "--take-ownership", "--force-conflicts", "--timeout", "5m"]
    command += ["--wait"] if wait else []
    command += [part for setting in settings for part in ("--set", setting)]
    try:
        cluster.helm(*command)
    except CommandError as error:
        log = cluster.kubectl("-n", namespace, "logs", "-l", "app.kubernetes.io/name=mailfilter-operator", "--tail=50")
        raise CommandError(f"{error}\n{log}") from error


def uninstall(cluster: Cluster, release: str = RELEASE, namespace: str = SYSTEM) -> None:
    cluster.helm("uninstall", release, "-n", namespace, "--wait", "--ignore-not-found")
