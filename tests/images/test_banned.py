"""Attachments that hide: in archives of every kind, under other names, in other mails."""

import io
import lzma
import struct
import tarfile
import zipfile
import zlib

import pytest

from images.configuration import policy
from images.docker import Container
from images.gateway import Gateway
from images.mails import mail
from support.mail import zipped

# The least that file(1) takes for a program of Windows; 68 bytes into its optional header, the graphical subsystem.
OPTIONAL = struct.pack("<H", 0x10B).ljust(68, b"\0") + struct.pack("<H", 2).ljust(156, b"\0")
PROGRAM = (
    b"MZ".ljust(60, b"\0")
    + struct.pack("<I4sHHIIIHH", 64, b"PE", 0x14C, 1, 0, 0, 0, len(OPTIONAL), 258)
    + OPTIONAL
    + b".text".ljust(552, b"\0")
)
HARMLESS = b"nothing but text\n" * 10


@pytest.fixture(scope="module")
def gateway(after_queue: Gateway) -> Gateway:
    return after_queue


def in_zip(content: bytes, name: str = "notes.txt") -> bytes:
    return zipped({name: content})


def in_jar(content: bytes) -> bytes:
    """What file(1) knows by the mark of its first member."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        manifest = zipfile.ZipInfo("META-INF/MANIFEST.MF")
        manifest.extra = b"\xfe\xca\0\0"
        archive.writestr(manifest, "Manifest-Version: 1.0\n")
        archive.writestr("notes.txt", content)
    return buffer.getvalue()


def in_tar_gz(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        entry = tarfile.TarInfo("notes.txt")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def in_7z(content: bytes, amavis: Container) -> bytes:
    """With the image's own tool."""
    script = "cd /tmp && cat > notes.txt && rm -f a.7z && 7z a a.7z notes.txt >/dev/null && cat a.7z"
    return amavis.run("sh", "-c", script, stdin=content).stdout


def in_tnef(content: bytes | None) -> bytes:
    """winmail.dat with one attachment, or with none."""

    def attribute(level: int, identity: int, data: bytes) -> bytes:
        return struct.pack("<BII", level, identity, len(data)) + data + struct.pack("<H", sum(data) & 0xFFFF)

    message = struct.pack("<IH", 0x223E9F78, 1) + attribute(1, 0x00089006, struct.pack("<I", 0x00010000))
    if content is None:
        return message
    return (
        message
        + attribute(2, 0x00069002, struct.pack("<HIHHHH", 1, 0xFFFFFFFF, 0, 0, 0, 0))
        + attribute(2, 0x00018010, b"tool.exe\0")
        + attribute(2, 0x0006800F, content)
    )


# Made by rar 7: notes.txt that is PROGRAM, and one that is HARMLESS.
RAR = {
    PROGRAM: """
        526172211a070100c1df5f56030104009bbc0a461b0202bb0004e006a483
        02cfb34550800501096e6f7465732e747874c4a638353542fa23fff9a62e
        60c245848387981f20d70c5bf09060dec3ac953ecf2e0f5359700be447a9
        ef154589fdf818c88ebd82b137d6dc2d001d77565103050400""",
    HARMLESS: """
        526172211a070100c1df5f560301040012f291b01b0202a10004aa01a483
        025d4dc12a800501096e6f7465732e747874c4801e33032fb32fc4565b12
        100e71ce241fe901117cae838aacc87d414726fbc01d77565103050400""",
}


def in_rar4(content: bytes, name: str = "notes.txt", method: int = 0x30) -> bytes:
    """An archive of RAR 4 whose one file is stored, or says that it is compressed."""

    def block(kind: int, flags: int, fields: bytes) -> bytes:
        head = struct.pack("<BHH", kind, flags, len(fields) + 7) + fields
        return struct.pack("<H", zlib.crc32(head) & 0xFFFF) + head

    file = struct.pack(
        "<IIBIIBBHI", len(content), len(content), 3, zlib.crc32(content), 0x5B0A0000, 29, method, len(name), 0o100644
    )
    return (
        b"Rar!\x1a\x07\0"
        + block(0x73, 0, bytes(6))
        + block(0x74, 0x8000, file + name.encode())
        + content
        + block(0x7B, 0x4000, b"")
    )


def in_archive(options: str, content: bytes, amavis: Container) -> bytes:
    """With the image's own tool."""
    script = f"mkdir /tmp/a && cd /tmp/a && cat > notes.txt && bsdtar -cf - {options} notes.txt && rm -r /tmp/a"
    return amavis.run("sh", "-c", script, stdin=content).stdout


