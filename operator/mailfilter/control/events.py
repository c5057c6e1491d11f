"""Kubernetes Events about our resources, one at each transition."""

import logging
import uuid
from typing import Any, Literal

from mailfilter.cluster.api import FIELD_MANAGER, Api, ApiError, problem
from mailfilter.control.conditions import timestamp

Object = dict[str, Any]
# The API server refuses longer notes.
NOTE_LIMIT = 1000

log = logging.getLogger(__name__)


async def record(api: Api, about: Object, kind: Literal["Normal", "Warning"], reason: str, note: str) -> None:
    """Creates an Event; one that cannot be created is logged, never a reason to stop."""
    metadata = about["metadata"]
    now = timestamp()
    body = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{metadata['name']}.{uuid.uuid4().hex[:16]}", "namespace": metadata["namespace"]},
        "involvedObject": {
            "apiVersion": about["apiVersion"],
            "kind": about["kind"],
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
        },
        "type": kind,
        "reason": reason,
        "message": note[:NOTE_LIMIT],
        "source": {"component": FIELD_MANAGER},
        "reportingComponent": FIELD_MANAGER,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
    try:
        await api.create(body)
    except ApiError as error:
        log.warning("event %s about %s/%s: %s", reason, metadata["namespace"], metadata["name"], problem(error))
