"""Who may reach the page of the quarantine."""

from typing import Any

import pytest
from pydantic import ValidationError

from mailfilter.api.access import Access


@pytest.mark.parametrize(
    "peer",
    [
        {"podSelector": {}},
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}}},
        {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "oauth2-proxy", "empty": ""}}},
        {"ipBlock": {"cidr": "192.0.2.0/24"}},
    ],
    ids=str,
)
def test_accepted(peer: dict[str, Any]) -> None:
    assert Access.model_validate({"from": [peer]}).model_dump(by_alias=True, exclude_defaults=True) == {"from": [peer]}


@pytest.mark.parametrize(
    ("peers", "said"),
    [
        ([], "at least 1 item"),
        ([{}], "ipBlock alone"),
        ([{"podSelector": {}, "ipBlock": {"cidr": "192.0.2.1"}}], "ipBlock alone"),
        ([{"podSelector": {"matchLabels": {"a b": "x"}}}], "'a b' is not the key of a label"),
        ([{"podSelector": {"matchLabels": {"-/a": "x"}}}], "is not the key of a label"),
        ([{"podSelector": {"matchLabels": {"a": "x y"}}}], "should match pattern"),
        ([{"podSelector": {"matchLabels": {"a": "x" * 64}}}], "at most 63 characters"),
        ([{"podSelector": {"matchExpressions": []}}], "not permitted"),
        ([{"ipBlock": {"cidr": "0.0.0.0/0"}}], "not wider than /8"),
    ],
    ids=str,
)
def test_refused(peers: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Access.model_validate({"from": peers})
