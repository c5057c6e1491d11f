"""`mailfilter plan --diff`, run as a user does."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from mailfilter.api import API_VERSION

Object = dict[str, Any]


class Plan:
    """One run of the command."""

    def __init__(self, kubeconfig: Path, namespace: str, name: str, spec: Object, *options: str) -> None:
        body = {"apiVersion": API_VERSION, "kind": "MailFilter", "metadata": {"name": name}, "spec": spec}
        command = [
            sys.executable,
            "-m",
            "mailfilter",
            "plan",
            "--diff",
            "-n",
            namespace,
            "--kubeconfig",
            str(kubeconfig),
            *options,
            "-",
        ]
        done = subprocess.run(command, input=yaml.safe_dump(body), capture_output=True, text=True, timeout=180)
        self.status, self.printed, self.errors = done.returncode, done.stdout, done.stderr
        self.lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
        rolling = [line for line in self.lines if line.startswith("rolls ") and line.endswith(")")]
        self.rolls = {line.rsplit(f"{name}-", 1)[1].removesuffix(")") for line in rolling}
