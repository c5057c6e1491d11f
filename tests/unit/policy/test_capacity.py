"""Process counts and timeouts stand in the right order in what each daemon is told."""

import itertools
import re
from typing import Any

import pytest

from mailfilter.api.mailfilter import MailFilterSpec
from mailfilter.policy import clamav, postfix
from mailfilter.policy.capacity import CLIENT_SECONDS, PARTS_AT_A_TIME, capacity
from mailfilter.stack import amavis
from support import ROOT
from support.samples import NAMES, SMALL, gateway, with_changes

MODES = ("AfterQueue", "BeforeQueue")
SIZES = [
    {"amavis": {"replicas": replicas, "maxServers": servers}, "postfix": {"replicas": doors}}
    for replicas, servers, doors in ((1, 1, 1), (1, 2, 1), (3, 5, 2), (20, 64, 1), (1, 1, 20))
]
ALL = pytest.mark.parametrize(("mode", "size"), list(itertools.product(MODES, SIZES)))


def wanted(mode: str, size: dict[str, Any]) -> dict[str, Any]:
    return with_changes(SMALL, filtering={"mode": mode}, **size)


def clamd(spec: MailFilterSpec) -> dict[str, int]:
    lines = (line.split(" ", 1) for line in clamav.clamd_conf(spec).splitlines())
    return {name: int(value) for name, value in lines if value.isdigit()}


@ALL
def test_b13_whoever_is_further_in_gives_up_first(mode: str, size: dict[str, Any]) -> None:
    made = gateway(wanted(mode, size))
    pod = amavis.workload(made)["spec"]["template"]["spec"]
    child = next(int(env["value"]) for env in pod["containers"][0]["env"] if env["name"] == "AMAVIS_CHILD_TIMEOUT")
    filtering = int(postfix.parameters(made.spec, NAMES)["mailfilter_filter_timeout"].removesuffix("s"))
    assert clamd(made.spec)["MaxScanTime"] / 1000 < child < filtering
    if mode == "BeforeQueue":
        # A client may wait for a free child first, then for the answer, each as long as Postfix has patience.
        assert 2 * filtering < CLIENT_SECONDS


@ALL
def test_every_child_of_amavis_can_be_kept_busy(mode: str, size: dict[str, Any]) -> None:
    spec = gateway(wanted(mode, size)).spec
    scans = spec.amavis.replicas * spec.amavis.max_servers
    assert capacity(spec).scans == scans
    parameters = postfix.parameters(spec, NAMES)
    connections, processes = (
        int(parameters[name]) for name in ("amavis_destination_concurrency_limit", "default_process_limit")
    )
    assert connections * spec.postfix.replicas >= scans
    # The smtp clients to the filter, and the smtpd processes that take mail back from it.
    assert processes >= max(connections, scans)
    assert clamd(spec)["MaxThreads"] >= scans
    assert clamd(spec)["MaxQueue"] >= max(2 * clamd(spec)["MaxThreads"], PARTS_AT_A_TIME * scans)


def test_postfix_reads_what_is_derived() -> None:
    """No number of its own stands in the image."""
    master = (ROOT / "images/postfix/share/master.cf").read_text()
    for name in ("smtpd_proxy_timeout", "smtp_data_done_timeout"):
        assert re.findall(rf"{name}=(\S+)", master) == ["$mailfilter_filter_timeout"]


def test_only_before_the_queue_there_is_a_proxy_filter_and_the_other_filter_is_always_there() -> None:
    for mode, proxy in (("AfterQueue", ""), ("BeforeQueue", "mx-amavis.mail.svc:10026")):
        parameters = postfix.parameters(gateway(filtering={"mode": mode}).spec, NAMES)
        assert parameters["mailfilter_proxy_filter"] == proxy
        assert parameters["content_filter"] == "amavis:[mx-amavis.mail.svc]:10024"


@pytest.mark.parametrize(
    ("change", "senders"),
    [
        ({}, {}),
        ({"banned": {"destiny": "Bounce"}}, {"<>": "OK"}),
        ({"recipients": [{"address": "a@example.com", "policy": {"badHeader": {"destiny": "Bounce"}}}]}, {"<>": "OK"}),
    ],
)
def test_notices_to_senders_pass_only_where_there_are_some(change: dict[str, Any], senders: dict[str, str]) -> None:
    assert postfix.tables(gateway(**change).spec)["reinjection_senders"] == senders
