"""The bodies of requests: read whole, of the expected kind, with the expected fields, or refused.

The content type is checked first: a page of another site can make a browser send forms and plain text without asking,
but not JSON. Sizes are bounded by `web.security.Guard` before anything gets here.
"""

from __future__ import annotations

from typing import TypeVar
from urllib.parse import parse_qsl

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request

from chatd.errors import InvalidInput, MalformedFrame

T = TypeVar("T")

FIELDS_MAX = 20


def _require_type(request: Request, expected: str) -> None:
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != expected:
        raise HTTPException(415)


async def read_json(request: Request, kind: type[T]) -> T:
    """The body as this struct. Raises a refusal with the name of the field that is off."""
    _require_type(request, "application/json")
    try:
        return msgspec.json.decode(await request.body(), type=kind)
    except msgspec.ValidationError as error:
        raise InvalidInput(str(error)) from None
    except msgspec.DecodeError:
        raise MalformedFrame("the body is not JSON") from None


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form as browsers send it without files. Of a field that is given twice, nothing is believed."""
    _require_type(request, "application/x-www-form-urlencoded")
    try:
        pairs = parse_qsl(
            (await request.body()).decode("utf-8"), keep_blank_values=True, max_num_fields=FIELDS_MAX, errors="strict"
        )
    except ValueError:
        raise InvalidInput("the form cannot be read") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise InvalidInput("a field of the form was given twice")
    return fields
