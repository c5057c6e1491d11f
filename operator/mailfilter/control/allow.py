"""`allowSender`: whose mail a release has given back is allowed from now on, in the MailFilter's releasedSenders.

Each release is a field manager of its own. So none of them reads and writes what another one has made, an apply of the
user's manifest leaves the entries alone, and they stay when the release is deleted. They are made once, at the end of a
release: what the user deletes is not made again.
"""

from typing import Any

from pydantic import ValidationError

from mailfilter.api import API_VERSION
from mailfilter.api.mailfilter import MailFilterSpec
from mailfilter.api.status import SenderResult
from mailfilter.cluster.api import Api, ApiError, problem
from mailfilter.control.conditions import timestamp
from mailfilter.policy.senders import PatternError, gateway_lists, key, matching

Object = dict[str, Any]

MANAGER = "quarantinerelease-"
"""What the names of these field managers begin with; the release's uid follows."""
# Somebody else may have allowed one of the senders meanwhile.
TRIES = 3


async def allow(api: Api, release: Object, senders: tuple[str, ...]) -> list[SenderResult]:
    """Adds senders to the MailFilter of a release. What cannot be is Refused with the reason. Raises ApiError when the
    API server cannot do it now."""
    metadata = release["metadata"]
    namespace, name = metadata["namespace"], release["spec"]["mailFilter"]
    why = "the MailFilter is changed by others all the time"
    for _ in range(TRIES):
        mail_filter = await api.get(API_VERSION, "MailFilter", namespace, name)
        if mail_filter is None:
            why = f"there is no MailFilter {name} any more"
            break
        try:
            spec = MailFilterSpec.model_validate(mail_filter["spec"])
        except ValidationError as error:
            why = f"the MailFilter is not understood: {str(error)[:200]}"
            break
        results, entries = judged(spec, senders, metadata["name"])
        if not entries:
            return results
        # With its uid, or one that was deleted meanwhile would be made anew.
        target = {"namespace": namespace, "name": name, "uid": mail_filter["metadata"]["uid"]}
        body = {"apiVersion": API_VERSION, "kind": "MailFilter", "metadata": target}
        try:
            await api.add(body | {"spec": {"releasedSenders": entries}}, MANAGER + metadata["uid"])
        except ApiError as error:
            if error.status == 409:
                continue
            if error.status not in (400, 403, 404, 422):
                raise
            why = f"the API server refused it: {problem(error)}"[:300]
            break
        return results
    return [SenderResult(sender=sender, result="Refused", message=why) for sender in senders]


def judged(spec: MailFilterSpec, senders: tuple[str, ...], release: str) -> tuple[list[SenderResult], list[Object]]:
    """What comes of each sender, and the entries that are this release's."""
    lists = gateway_lists(spec)
    own = {one.sender: one for one in spec.released_senders if one.release == release}
    results: list[SenderResult] = []
    entries: dict[str, Object] = {}
    for sender in senders:
        try:
            address = key(sender)
        except PatternError as error:
            results.append(SenderResult(sender=sender, result="Refused", message=str(error)))
            continue
        if address in own:
            # Of a try whose end was not seen.
            entries[address] = own[address].model_dump(mode="json", by_alias=True)
            results.append(SenderResult(sender=sender, result="Allowed"))
        elif why := _refusal(spec, address, matching(address) & {*lists.deny}):
            results.append(SenderResult(sender=sender, result="Refused", message=why))
        elif address in entries or matching(address) & {*lists.allow}:
            results.append(SenderResult(sender=sender, result="Present"))
        else:
            entries[address] = {"sender": address, "release": release, "time": timestamp()}
            results.append(SenderResult(sender=sender, result="Allowed"))
    return results, list(entries.values())


def _refusal(spec: MailFilterSpec, address: str, denied: set[str]) -> str | None:
    domain = address.rpartition("@")[2]
    if any(domain == one.name or (one.subdomains and domain.endswith(f".{one.name}")) for one in spec.domains):
        return "in a domain of your own: everybody who forges it would pass. You can still put it into lists.allow"
    if denied:
        return f"spec.lists.deny has {min(denied)}, which goes before what is allowed"
    return None
