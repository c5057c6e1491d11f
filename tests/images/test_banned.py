"""Attachments that hide: in archives of every kind, under other names, in other mails."""

import io
import lzma
import struct
import tarfile
import zipfile
from collections.abc import Iterator

import pytest

from images.docker import Container, Lab
from images.gateway import Gateway, mail, policy, started_gateway

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
def gateway(images: dict[str, str], network: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with started_gateway(Lab(images, network, tmp_path_factory.mktemp("banned"))) as gateway:
        yield gateway


def in_zip(content: bytes, name: str = "notes.txt") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
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


def in_tnef(content: bytes) -> bytes:
    """winmail.dat with one attachment."""

    def attribute(level: int, identity: int, data: bytes) -> bytes:
        return struct.pack("<BII", level, identity, len(data)) + data + struct.pack("<H", sum(data) & 0xFFFF)

    return (
        struct.pack("<IH", 0x223E9F78, 1)
        + attribute(1, 0x00089006, struct.pack("<I", 0x00010000))
        + attribute(2, 0x00069002, struct.pack("<HIHHHH", 1, 0xFFFFFFFF, 0, 0, 0, 0))
        + attribute(2, 0x00018010, b"tool.exe\0")
        + attribute(2, 0x0006800F, content)
    )


def compressed(how: str, content: bytes, amavis: Container) -> bytes:
    """With the image's own tool."""
    script = f"cd /tmp && rm -rf c && mkdir c && cd c && cat > n && {TOOLS[how]} n >/dev/null 2>&1; cat n.*"
    return amavis.run("sh", "-c", script, stdin=content).stdout


TOOLS = {
    "bz2": "bzip2",
    "lzma": "xz --format=lzma",
    "lz4": "lz4 -q",
    "lzo": "lzop",
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
    return {
        "as it is": ("notes.txt", content),
        "renamed": ("report.pdf", content),
        "zip": ("a.zip", in_zip(content)),
        "zip in zip": ("a.zip", in_zip(in_zip(content), "b.zip")),
        "renamed zip": ("a.pdf", in_zip(content)),
        "tar.gz": ("a.tar.gz", in_tar_gz(content)),
        "xz": ("a.xz", lzma.compress(content)),
    }[how]


@pytest.mark.parametrize("how", ["as it is", "renamed", "zip", "zip in zip", "renamed zip", "tar.gz", "xz", "7z"])
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
