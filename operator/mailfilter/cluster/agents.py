"""The agents beside the daemons, over HTTP in the pod network."""

from typing import Any

import aiohttp

from mailfilter.stack.common import AGENT_PORT

STATUS_SECONDS = 5
# Some seconds of work, then what is in work: Postfix may take its time to answer.
RELEASE_SECONDS = 150
# The whole queue may have to be read.
RECEIPTS_SECONDS = 60
# Thousands of files may have to be deleted.
EXPIRY_SECONDS = 60


class AgentError(Exception):
    """An agent could not be asked, or did not answer as agreed."""


class Agents:
    """A client of all agents of this operator's gateways."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession()

    async def close(self) -> None:
        """Closes the connections."""
        await self._session.close()

    async def status(self, pod_ip: str, token: str) -> dict[str, Any]:
        """`GET /v1/status`. Raises AgentError."""
        return await self._call("GET", pod_ip, "/v1/status", token, STATUS_SECONDS)

    async def release(self, pod_ip: str, token: str, request: dict[str, Any]) -> dict[str, Any]:
        """`POST /v1/releases`. Raises AgentError."""
        return await self._call("POST", pod_ip, "/v1/releases", token, RELEASE_SECONDS, json=request)

    async def receipts(self, pod_ip: str, token: str, receipts: list[str]) -> dict[str, Any]:
        """`POST /v1/receipts`. Raises AgentError."""
        return await self._call("POST", pod_ip, "/v1/receipts", token, RECEIPTS_SECONDS, json={"receipts": receipts})

    async def expire(self, pod_ip: str, token: str, request: dict[str, Any]) -> None:
        """`POST /v1/expiry`. Raises AgentError."""
        await self._call("POST", pod_ip, "/v1/expiry", token, EXPIRY_SECONDS, json=request)

    async def flush(self, pod_ip: str, token: str) -> None:
        """`POST /v1/flush`. Raises AgentError."""
        await self._call("POST", pod_ip, "/v1/flush", token, STATUS_SECONDS)

    async def _call(
        self, method: str, pod_ip: str, path: str, token: str, seconds: float, **options: Any
    ) -> dict[str, Any]:
        host = f"[{pod_ip}]" if ":" in pod_ip else pod_ip
        url = f"http://{host}:{AGENT_PORT}{path}"
        timeout = aiohttp.ClientTimeout(total=seconds, connect=STATUS_SECONDS)
        headers = {"Authorization": f"Bearer {token}"}
        try:
            async with self._session.request(method, url, headers=headers, timeout=timeout, **options) as response:
                if response.status != 200:
                    raise AgentError(f"agent at {pod_ip}: {response.status} {(await response.text())[:300]}")
                found = await response.json()
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise AgentError(f"agent at {pod_ip}: {error or type(error).__name__}") from error
        if not isinstance(found, dict):
            raise AgentError(f"agent at {pod_ip}: answered {str(found)[:300]}")
        return found
