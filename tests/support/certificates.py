"""Keys and certificates to serve."""

import subprocess
from pathlib import Path


def private_key() -> str:
    """An RSA key."""
    command = ["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def pair(directory: Path, name: str) -> dict[str, str]:
    """A key and a certificate of its own for that name, as a Secret has them."""
    key, certificate = directory / f"{name}.key", directory / f"{name}.crt"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "30", "-subj", f"/CN={name}", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return {"tls.key": key.read_text(), "tls.crt": certificate.read_text()}
