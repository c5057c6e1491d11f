"""Which tables Postfix works with."""

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from mailfilter.agent.tables import Tables
from mailfilter.policy.postfix import tables_hash

HASH = hashlib.sha256(b"relay_domains\0a.test\tOK\n\0transport\0a.test\tx:[y]:25\n\0").hexdigest()


def generation(directory: Path, name: str, *, domains: str = "a.test\tOK\n") -> None:
    """Mounts a ConfigMap as the kubelet does."""
    behind = directory / name
    behind.mkdir(parents=True)
    (behind / "relay_domains").write_text(domains)
    (behind / "transport").write_text("a.test\tx:[y]:25\n")
    (behind / "main.cf").write_text(f"myhostname = {name}\n")
    (directory / "..next").symlink_to(name)
    (directory / "..next").rename(directory / "..data")
    for file in behind.iterdir():
        if not (directory / file.name).exists():
            (directory / file.name).symlink_to(f"..data/{file.name}")


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    (tmp_path / "compiled").mkdir()
    return Tables(tmp_path / "sources", tmp_path / "compiled", tmp_path)


def test_the_hash_is_over_names_and_contents_of_the_tables_alone(tables, tmp_path):
    generation(tmp_path / "sources", "..one")
    assert tables.state().status() == {"mounted": HASH, "inForce": None, "error": None}
    generation(tmp_path / "sources", "..two")
    assert tables.state().mounted == HASH
    generation(tmp_path / "sources", "..three", domains="b.test\tOK\n")
    assert tables.state().mounted not in (HASH, None)


def test_a_generation_that_is_removed_while_it_is_read_is_none(tables, tmp_path, monkeypatch):
    generation(tmp_path / "sources", "..one")

    def replaced(directory: Path) -> Iterator[Path]:
        monkeypatch.undo()
        generation(tmp_path / "sources", "..two", domains="b.test\tOK\n")
        shutil.rmtree(directory)
        return directory.iterdir()

    monkeypatch.setattr(Path, "iterdir", replaced)
    seen = tables.state().mounted
    assert seen == tables.state().mounted
    assert seen not in (HASH, None)


def test_a_directory_without_generations_does_as_well(tables, tmp_path):
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "relay_domains").write_text("a.test\tOK\n")
    (tmp_path / "sources" / "transport").write_text("a.test\tx:[y]:25\n")
    assert tables.state().mounted == HASH


def test_the_hash_is_the_one_that_the_operator_waits_for(tables, tmp_path):
    generation(tmp_path / "sources", "..one")
    assert tables.state().mounted == tables_hash({"transport": "a.test\tx:[y]:25\n", "relay_domains": "a.test\tOK\n"})


def test_what_the_compiler_says_is_passed_on(tables, tmp_path):
    (tmp_path / "tables-loaded").write_text(HASH + "\n")
    (tmp_path / "compiled" / "error").write_text("postmap: fatal: line 3\n")
    assert tables.state().status() == {"mounted": None, "inForce": HASH, "error": "postmap: fatal: line 3"}


def test_a_certificate_counts_when_postfix_has_loaded_it(tables, tmp_path):
    (tmp_path / "compiled" / "tls-expires").write_text("2027-01-01 00:00:00Z\n")
    (tmp_path / "compiled" / "tls-chain").write_text(HASH + "\n")
    assert tables.state().tls.expires is None
    (tmp_path / "certificate-loaded").write_text("\n")
    assert tables.state().tls.expires is None
    (tmp_path / "certificate-loaded").write_text(HASH + "\n")
    assert tables.state().tls.expires == "2027-01-01 00:00:00Z"


def test_metric(tables, tmp_path):
    registry = CollectorRegistry()
    registry.register(tables)
    generation(tmp_path / "sources", "..one")
    assert registry.get_sample_value("mailfilter_tables_stale") == 1
    (tmp_path / "tables-loaded").write_text(HASH)
    assert registry.get_sample_value("mailfilter_tables_stale") == 0
