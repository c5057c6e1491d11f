"""The Kubernetes API in the few verbs that the operator needs; objects are plain dicts."""

import json
from collections.abc import AsyncIterator
from typing import Any

from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.dynamic import DynamicClient
from kubernetes.aio.dynamic.exceptions import DynamicApiError

from mailfilter.api import API_VERSION
from mailfilter.metrics import API_CALLS

Object = dict[str, Any]
ApiError = DynamicApiError

FIELD_MANAGER = "mailfilter-operator"
REQUEST_SECONDS = 30
WATCH_SECONDS = 300
METADATA_ALONE = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"

PLURALS = {
    "ConfigMap": "configmaps",
    "Deployment": "deployments",
    "Event": "events",
    "MailFilter": "mailfilters",
    "NetworkPolicy": "networkpolicies",
    "PersistentVolumeClaim": "persistentvolumeclaims",
    "Pod": "pods",
    "PodDisruptionBudget": "poddisruptionbudgets",
    "QuarantineRelease": "quarantinereleases",
    "Secret": "secrets",
    "Service": "services",
    "ServiceAccount": "serviceaccounts",
    "StatefulSet": "statefulsets",
}


async def connect(kubeconfig: str | None = None, context: str | None = None) -> ApiClient:
    """A client by the pod's service account, or else by kubeconfig; what is named is taken without asking."""
    configuration = Configuration()
    if not (kubeconfig or context):
        try:
            config.load_incluster_config(client_configuration=configuration)
            return ApiClient(configuration)
        except config.ConfigException:
            pass
    await config.load_kube_config(kubeconfig, context, client_configuration=configuration)
    return ApiClient(configuration)


def context_namespace(kubeconfig: str | None = None, context: str | None = None) -> str:
    """The namespace of a kubeconfig's context, as kubectl finds it."""
    try:
        contexts, current = config.list_kube_config_contexts(kubeconfig)
    except config.ConfigException:
        return "default"
    chosen = next((one for one in contexts if one["name"] == context), current)
    return str(chosen["context"].get("namespace") or "default")


def problem(error: ApiError) -> str:
    """What the API server said, for people."""
    try:
        return str(json.loads(error.body or "")["message"])
    except (TypeError, ValueError, KeyError):
        return f"{error.status} {error.reason}"


class Api:
    """Calls with known paths: nothing has to be discovered, so nothing is cached and no extra rights are needed."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._dynamic = DynamicClient(client)

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.close()

    async def get(self, api_version: str, kind: str, namespace: str, name: str) -> Object | None:
        """The object, or None when there is none."""
        try:
            return await self._call("get", kind, _path(api_version, kind, namespace, name))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def list(self, api_version: str, kind: str, namespace: str, labels: dict[str, str]) -> list[Object]:
        """The objects with these labels."""
        wanted = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
        found = await self._call("get", kind, _path(api_version, kind, namespace), label_selector=wanted)
        items: list[Object] = found.get("items", [])
        return [item | {"apiVersion": api_version, "kind": kind} for item in items]

    async def changes(self, api_version: str, kind: str, namespace: str, name: str) -> AsyncIterator[None]:
        """Something when the object is there, and at each change, until the server ends the watch after a while."""
        response = await self._dynamic.request(
            "get",
            _path(api_version, kind, namespace),
            serialize=False,
            watch="true",
            field_selector=f"metadata.name={name}",
            timeout_seconds=WATCH_SECONDS,
            # What it is like now is read when somebody wants to know.
            header_params={"Accept": METADATA_ALONE},
            _request_timeout=WATCH_SECONDS + REQUEST_SECONDS,
        )
        API_CALLS.labels("watch", PLURALS[kind], str(response.status)).inc()
        try:
            async for chunk in response.content.iter_any():
                if b"\n" in chunk:
                    yield
        finally:
            response.close()

    async def apply(self, body: Object) -> Object:
        """Server-side apply; fields of others stay, ours win. Returns the object as it is now."""
        metadata = body["metadata"]
        path = _path(body["apiVersion"], body["kind"], metadata["namespace"], metadata["name"])
        return await self._apply(body, path)

    async def add(self, body: Object, manager: str) -> None:
        """Server-side apply as another manager, who takes nothing from others: it is a conflict if they differ."""
        metadata = body["metadata"]
        path = _path(body["apiVersion"], body["kind"], metadata["namespace"], metadata["name"])
        await self._apply(body, path, manager, force=False)

    async def apply_status(self, kind: str, namespace: str, name: str, status: Object) -> Object:
        """Server-side apply of the status of one of our resources."""
        body = {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "status": status}
        return await self._apply(body, _path(API_VERSION, kind, namespace, name) + "/status")

    async def annotate(self, kind: str, namespace: str, name: str, annotations: dict[str, str]) -> None:
        """Sets annotations of an object of the core group."""
        body = {"metadata": {"annotations": annotations}}
        await self._call(
            "patch", kind, _path("v1", kind, namespace, name), body=body, content_type="application/merge-patch+json"
        )

    async def delete(self, api_version: str, kind: str, namespace: str, name: str, uid: str) -> None:
        """Deletes exactly the object with this uid; one that is gone or another by now is left alone."""
        body = {"kind": "DeleteOptions", "preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        try:
            await self._call("delete", kind, _path(api_version, kind, namespace, name), body=body)
        except ApiError as error:
            if error.status not in (404, 409):
                raise

    async def create(self, body: Object) -> Object:
        """Creates an object."""
        path = _path(body["apiVersion"], body["kind"], body["metadata"]["namespace"])
        return await self._call("post", body["kind"], path, body=body)

    async def _apply(self, body: Object, path: str, manager: str = FIELD_MANAGER, *, force: bool = True) -> Object:
        return await self._call(
            "patch",
            body["kind"],
            path,
            body=body,
            content_type="application/apply-patch+yaml",
            field_manager=manager,
            force_conflicts=force,
        )

    async def _call(self, verb: str, kind: str, path: str, **options: Any) -> Object:
        code = "error"
        try:
            response = await self._dynamic.request(
                verb, path, serialize=False, _request_timeout=REQUEST_SECONDS, **options
            )
            code = str(response.status)
            found: Object = json.loads(await response.read())
        except ApiError as error:
            code = str(error.status)
            raise
        finally:
            API_CALLS.labels(verb, PLURALS[kind], code).inc()
        return found


def _path(api_version: str, kind: str, namespace: str, name: str | None = None) -> str:
    root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
    path = f"{root}/namespaces/{namespace}/{PLURALS[kind]}"
    return f"{path}/{name}" if name else path
