"""Bodies of the API's requests and answers."""

import json
from typing import TypeVar

from aiohttp import web
from pydantic import ValidationError

from mailfilter.api.fields import Model

T = TypeVar("T", bound=Model)


def answer(model: Model) -> web.Response:
    """A model as JSON."""
    return web.json_response(text=model.model_dump_json(by_alias=True))


async def asked(request: web.Request, model: type[T]) -> T:
    """The body of a request. Raises HTTPBadRequest; HTTPUnsupportedMediaType for what a form may send to any site."""
    if request.content_type != "application/json":
        raise problem(web.HTTPUnsupportedMediaType, "the body must be application/json")
    try:
        return model.model_validate_json(await request.read(), strict=True)
    except ValidationError as error:
        raise bad_request(error) from error


def problem(kind: type[web.HTTPError], text: str) -> web.HTTPError:
    """An error whose body says what is wrong."""
    return kind(text=json.dumps({"error": text}), content_type="application/json")


def bad_request(error: ValidationError) -> web.HTTPError:
    """What is wrong with a request, in one line."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    return problem(web.HTTPBadRequest, f"{where}: {first['msg']}")
