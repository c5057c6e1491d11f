"""What the daemons read, as files; each is checked by its own daemon in tests/images and tests/e2e."""

import re

import pytest

from mailfilter.policy import amavis, clamav, postfix
from support import ROOT
from support.samples import NAMES, SAMPLES, check_golden, spec


@pytest.mark.parametrize("name", SAMPLES)
def test_files(name: str) -> None:
    wanted = spec(SAMPLES[name])
    tables = {table: postfix.table_source(lines) for table, lines in postfix.tables(wanted).items()}
    (known,) = re.findall(r"^tables='([^']*)'", (ROOT / "images/postfix/mailfilter-tables").read_text(), re.MULTILINE)
    assert sorted(tables) == known.split()
    check_golden(f"{name}/policy.json", amavis.policy_json(wanted))
    check_golden(f"{name}/main.cf", postfix.main_cf(postfix.parameters(wanted, NAMES)))
    check_golden(f"{name}/clamd.conf", clamav.clamd_conf(wanted))
    check_golden(f"{name}/freshclam.conf", clamav.freshclam_conf(wanted))
    check_golden(f"{name}/follow.conf", clamav.follow_conf(wanted, NAMES))
    for table, source in tables.items():
        check_golden(f"{name}/{table}", source)


def test_own_signatures_alone() -> None:
    """freshclam asks nobody for official databases, and clamd's freshclam asks only the mirror of the cluster."""
    own = spec(freshclam={"officialDatabases": False, "customURLs": ["http://signatures.test/a/custom.ndb"]})
    for text in (clamav.freshclam_conf(own), clamav.follow_conf(own, NAMES)):
        lines = text.splitlines()
        assert {"ExcludeDatabase main", "ExcludeDatabase daily", "ExcludeDatabase bytecode"} <= set(lines)
        assert not [line for line in lines if line.startswith("PrivateMirror") or "clamav.net" in line]
    assert "DatabaseCustomURL http://signatures.test/a/custom.ndb\n" in clamav.freshclam_conf(own)
    assert "DatabaseCustomURL http://mx-freshclam.mail.svc:8080/custom.ndb\n" in clamav.follow_conf(own, NAMES)
