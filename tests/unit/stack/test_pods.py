"""What every pod of every gateway keeps to."""

from typing import Any

import pytest

from mailfilter.stack import desired_objects
from mailfilter.stack.common import Images
from support.samples import FULL, IMAGES, SAMPLES, gateway

Object = dict[str, Any]
COMPONENTS = ("amavis", "clamd", "freshclam", "postfix")
PODS = [(sample, component) for sample in SAMPLES for component in COMPONENTS]
# Pod Security Standard "restricted": volumes.
VOLUMES = {"configMap", "projected", "emptyDir", "persistentVolumeClaim", "secret"}
MASTER = ["SETUID", "SETGID", "CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL"]


def workload(sample: str, component: str) -> Object:
    (found,) = [
        each
        for each in desired_objects(gateway(SAMPLES[sample]))
        if each["kind"] in ("StatefulSet", "Deployment") and each["metadata"]["name"] == f"mx-{component}"
    ]
    return found


def pod(sample: str, component: str) -> Object:
    found: Object = workload(sample, component)["spec"]["template"]["spec"]
    return found


def containers(body: Object) -> list[Object]:
    return [*body.get("initContainers", []), *body["containers"]]


def is_master(component: str, one: Object) -> bool:
    """Postfix' master: the one process of all that runs as root."""
    return component == "postfix" and one["name"] == "postfix"


