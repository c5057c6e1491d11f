"""Settings of the operator, from the environment (the chart sets them)."""

from functools import lru_cache
from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from mailfilter.stack.common import Images

Names = Annotated[tuple[str, ...], NoDecode]


class Settings(BaseSettings):
    """Environment variables `MAILFILTER_<NAME>`; lists are separated by commas."""

    model_config = SettingsConfigDict(env_prefix="MAILFILTER_", frozen=True)

    image_operator: str
    """Image of this program, which is also the agents'."""
    image_postfix: str
    """Image of Postfix."""
    image_amavis: str
    """Image of amavis."""
    image_clamav: str
    """Image of clamd and freshclam."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """imagePullPolicy of the gateway's pods."""
    image_pull_secrets: Names = ()
    """imagePullSecrets of the gateway's pods."""
    watch_namespaces: Names = ()
    """Namespaces to serve; all when empty."""
    namespace: str = "default"
    """The operator's own namespace."""
    resync_seconds: Annotated[float, Field(gt=0)] = 600
    """How often everything is applied again, whether or not something changed."""
    observe_seconds: Annotated[float, Field(gt=0)] = 20
    """How often the state of a settled gateway is looked at."""
    dns_seconds: Annotated[float, Field(gt=0)] = 600
    """How often DNS is asked for the records that MailFilters need."""
    workers: Annotated[int, Field(ge=1, le=64)] = 4
    """Reconciles at a time."""
    log_format: Literal["text", "json"] = "text"
    """Format of the operator's log."""
    scrape_annotations: bool = True
    """Whether the gateway's pods carry prometheus.io annotations."""
    metrics_port: Annotated[int, Field(ge=1, le=65535)] = 8080
    """Port of /metrics and /healthz."""

    @field_validator("image_pull_secrets", "watch_namespaces", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @property
    def images(self) -> Images:
        """The images as the objects are built from them."""
        return Images(
            operator=self.image_operator,
            postfix=self.image_postfix,
            amavis=self.image_amavis,
            clamav=self.image_clamav,
            pull_policy=self.image_pull_policy,
            pull_secrets=self.image_pull_secrets,
        )


@lru_cache
def load() -> Settings:
    """The settings of this process."""
    return Settings()
