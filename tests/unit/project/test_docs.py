"""What the pages say of fields is true of the code."""

import json
import re
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from mailfilter.api.crd import definitions
from mailfilter.api.mailfilter import MailFilterSpec
from mailfilter.api.template import parse
from mailfilter.stack import desired_objects
from mailfilter.stack.common import COMPONENT
from support import ROOT
from support.samples import FULL, SMALL, gateway, spec, with_changes

Object = dict[str, Any]
DEFAULTS = json.loads(spec(SMALL).model_dump_json(by_alias=True, exclude_none=True))


def table_of_changes() -> dict[str, set[str]]:
    """docs/live.md: field → components whose pods are replaced."""
    rows = re.findall(r"^\| (`spec.*) \| (.*) \|$", (ROOT / "docs/live.md").read_text(), re.MULTILINE)
    return {
        field: {part for part in components.split(", ") if part != "none"}
        for fields, components in rows
        for field in re.findall(r"`([^`]+)`", fields)
    }


def leaves(node: Any, path: str = "spec") -> Iterator[tuple[str, Any]]:
    """The fields of a spec; lists and maps of anything are one field."""
    if isinstance(node, dict) and path.rsplit(".", 1)[1:] not in (["requests"], ["limits"], ["annotations"]):
        for name, member in node.items():
            yield from leaves(member, f"{path}.{name}")
    else:
        yield path, node


def templates(wanted: MailFilterSpec) -> dict[str, Object]:
    return {
        body["metadata"]["labels"][COMPONENT]: body["spec"]["template"]
        for body in desired_objects(replace(gateway(), spec=wanted))
        if body["kind"] in ("StatefulSet", "Deployment")
    }


TABLE = table_of_changes()
# All that the full sample says, and what it leaves out (tests/unit/api/test_samples.py).
CHANGES = dict(leaves(FULL)) | {
    "spec.spam.enabled": False,
    "spec.banned.enabled": False,
    "spec.clamd.resources.requests": {"cpu": "1"},
    "spec.freshclam.officialDatabases": False,
    "spec.outgoing": {"clients": ["192.0.2.1"]},
}


def row(path: str) -> str:
    """The longest name that the path begins with."""
    return max((field for field in TABLE if f"{path}.".startswith(f"{field}.")), key=len)


@pytest.mark.parametrize("path", CHANGES)
def test_pods_are_replaced_as_the_page_says(path: str) -> None:
    change: Any = CHANGES[path]
    for name in reversed(path.split(".")[1:]):
        change = {name: change}
    # Some fields need the domains or the mode of the full sample.
    base = DEFAULTS if "domains" in change else DEFAULTS | {"domains": FULL["domains"]}
    base = base if "filtering" in change else base | {"filtering": FULL["filtering"]}
    if path.startswith("spec.postfix.tls."):
        base = with_changes(base, postfix={"tls": {"secretName": "other"}})
    if path == "spec.postfix.dnsbl.threshold":
        base = with_changes(base, postfix={"dnsbl": {"sites": [{"name": "bl.example.net"}]}})
    if path.startswith("spec.quarantine.digest.template."):
        base = with_changes(base, quarantine={"digest": {"template": {"name": "other", "key": "other"}}})
    if path.startswith("spec.outgoing."):
        base = with_changes(base, outgoing={"clients": ["192.0.2.1"], "relay": {"host": "other"}})
    before = templates(MailFilterSpec.model_validate(base))
    after = templates(MailFilterSpec.model_validate(with_changes(base, **change)))
    assert before.keys() == after.keys() == {"postfix", "amavis", "clamd", "freshclam"}
    field = row(path)
    assert {part for part in before if before[part] != after[part]} == TABLE[field], (
        f"docs/live.md says else of {field}"
    )


def test_every_row_is_of_a_field() -> None:
    assert {row(path) for path in CHANGES} == TABLE.keys()


SEED_MAP = (ROOT / "docs/seed-map.md").read_text()


def fields_of(schema: Object, path: str) -> set[str]:
    """All paths of a schema; `[]` stands for the items of a list."""
    found = {path}
    for name, below in schema.get("properties", {}).items():
        found |= fields_of(below, f"{path}.{name}")
    return found | (fields_of(schema["items"], f"{path}[]") if "items" in schema else set())


def test_the_map_names_fields_that_exist() -> None:
    (schema,) = (
        each["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
        for each in definitions()
        if each["spec"]["names"]["kind"] == "MailFilter"
    )
    known = fields_of(schema["spec"], "spec") | fields_of(schema["status"], "status")
    named = set(re.findall(r"`((?:spec|status)\.[^`]+)`", SEED_MAP))
    assert len(named) > 30
    assert named <= known


CLASSIC = """
content_filter virtual_mailbox_domains virtual_alias_maps
smtp-amavis smtp_data_done_timeout smtp_send_xforward_command local_recipient_maps relay_recipient_maps
smtpd_restriction_classes smtpd_client_restrictions smtpd_helo_restrictions smtpd_sender_restrictions
smtpd_recipient_restrictions mynetworks strict_rfc821_envelopes smtpd_error_sleep_time smtpd_soft_error_limit
smtpd_hard_error_limit
$MYHOME $mydomain $daemon_user $daemon_group $TEMPBASE $pid_file $lock_file $path @bypass_virus_checks_maps
@bypass_spam_checks_maps $bypass_decode_parts $forward_method $notify_method @local_domains_maps
$interface_policy{'SOCK'} $policy_bank{'AM.PDP'} $policy_bank{'AM.PDP-SOCK'} auth_required_release $unix_socketname
$inet_socket_port @inet_acl $syslog_ident $syslog_facility $syslog_priority $log_level $final_virus_destiny
$final_spam_destiny $final_banned_destiny $final_bad_header_destiny $virus_admin $spam_admin $mailfrom_notify_admin
$mailfrom_notify_recip $mailfrom_notify_spamadmin $hdrfrom_notify_sender $hdrfrom_notify_admin $hdrfrom_notify_spamadmin
$QUARANTINEDIR $clean_quarantine_method $virus_quarantine_method $spam_quarantine_method $banned_files_quarantine_method
$bad_header_quarantine_method $virus_quarantine_to $banned_quarantine_to $bad_header_quarantine_to $spam_quarantine_to
$spam_quarantine_bysender_to $sa_local_tests_only $sa_mail_body_size_limit $sa_tag_level_deflt $sa_tag2_level_deflt
$sa_kill_level_deflt $sa_dsn_cutoff_level @av_scanners read_hash(\\%whitelist_sender
read_hash(\\%blacklist_sender @decoders @keep_decoded_original_maps $banned_filename_re @score_sender_maps
"""


def test_the_map_has_every_classic_setting() -> None:
    first_cells = " ".join(re.findall(r"^\| (.*?) \|", SEED_MAP, re.MULTILINE))
    assert [setting for setting in CLASSIC.split() if f"`{setting}" not in first_cells] == []


def test_the_template_on_the_page_has_no_mistake() -> None:
    page = (ROOT / "docs/notices.md").read_text()
    (block,) = re.findall(r"  digest.txt: \|\n((?:    .*\n|\n)+)", page)
    assert parse(textwrap.dedent(block)).subject == "$count E-Mails wurden zurückgehalten"
