"""Long lists: every good line is in the files, every bad one is told by its number."""

import base64
import gzip
import hashlib
import random

import pytest

from mailfilter.policy import longlists
from mailfilter.policy.longlists import Files, TooLargeError, parse, rendered, restored

TEXT = """\
# Pests
Bad@Client.example
*.pest.example   # and all below
   spammer@exämple.de\t# tab
a#b@x.example

<>\r
news*@x.example
192.0.2.1
Bad@client.example
"""


def lines(files: Files) -> list[str]:
    packed = (base64.b64decode(content) for _, content in sorted(files.content.items()))
    return b"".join(gzip.decompress(part) for part in packed).decode().splitlines()


def addresses(count: int, noise: int = 0) -> list[str]:
    """Addresses; the more noise, the less they can be compressed."""
    draw = random.Random(1)
    return [f"u{number}{draw.randbytes(noise).hex()}@x.example" for number in range(count)]


def test_lines() -> None:
    found = parse(TEXT, "ConfigMap pests key senders", "Deny")
    assert found.keys == {"bad@client.example", ".pest.example", "spammer@xn--exmple-cua.de", "a#b@x.example", ""}
    assert found.refused == 2
    assert [reason.partition(": ")[0] for reason in found.reasons] == [
        "ConfigMap pests key senders line 8",
        "ConfigMap pests key senders line 9",
    ]
    assert "IP address" in found.reasons[1]


def test_many_bad_lines_are_counted_and_a_few_told() -> None:
    found = parse("com\n" * 1000 + "a@b.example\n", "here", "Allow")
    assert (found.refused, len(found.reasons), found.keys) == (1000, longlists.SHOWN, {"a@b.example"})


def test_denied_is_not_allowed_in_the_files() -> None:
    files = rendered([parse("b.example\na.example\n", "x", "Allow"), parse("b.example\n<>\n", "y", "Deny")])
    assert lines(files) == ["D ", "A a.example", "D b.example"]
    assert (files.allow, files.deny) == (1, 2)
    packed = base64.b64decode(files.content["senders-0.gz"])
    assert files.hashes == {"senders-0.gz": hashlib.sha256(packed).hexdigest()}


def test_the_same_lists_are_the_same_files_whatever_their_order() -> None:
    one, other = parse("a.example\nb.example\n", "x", "Deny"), parse("c.example\n", "y", "Deny")
    assert rendered([one, other]) == rendered([other, parse("B.example\na.example # x\n", "z", "Deny")])


def test_no_entries_are_no_files() -> None:
    assert rendered([]) == rendered([parse("# nothing\n", "x", "Deny")]) == Files()


def test_large_lists_are_split_between_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(longlists, "FILE_BYTES", 20_000)
    wanted = addresses(3000, noise=6)
    files = rendered([parse("\n".join(wanted), "x", "Deny")])
    assert 2 <= len(files.content) <= longlists.FILES
    assert lines(files) == [f"D {one}" for one in sorted(wanted)]
    assert all(len(base64.b64decode(content)) <= 20_000 for content in files.content.values())


def test_lists_that_fit_nowhere_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(longlists, "FILE_BYTES", 1_000)
    with pytest.raises(TooLargeError, match="4000 at most fit"):
        rendered([parse("\n".join(addresses(2000, noise=6)), "x", "Deny")])


def test_a_hundred_thousand_addresses_fit() -> None:
    files = rendered([parse("\n".join(addresses(100_000, noise=8)), "x", "Deny")])
    assert files.deny == 100_000
    assert len(files.content) <= longlists.FILES


def test_files_come_back_from_the_cluster_or_not_at_all() -> None:
    files = rendered([parse("b.example\n", "x", "Allow"), parse("<>\nc.example\n", "y", "Deny")])
    assert restored(files.content | {"other": "AA=="}, files.hashes) == files
    assert restored({}, files.hashes) is None
    assert restored({"senders-0.gz": "AA=="}, files.hashes) is None
    other = rendered([parse("z.example\n", "x", "Allow")])
    assert restored(other.content, files.hashes) is None
