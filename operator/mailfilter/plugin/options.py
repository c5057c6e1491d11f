"""Options that several commands have, and what a shell may offer for them."""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from functools import wraps
from re import fullmatch
from typing import Any, get_args

import click
from click.shell_completion import CompletionItem
from pydantic import TypeAdapter, ValidationError

from mailfilter.api.fields import EmailAddress, QuarantineId
from mailfilter.api.selection import Kind
from mailfilter.plugin.agent import connected
from mailfilter.plugin.errors import PluginError
from mailfilter.plugin.kubectl import MAILFILTERS, Kubectl
from mailfilter.plugin.text import line

Command = Callable[..., None]

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_OFFERED = 100
_id: TypeAdapter[str] = TypeAdapter(QuarantineId)
_address: TypeAdapter[str] = TypeAdapter(EmailAddress)


class HeldId(click.ParamType[str]):
    """A quarantine id; the shell offers the newest held mails."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """As click.ParamType."""
        try:
            return _id.validate_python(value)
        except ValidationError as error:
            self.fail(f"{value!r} {error.errors()[0]['ctx']['error']}", param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """As click.ParamType."""
        with suppress(PluginError), connected(_kubectl(ctx), ctx.params.get("mailfilter")) as agent:
            found = agent.search({}, _OFFERED)["items"]
            given = ctx.params.get(param.name or "") or ()
            return [
                CompletionItem(one["id"], help=line(f"{one['sender'] or '<>'}: {one['subject']}")[:80])
                for one in found
                if one["id"].startswith(incomplete) and one["id"] not in given
            ]
        return []


class Address(click.ParamType[str]):
    """A mail address."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """As click.ParamType."""
        try:
            return _address.validate_python(value)
        except ValidationError as error:
            self.fail(f"{value!r} {error.errors()[0]['ctx']['error']}", param, ctx)


class Moment(click.ParamType[datetime]):
    """A time: 2026-11-24, 2026-11-24T10:00 (local time if no zone is given), or such as 2d: two days ago."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """As click.ParamType."""
        if isinstance(value, datetime):
            return value
        try:
            if ago := fullmatch(r"(\d{1,6})([mhdw])", value):
                return datetime.now().astimezone() - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
            return datetime.fromisoformat(value).astimezone()
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no time such as 2026-11-24, 2026-11-24T10:00Z or 2d (two days ago)", param, ctx)


def cluster(command: Command) -> Command:
    """-n, --context, --kubeconfig: the command gets `kubectl`."""

    @click.option("-n", "--namespace", shell_complete=_namespaces, help="The MailFilter's namespace.")
    @click.option("--context", shell_complete=_contexts, help="Context of the kubeconfig.")
    @click.option("--kubeconfig", type=click.Path(), help="The kubeconfig file.")
    @wraps(command)
    def with_kubectl(namespace: str | None, context: str | None, kubeconfig: str | None, **more: Any) -> None:
        command(kubectl=Kubectl(namespace, context, kubeconfig), **more)

    return with_kubectl


mailfilter = click.option(
    "-m",
    "--mailfilter",
    metavar="NAME",
    shell_complete=lambda ctx, _param, incomplete: _names(ctx, incomplete, "get", MAILFILTERS, "--output=name"),
    help="The MailFilter; it may be left out where the namespace has one.",
)
output = click.option("-o", "--output", type=click.Choice(["json", "yaml"]), help="Print a document, not a table.")
ids = click.argument("ids", metavar="[ID]...", nargs=-1, type=HeldId())


def conditions(command: Command) -> Command:
    """Which held mails: the command gets `conditions`, by the names of the API."""

    @click.option("--kind", type=click.Choice(get_args(Kind)), help="Why it is held.")
    @click.option("--sender", help="Envelope sender: an address, or @example.com.")
    @click.option("--recipient", help="One who did not get it: an address, or @example.com.")
    @click.option("--subject", help="Part of the subject.")
    @click.option("--since", type=Moment(), help="Held at this time or later: 2026-11-24, or 2d (two days ago).")
    @click.option("--until", type=Moment(), help="Held before this time.")
    @click.option("--min-score", type=float, help="With this score or a higher one.")
    @click.option("--max-score", type=float, help="With this score or a lower one.")
    @wraps(command)
    def with_conditions(**given: Any) -> None:
        fields = ("kind", "sender", "recipient", "subject", "since", "until", "min_score", "max_score")
        wanted = {_camel(name): given.pop(name) for name in fields}
        found = {
            name: value.isoformat(timespec="seconds") if isinstance(value, datetime) else value
            for name, value in wanted.items()
            if value is not None
        }
        command(conditions=found, **given)

    return with_conditions


def ids_or_conditions(ids: tuple[str, ...], conditions: dict[str, Any], limit: int | None) -> None:
    """Raises UsageError unless mails are either named or described."""
    if bool(ids) == bool(conditions):
        raise click.UsageError(
            "say which mails: either by their ids, or by conditions such as --sender, of which all must be true"
        )
    if limit and not conditions:
        raise click.UsageError("--limit bounds what conditions find")


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(map(str.title, rest))


def _kubectl(ctx: click.Context) -> Kubectl:
    return Kubectl(*(ctx.params.get(name) for name in ("namespace", "context", "kubeconfig")))


def _names(ctx: click.Context, incomplete: str, *command: str) -> list[CompletionItem]:
    try:
        printed = _kubectl(ctx).run(*command)
    except PluginError:
        return []
    found = [one.rpartition("/")[2] for one in printed.split()]
    return [CompletionItem(one) for one in found if one.startswith(incomplete)]


def _namespaces(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return _names(ctx, incomplete, "get", "namespaces", "--output=name")


def _contexts(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return _names(ctx, incomplete, "config", "get-contexts", "--output=name")
