"""Where the agent finds its daemon."""

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Paths and ports of one pod as in docs/architecture.md; `AGENT_…` in the environment overrides them.

    Raises pydantic's ValidationError for a value of the wrong type.
    """

    model_config = SettingsConfigDict(env_prefix="AGENT_", frozen=True)

    token_file: Path = Path("/etc/mailfilter/agent/token")
    metrics_port: int = 9090
    api_port: int = 8081

    policy_file: Path = Path("/etc/mailfilter/policy/policy.json")
    amavis_run: Path = Path("/run/amavis")
    quarantine: Path = Path("/var/lib/amavis/quarantine")
    index: Path = Path("/tmp/held.sqlite")
    amavis_port: int = 10024
    parallel_releases: Annotated[int, Field(ge=1)] = 1
    """How many held mails are given back at a time; each occupies one of amavis' processes."""
    reinjection: str = "localhost:10025"
    """Where digests go: Postfix' reinjection, as host:port."""
    signs: bool = False
    """amavis has keys to look at."""

    table_sources: Path = Path("/etc/mailfilter/postfix")
    tables: Path = Path("/var/lib/mailfilter/tables")
    spool: Path = Path("/var/spool/postfix")
    smtp_port: int = 2525
    reinjection_port: int = 10025
    dnsbl_sites: str = ""
    """DNS block lists to look at, separated by commas."""
    upstream_proxy: bool = False
    """Port 2525 wants a PROXY header before the dialogue."""

    signatures: Path = Path("/var/lib/clamav")
    mirror_port: int = 8080
