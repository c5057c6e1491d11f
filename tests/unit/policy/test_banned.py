"""Presets of banned attachments."""

from typing import get_args

from mailfilter.api.verdicts import Banned, BannedPreset
from mailfilter.policy import banned
from support import ROOT


def test_every_preset_has_a_content() -> None:
    assert set(get_args(BannedPreset)) == set(banned.PRESETS)
    assert all(preset.names or preset.types or preset.mime_types for preset in banned.PRESETS.values())


def test_presets_are_added_and_each_rule_is_there_once() -> None:
    wanted = Banned(names=["*.x", "*.cmd"], types=[], presets=["Commands", "Metafiles", "PartialMessages"])
    found = banned.rules(wanted)
    assert found["names"] == ["*.x", "*.cmd", "*.exe", "*.vbs", "*.pif", "*.scr", "*.cpl", "*.bat", "*.com"]
    assert found["types"] == ["wmf"]
    assert found["mimeTypes"][1:] == ["application/x-msmetafile", "image/x-wmf", "message/partial"]
    assert found["doubleExtensions"] is True


def test_all_presets_together_are_valid_rules() -> None:
    found = banned.rules(Banned(presets=list(banned.PRESETS)))
    Banned.model_validate({"names": found["names"], "types": found["types"], "mimeTypes": found["mimeTypes"]})


def test_the_page_has_what_is_in_the_presets() -> None:
    page = (ROOT / "docs/banned.md").read_text()
    for name, preset in banned.PRESETS.items():
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
        content = [*preset.names, *preset.types, *preset.mime_types]
        assert row.endswith(f": {' '.join(f'`{one}`' for one in content)} |")