@pytest.mark.parametrize(("sample", "component"), PODS)
def test_pods_are_restricted(sample: str, component: str) -> None:
    body = pod(sample, component)
    assert body["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(body)
    for volume in body["volumes"]:
        assert set(volume) - {"name"} <= VOLUMES
    for one in containers(body):
        effective = {
            key: body["securityContext"][key] for key in ("runAsNonRoot", "runAsUser") if key in body["securityContext"]
        } | one["securityContext"]
        assert effective["allowPrivilegeEscalation"] is False
        assert effective["readOnlyRootFilesystem"] is True
        assert "privileged" not in effective
        assert effective["capabilities"]["drop"] == ["ALL"]
        assert not any("hostPort" in port for port in one.get("ports", []))
        if is_master(component, one):
            assert effective["capabilities"]["add"] == MASTER
            assert effective["runAsUser"] == 0
        else:
            assert "add" not in effective["capabilities"]
            assert effective["runAsNonRoot"] is True
            assert (
                effective["runAsUser"]
                == {"amavis": 10001, "clamd": 10002, "freshclam": 10002, "postfix": 10003}[component]
            )


@pytest.mark.parametrize(("sample", "component"), PODS)
def test_pods_have_no_api_token(sample: str, component: str) -> None:
    body = pod(sample, component)
    assert body["automountServiceAccountToken"] is False
    assert body["serviceAccountName"] == "mx-mailfilter"
    assert body["enableServiceLinks"] is False
    (account,) = [each for each in desired_objects(gateway()) if each["kind"] == "ServiceAccount"]
    assert account["metadata"]["name"] == "mx-mailfilter"
    assert account["automountServiceAccountToken"] is False


@pytest.mark.parametrize(("sample", "component"), PODS)
def test_mounts_have_volumes_and_volumes_are_mounted(sample: str, component: str) -> None:
    body = workload(sample, component)["spec"]
    claims = [claim["metadata"]["name"] for claim in body.get("volumeClaimTemplates", [])]
    volumes = [volume["name"] for volume in body["template"]["spec"]["volumes"]]
    assert len({*volumes, *claims}) == len(volumes) + len(claims)
    mounted = set()
    for one in containers(body["template"]["spec"]):
        paths = [found["mountPath"] for found in one["volumeMounts"]]
        assert len(paths) == len(set(paths)), one["name"]
        # With a read-only root every program needs a place for temporary files.
        assert "/tmp" in paths, one["name"]
        assert not any("subPath" in found for found in one["volumeMounts"]), "a subPath is never updated"
        mounted |= {found["name"] for found in one["volumeMounts"]}
    assert mounted == {*volumes, *claims}


@pytest.mark.parametrize(("sample", "component"), PODS)
def test_volumes_are_of_objects_that_there_are(sample: str, component: str) -> None:
    there = {(each["kind"], each["metadata"]["name"]) for each in desired_objects(gateway(SAMPLES[sample]))}
    for volume in pod(sample, component)["volumes"]:
        for key, kind, field in (
            ("configMap", "ConfigMap", "name"),
            ("secret", "Secret", "secretName"),
            ("persistentVolumeClaim", "PersistentVolumeClaim", "claimName"),
        ):
            if key in volume and not volume[key].get("optional"):
                assert (kind, volume[key][field]) in there


@pytest.mark.parametrize(("sample", "component"), PODS)
def test_configuration_is_read_only(sample: str, component: str) -> None:
    body = pod(sample, component)
    fixed = {volume["name"] for volume in body["volumes"] if {"configMap", "secret"} & set(volume)}
    for one in containers(body):
        assert all(found.get("readOnly") for found in one["volumeMounts"] if found["name"] in fixed), one["name"]


@pytest.mark.parametrize(("sample", "component"), PODS)
def test_agents_alone_hold_the_token(sample: str, component: str) -> None:
    for one in containers(pod(sample, component)):
        holds = "token" in [found["name"] for found in one["volumeMounts"]]
        assert holds == (one["name"] in ("agent", "mirror"))


@pytest.mark.parametrize(
    ("component", "name", "probes"),
    [
        ("amavis", "amavis", {"startupProbe", "livenessProbe"}),
        ("amavis", "agent", {"readinessProbe", "livenessProbe"}),
        ("postfix", "agent", {"readinessProbe", "livenessProbe"}),
        ("freshclam", "mirror", {"readinessProbe", "livenessProbe"}),
        ("clamd", "clamd", {"startupProbe", "readinessProbe", "livenessProbe"}),
    ],
)
def test_probes(component: str, name: str, probes: set[str]) -> None:
    (one,) = [each for each in containers(pod("small", component)) if each["name"] == name]
    assert probes == {key for key in one if key.endswith("Probe")}
    ports = {port["name"] for port in one.get("ports", [])}
    for probe in probes:
        for action in ("httpGet", "tcpSocket"):
            if action in one[probe]:
                assert one[probe][action]["port"] in ports
        # Each pod's death is decided later than its leaving the Service.
        assert one[probe].get("timeoutSeconds", 1) <= 30


def test_b27_b23_pid_files_live_no_longer_than_their_pod() -> None:
    """Pid files, sockets and amavis' home are on emptyDirs: no number of a dead process meets a living one."""
    for component, paths in (
        ("postfix", ["/var/spool/postfix/pid", "/var/lib/postfix", "/run"]),
        ("amavis", ["/var/lib/amavis", "/run/amavis", "/var/lib/amavis/tmp"]),
        ("clamd", ["/tmp"]),
    ):
        body = pod("small", component)
        short_lived = {volume["name"] for volume in body["volumes"] if "emptyDir" in volume}
        for path in paths:
            users = [
                found
                for one in containers(body)
                for found in one["volumeMounts"]
                if found["mountPath"] == path and one["name"] in (component, "postfix")
            ]
            assert users, path
            assert all(found["name"] in short_lived for found in users), path


def test_b40_volumes_belong_to_who_writes_them() -> None:
    for component, group in (("amavis", 10001), ("clamd", 10002), ("freshclam", 10002)):
        assert pod("small", component)["securityContext"]["fsGroup"] == group


def test_images_and_secrets() -> None:
    images = Images(*(f"registry.test/{name}:1" for name in ("o", "p", "a", "c")), "Always", ("pull", "more"))
    for each in desired_objects(gateway(images=images)):
        if each["kind"] not in ("StatefulSet", "Deployment"):
            continue
        body = each["spec"]["template"]["spec"]
        assert body["imagePullSecrets"] == [{"name": "pull"}, {"name": "more"}]
        assert all(one["image"].startswith("registry.test/") for one in containers(body))
        assert all(one["imagePullPolicy"] == "Always" for one in containers(body))
    assert "imagePullSecrets" not in pod("small", "amavis")
    assert IMAGES.pull_policy == "IfNotPresent"


def test_b66_replicas_never_share_a_read_write_once_claim() -> None:
    """Several pods: a queue for each of its own, signatures for each of its own, and a quarantine for all."""
    objects = desired_objects(gateway(FULL))
    several = [each for each in objects if each.get("spec", {}).get("replicas", 0) > 1]
    assert {each["metadata"]["name"] for each in several} == {"mx-postfix", "mx-amavis", "mx-clamd"}
    claims = {
        each["metadata"]["name"]: each["spec"]["accessModes"]
        for each in objects
        if each["kind"] == "PersistentVolumeClaim"
    }
    for each in several:
        for volume in each["spec"]["template"]["spec"]["volumes"]:
            if "persistentVolumeClaim" in volume:
                assert claims[volume["persistentVolumeClaim"]["claimName"]] == ["ReadWriteMany"]
