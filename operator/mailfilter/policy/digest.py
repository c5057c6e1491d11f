"""What recipients are told of held mail."""

from mailfilter.api.digest import Digest
from mailfilter.api.digestpolicy import DigestPolicy, Settings
from mailfilter.api.mailfilter import MailFilterSpec
from mailfilter.api.template import DEFAULT_TEMPLATE
from mailfilter.policy.keys import BySetting


def digest(spec: MailFilterSpec, template: str | None) -> DigestPolicy | None:
    """The settings of a MailFilter; None when nobody gets a digest. template: in place of the default one."""
    rendered = BySetting(spec).of(lambda one: {name: getattr(one.digest, name) for name in Digest.model_fields})
    settings = Settings.model_validate(rendered)
    if not settings.enabled:
        return None
    return DigestPolicy(
        hostname=spec.hostname.lower(),
        suspended=spec.filtering.suspended != "None",
        template=DEFAULT_TEMPLATE if template is None else template,
        settings=settings,
    )