def compressed(how: str, content: bytes, amavis: Container) -> bytes:
    """With the image's own tool."""
    script = f"cd /tmp && rm -rf c && mkdir c && cd c && cat > n && {TOOLS[how]} n >/dev/null 2>&1; cat n.*"
    return amavis.run("sh", "-c", script, stdin=content).stdout


TOOLS = {
    "bz2": "bzip2",
    "lzma": "xz --format=lzma",
    "lz4": "lz4 -q",
    "lzo": "lzop",
    "lrz": "lrzip -Q",
    "xz": "xz",
    "zst": "zstd -q",
    "Z": "compress -f",
    "arj": "arj a n.arj",
}


@pytest.mark.parametrize("how", TOOLS)
def test_b56_a_program_is_found_in_compressed_files(gateway: Gateway, how: str) -> None:
    gateway.set_policy(policy())
    for kind, content in (("program", PROGRAM), ("harmless", HARMLESS)):
        message = mail(f"{kind} compressed {how}", "see attachment")
        octets = compressed(how, content, gateway.amavis)
        assert len(octets) > 20
        message.add_attachment(octets, maintype="application", subtype="octet-stream", filename=f"a.{how}")
        gateway.send(message)
    assert gateway.report(f"program compressed {how}")["content_type"] == "Banned"
    assert gateway.report(f"harmless compressed {how}")["content_type"] == "Clean"


def packed(how: str, content: bytes, amavis: Container) -> tuple[str, bytes]:
    """A file name and the content in that packing."""
    if how == "7z":
        return "a.7z", in_7z(content, amavis)
    if how in ARCHIVES:
        return f"a.{how}", in_archive(ARCHIVES[how], content, amavis)
    return {
        "as it is": ("notes.txt", content),
        "renamed": ("report.pdf", content),
        "zip": ("a.zip", in_zip(content)),
        "zip in zip": ("a.zip", in_zip(in_zip(content), "b.zip")),
        "renamed zip": ("a.pdf", in_zip(content)),
        "tar.gz": ("a.tar.gz", in_tar_gz(content)),
        "xz": ("a.xz", lzma.compress(content)),
        "rar": ("a.rar", bytes.fromhex(RAR[content])),
        "rar4": ("a.rar", in_rar4(content)),
        "jar": ("a.jar", in_jar(content)),
    }[how]


ARCHIVES = {"tar.lz": "--lzip", "iso": "--format=iso9660", "xar": "--format=xar", "cpio": "--format=newc"}
HIDING = [
    "as it is",
    "renamed",
    "zip",
    "zip in zip",
    "renamed zip",
    "jar",
    "tar.gz",
    "xz",
    "7z",
    "rar",
    "rar4",
    *ARCHIVES,
]


@pytest.mark.parametrize("how", HIDING)
def test_b56_a_program_is_found_wherever_it_hides(gateway: Gateway, how: str) -> None:
    gateway.set_policy(policy())
    for kind, content in (("program", PROGRAM), ("harmless", HARMLESS)):
        name, octets = packed(how, content, gateway.amavis)
        message = mail(f"{kind} {how}", "see attachment")
        message.add_attachment(octets, maintype="application", subtype="octet-stream", filename=name)
        gateway.send(message)
    assert gateway.report(f"program {how}")["content_type"] == "Banned"
    assert gateway.report(f"program {how}")["quarantine"].startswith("banned/")
    assert gateway.report(f"harmless {how}")["content_type"] == "Clean"


def test_b57_winmail_dat_does_not_hide_a_program(gateway: Gateway) -> None:
    gateway.set_policy(policy())
    message = mail("winmail", "see attachment")
    message.add_attachment(in_tnef(HARMLESS), maintype="application", subtype="ms-tnef", filename="winmail.dat")
    gateway.send(message)
    report = gateway.report("winmail")
    assert report["content_type"] == "Banned"
    assert report["quarantine"].startswith("banned/")


@pytest.mark.parametrize(
    ("name", "wanted", "content_type"),
    [
        ("invoice.pdf.cmd", True, "Banned"),
        ("invoice.pdf.cmd", False, "Clean"),
        ("tool.cmd", True, "Clean"),
    ],
)
def test_double_extensions(gateway: Gateway, name: str, wanted: bool, content_type: str) -> None:
    rules = policy()["banned"]["default"] | {"doubleExtensions": wanted}
    gateway.set_policy(policy(banned={"default": rules, "by": {}}))
    message = mail(f"double {name} {wanted}", "see attachment")
    message.add_attachment(HARMLESS, maintype="application", subtype="octet-stream", filename=name)
    gateway.send(message)
    assert gateway.report(f"double {name} {wanted}")["content_type"] == content_type
