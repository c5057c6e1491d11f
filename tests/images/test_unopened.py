"""Archives that nobody could look into are marked, and nothing else is."""

import gzip
import io
import struct
import zipfile
import zlib
from email.message import EmailMessage

import pytest

from images.gateway import Gateway
from images.mails import mail
from images.test_banned import HARMLESS, PROGRAM, in_rar4, in_tnef, in_zip

GARBAGE = bytes(range(255, 0, -1)) * 4
# What file(1) calls an archive by its first octets, and no program opens.
LYING = {
    "a.rar": b"Rar!\x1a\x07\x01\0",
    "b.rar": b"Rar!\x1a\x07\0",
    "a.7z": b"7z\xbc\xaf\x27\x1c\0\4",
    "a.zst": b"\x28\xb5\x2f\xfd",
    "a.lrz": b"LRZI\0\6",
    "a.dat": b"MSCF\0\0\0\0",
    "a.lz4": b"\x04\x22\x4d\x18",
    "a.tnef": struct.pack("<I", 0x223E9F78),
}
# For which there is no program.
FOREIGN = {
    "notes.txt": b"\0\0\0\0\0\0\0**ACE**",
    "a.alz": b"ALZ\1",
    "a.egg": b"EGGA",
    "a.bz": b"BZ0",
    "a.sit": b"SIT!\0\1\0\0\1\0rLau",
    # No archive for file(1), but one for whoever opens it.
    "junk.rar": b"",
    "c.zip": b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", 4, 4, 8, 0, 0, 0, 0),
}


@pytest.fixture(scope="module")
def gateway(after_queue: Gateway) -> Gateway:
    return after_queue


def with_files(subject: str, files: dict[str, bytes], body: str = "see attachments") -> EmailMessage:
    message = mail(subject, body)
    for name, content in files.items():
        message.add_attachment(content, maintype="application", subtype="octet-stream", filename=name)
    return message


def unopened(gateway: Gateway, subject: str) -> set[str]:
    found = gateway.report(subject).get("unopened", [])
    assert all(one["type"] and one["reason"] for one in found)
    return {one["name"] for one in found}


@pytest.mark.parametrize("starts", [LYING, FOREIGN], ids=["lying", "foreign"])
def test_what_nobody_could_open_is_marked(gateway: Gateway, starts: dict[str, bytes]) -> None:
    subject = f"{len(starts)} unopened"
    gateway.send(with_files(subject, {name: start + GARBAGE for name, start in starts.items()}))
    assert gateway.report(subject)["content_type"] == "Unchecked"
    assert unopened(gateway, subject) == set(starts)
    gateway.idle()
    assert len(gateway.delivered(f"***UNCHECKED*** {subject}")) == 1


def test_what_is_unpacked_in_part_is_marked(gateway: Gateway) -> None:
    cut = gzip.compress(PROGRAM + bytes(range(256)) * 4)[:-200]
    files = {"cut.gz": cut, "cut.zip": in_zip(GARBAGE)[:-30], "appended.gz": gzip.compress(HARMLESS) + GARBAGE}
    gateway.send(with_files("in part", files))
    assert unopened(gateway, "in part") == set(files)


def document() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.text")
        archive.writestr("content.xml", "<office/>")
    return buffer.getvalue()


ORDINARY = {
    "a.odt": document(),
    "a.png": FOREIGN["c.zip"] + GARBAGE,
    "a.jpg": b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0" + GARBAGE,
    "a.pdf": b"%PDF-1.7\n1 0 obj\n<</Filter/FlateDecode>>\nstream\n" + zlib.compress(GARBAGE) + b"\nendstream\n%%EOF",
    "a.svgz": gzip.compress(b'<svg xmlns="http://www.w3.org/2000/svg"/>'),
    "unknown": GARBAGE,
    "winmail.dat": in_tnef(None),
    "empty.zip": b"PK\5\6" + bytes(18),
    "empty.gz": gzip.compress(b""),
    # Texts that file(1) takes for archives of PAR, of StuffIt and of BOA.
    "paris.txt": b"PARIS, le 3 mai\nBonjour,\n" * 4,
    "segue.txt": b"Segue em anexo o arquivo.\nObrigado\n" * 4,
    "boa.txt": b"BOA TARDE,\nsegue o arquivo.\n" * 4,
}


def test_ordinary_mail_is_not_marked(gateway: Gateway) -> None:
    gateway.send(with_files("ordinary", ORDINARY, "Segue em anexo a nota fiscal.\n"))
    assert unopened(gateway, "ordinary") == set()
    assert gateway.report("ordinary")["content_type"] == "Clean"


def test_names_in_an_archive_that_cannot_be_unpacked_are_checked(gateway: Gateway) -> None:
    for kind, name in (("harmless", "notes.txt"), ("banned", "tool.exe")):
        gateway.send(with_files(f"{kind} in rar", {"a.rar": in_rar4(GARBAGE, name, method=0x33)}))
        assert unopened(gateway, f"{kind} in rar") == {"a.rar"}
    assert gateway.report("harmless in rar")["content_type"] == "Unchecked"
    assert gateway.report("banned in rar")["content_type"] == "Banned"


def test_an_archive_after_a_broken_one_is_opened(gateway: Gateway) -> None:
    broken = bytearray(in_zip(GARBAGE, "a.txt"))
    broken[60] ^= 255
    gateway.send(with_files("second", {"first.zip": bytes(broken), "second.zip": in_zip(PROGRAM)}))
    assert unopened(gateway, "second") == {"first.zip"}
    assert gateway.report("second")["content_type"] == "Banned"
