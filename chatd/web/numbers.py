"""`GET /metrics`: the process's numbers for a metrics server, for whoever shows the operator's token."""

from __future__ import annotations

import hmac

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from chatd.errors import NotAuthenticated, NotFound
from chatd.metrics import Metrics

CONTENT_TYPE = "text/plain; version=0.0.4"  # the Prometheus text format


def number_routes(metrics: Metrics, token: str) -> list[Route]:
    """Without a token set there is no such page: numbers tell a stranger how a shop is doing."""

    async def show(request: Request) -> Response:
        if not token:
            raise NotFound("no such page")
        shown = request.headers.get("authorization", "")
        if not hmac.compare_digest(shown.encode(), f"Bearer {token}".encode()):
            raise NotAuthenticated("show the metrics token: Authorization: Bearer …")
        return PlainTextResponse(metrics.render(), media_type=CONTENT_TYPE, headers={"Cache-Control": "no-store"})

    return [Route("/metrics", show, methods=["GET"])]
