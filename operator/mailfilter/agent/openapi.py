"""The API of the agent beside amavis as an OpenAPI document, made from the models that the handlers use."""

from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any

from pydantic.json_schema import models_json_schema

from mailfilter.agent.backup import MEDIA_TYPE
from mailfilter.agent.bulk import BulkRequest
from mailfilter.agent.expiry import ExpiryAnswer, ExpiryRequest
from mailfilter.agent.held import Details, Page, Paging, Quarantine
from mailfilter.agent.preview import Preview
from mailfilter.agent.restore import ImportReport
from mailfilter.agent.search import Query
from mailfilter.api.fields import Model
from mailfilter.api.release import ReleaseProgress

PATH = "/v1/openapi.json"
_REF = "#/components/schemas/{model}"


@dataclass(frozen=True)
class Operation:
    """What can be done, as the document says it."""

    method: str
    path: str
    summary: str
    answer: type[Model] | str | None = None
    """A model, a media type, or nothing."""
    body: type[Model] | str | None = None
    query: tuple[type[Model], ...] = ()
    errors: tuple[int, ...] = ()


_ONE = "/v1/held/{id}"
OPERATIONS = (
    Operation("get", PATH, "This document", "application/json"),
    Operation("get", "/v1/status", "What the operator asks: policy in force, quarantine", "application/json"),
    Operation("get", "/v1/quarantine", "How much mail is held, by kind and age", Quarantine),
    Operation(
        "get",
        "/v1/held",
        "Held mail that meets all conditions, the newest first",
        Page,
        query=(Query, Paging),
        errors=(400,),
    ),
    Operation("get", _ONE, "One held mail", Details, errors=(404, 422)),
    Operation("delete", _ONE, "Delete a held mail for good", errors=(404,)),
    Operation("get", f"{_ONE}/preview", "Text and harmless HTML of a held mail", Preview, errors=(404, 422)),
    Operation(
        "get", f"{_ONE}/raw", "The mail as it is stored, with the header of amavis", "message/rfc822", errors=(404, 422)
    ),
    Operation("put", f"{_ONE}/seen", "Note that somebody has looked at the mail", errors=(404,)),
    Operation(
        "get",
        "/v1/export",
        "An archive of the held mail that meets all conditions (docs/backup.md); X-Held-Messages and X-Held-Bytes say "
        "beforehand how much it is about",
        MEDIA_TYPE,
        query=(Query,),
        errors=(400, 409, 503),
    ),
    Operation(
        "post",
        "/v1/import",
        "Hold the mails of an archive; the answer to an import that ended early (422, 503, 507) says how far it came",
        ImportReport,
        body=MEDIA_TYPE,
        errors=(409, 422, 503, 507),
    ),
    Operation(
        "post",
        "/v1/releases",
        "Go on with giving held mail back, for some seconds; to be asked again until nextSeconds is null",
        ReleaseProgress,
        body=BulkRequest,
        errors=(400, 415, 503),
    ),
    Operation(
        "post",
        "/v1/expiry",
        "Delete what has been held for too long, or is too much",
        ExpiryAnswer,
        body=ExpiryRequest,
        errors=(400, 415, 503),
    ),
)
_ERRORS = {
    400: "The request is wrong; the error says where.",
    401: "The token is wrong.",
    403: "A page of another site has sent the request.",
    404: "There is no such held mail.",
    409: "It is under way already.",
    415: "The body is not application/json.",
    422: "The file cannot be read as a mail; the archive is none, or not whole.",
    503: "Not now; the error says why.",
    507: "There is no room.",
}


@cache
def document() -> dict[str, Any]:
    """OpenAPI 3.1 (https://spec.openapis.org/oas/v3.1.1)."""
    models = {one for each in OPERATIONS for one in (each.answer, each.body, *each.query) if isinstance(one, type)}
    _, schemas = models_json_schema(
        [(model, "serialization") for model in sorted(models, key=lambda one: one.__name__)], ref_template=_REF
    )
    error = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
    paths: dict[str, Any] = {}
    for each in OPERATIONS:
        paths.setdefault(each.path, {})[each.method] = _operation(each, schemas["$defs"])
    return {
        "openapi": "3.1.0",
        "info": {"title": "MailFilter quarantine", "version": version("mailfilter-operator")},
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"] | {"Error": error},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(each: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "query", "schema": schema, "description": schema.get("description", "")}
        for model in each.query
        for name, schema in schemas[model.__name__]["properties"].items()
    ]
    if "{id}" in each.path:
        about = "Quarantine id, whose slashes stand as they are, such as spam/h/hAbcDEfgh123.gz"
        parameters.append(
            {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}, "description": about}
        )
    responses: dict[str, Any] = {"200" if each.answer else "204": {"description": each.summary} | _content(each.answer)}
    for code in (401, 403, *each.errors):
        responses[str(code)] = {"description": _ERRORS[code], "content": _json("Error")}
    found: dict[str, Any] = {"summary": each.summary, "responses": responses}
    if parameters:
        found["parameters"] = parameters
    if each.body:
        found["requestBody"] = {"required": True} | _content(each.body)
    return found


def _content(answer: type[Model] | str | None) -> dict[str, Any]:
    if answer is None:
        return {}
    if isinstance(answer, str):
        return {"content": {answer: {}}}
    return {"content": _json(answer.__name__)}


def _json(model: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _REF.format(model=model)}}}
