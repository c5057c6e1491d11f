"""`mailfilter plan` without a cluster: what it prints, and its exit status."""

import hashlib
import io
from pathlib import Path
from typing import Any

import pytest
import yaml

from mailfilter.__main__ import main
from support import ROOT
from support.samples import FULL, GOLDEN, SMALL, with_changes

Object = dict[str, Any]


def manifest(spec: Object, name: str = "mx") -> str:
    return yaml.safe_dump(
        {
            "apiVersion": "mailfilter.dev/v1alpha1",
            "kind": "MailFilter",
            "metadata": {"name": name, "namespace": "mail"},
            "spec": spec,
        }
    )


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Any:
    """Runs the command on a manifest; exit status, output, errors."""

    def run(text: str, *options: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        monkeypatch.setattr("sys.argv", ["mailfilter", "plan", "-", *options])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, printed.out, printed.err

    return run


def test_summary(plan: Any) -> None:
    status, printed, errors = plan(manifest(FULL) + "---\n" + manifest(SMALL, "second"))
    assert (status, errors) == (0, "")
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    assert lines[0] == "MailFilter mail/mx (standard input, document 1): valid"
    assert "MailFilter mail/second (standard input, document 2): valid" in lines
    assert "pods mx-amavis 3, mx-clamd 2, mx-freshclam 1, mx-postfix 2" in lines
    policy = (GOLDEN / "full/policy.json").read_bytes()
    assert f"policy {hashlib.sha256(policy).hexdigest()[:12]}, {len(policy)} bytes (mx-policy)" in lines
    assert any(line.startswith("tables ") and "transport 3, " in line for line in lines)
    assert any("StatefulSet 3, Deployment 1" in line for line in lines)


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        ({}, ""),
        ({"banned": {"destiny": "Bounce"}}, "BackscatterRisk: spec.banned.destiny: Bounce. Notices go to senders"),
        ({"virus": {"enabled": False}}, "ScannerAvailable: virus.enabled is false"),
        ({"filtering": {"suspended": "PassThrough"}}, "Suspended: mail passes unfiltered through mx-postfix-*"),
        ({"lists": {"deny": ["a@b.example"]}, "spam": {"enabled": False}}, "ListsValid: spam.enabled is false"),
    ],
    ids=["none", "bounce", "no scan", "suspended", "no list"],
)
def test_what_conditions_will_say_is_a_warning(plan: Any, change: Object, warning: str) -> None:
    status, printed, _ = plan(manifest(with_changes(SMALL, **change)))
    assert status == 0
    found = [line for line in printed.splitlines() if line.startswith("  warning  ")]
    assert len(found) == bool(warning)
    assert warning in "".join(found)


@pytest.mark.parametrize("part", ["policy", "postfix", "clamav"])
def test_files(plan: Any, part: str) -> None:
    status, printed, _ = plan(manifest(SMALL), "--show", part)
    assert status == 0
    files = {
        head.split(": ")[1]: text for head, text in (piece.split("\n", 1) for piece in printed.split("### ") if piece)
    }
    assert files
    for file, text in files.items():
        assert text == (GOLDEN / "small" / file).read_text(), file


def test_objects(plan: Any) -> None:
    status, printed, _ = plan(manifest(SMALL), "--show", "objects")
    assert status == 0
    objects = list(yaml.safe_load_all(printed))
    assert {(each["kind"], each["metadata"]["name"]) for each in objects} >= {
        ("StatefulSet", "mx-amavis"),
        ("Secret", "mx-agent"),
    }
    (policy,) = [each for each in objects if each["metadata"]["name"] == "mx-policy"]
    assert policy["data"]["policy.json"] == (GOLDEN / "small/policy.json").read_text()
    assert "image: IMAGE-OF-AMAVIS" in printed


def test_images_of_chart_values(plan: Any) -> None:
    values = str(ROOT / "charts/mailfilter-operator/values.yaml")
    _, printed, _ = plan(manifest(SMALL), "--show", "objects", "--images", values)
    assert "IMAGE-OF" not in printed
    assert "image: mailfilter-amavis:0." in printed


def test_problems_name_file_document_and_field(plan: Any) -> None:
    bad = with_changes(SMALL, spam={"killLevel": 11, "level": 1}, hostname="mx")
    status, printed, errors = plan(manifest(SMALL) + "---\n" + manifest(bad, "second"))
    assert status == 2
    assert "MailFilter mail/mx (standard input, document 1): valid" in printed
    assert errors.splitlines() == [
        "MailFilter mail/second (standard input, document 2): spec.hostname: "
        "must be a fully qualified host name such as mx.example.com",
        "MailFilter mail/second (standard input, document 2): spec.spam.level: unknown field",
    ]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("kind: ConfigMap", (), "no MailFilter in -"),
        ("kind: [", (), "standard input"),
        (manifest(SMALL), ("--context", "x"), "need --diff"),
        (manifest(SMALL), ("--diff", "--show", "policy"), "exclude each other"),
        (manifest(SMALL), ("-n", "other"), "metadata.namespace is mail"),
        (manifest(SMALL), ("--images", "/nowhere.yaml"), "--images /nowhere.yaml"),
        (manifest(SMALL), ("--diff", "--kubeconfig", "/nowhere"), "the kubeconfig cannot be used"),
        (manifest(SMALL), ("--show", "secrets"), "is not one of"),
    ],
)
def test_no_plan(plan: Any, text: str, options: tuple[str, ...], message: str) -> None:
    status, _, errors = plan(text, *options)
    assert status == 2
    assert message in errors
