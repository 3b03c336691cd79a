"""Pages out of templates, with everything that each of them needs: nonce, assets, language, security headers.

Every variable is escaped, and one that is missing is an error instead of an empty place, so that a test finds it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse

from chatd.config import Settings
from chatd.i18n import pick_locale, text, texts
from chatd.web.assets import Assets
from chatd.web.security import Answer, Facts, facts_of, page_headers


class Rendering:
    """The templates below `directory`. With `reload`, changed ones are noticed."""

    def __init__(self, settings: Settings, assets: Assets, directory: Path, *, reload: bool = False) -> None:
        self._settings = settings
        self._assets = assets
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(directory),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            auto_reload=reload,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        scheme, _, rest = settings.base_url.partition("://")
        self._socket = f"{'wss' if scheme == 'https' else 'ws'}://{rest}/v1/socket"

    @property
    def socket(self) -> str:
        """The address of the staff's socket; a customer's has a slash and the shop's key behind it."""
        return self._socket

    def page(self, connection: HTTPConnection, template: str, status: int = 200, **variables: Any) -> HTMLResponse:
        facts = facts_of(connection)
        content = self._environment.get_template(template).render(self._common(connection, facts) | variables)
        return HTMLResponse(content, status, page_headers(self._settings, facts.nonce))

    def error_page(self, connection: HTTPConnection, answer: Answer, facts: Facts) -> str:
        """For `web.security.Refusals`: what happened, in the reader's language, and how to name it to somebody."""
        locale = pick_locale(connection.headers.get("accept-language"))
        known = texts(locale, "error")
        reason = answer.facts.get("reason")
        kind = reason if reason in known else str(answer.status)
        if kind not in known:
            kind = "503" if answer.temporary else "400" if answer.status < 500 else "500"
        return self._environment.get_template("error.html").render(
            self._common(connection, facts)
            | {
                "title": known["title"],
                "sentence": text(locale, f"error.{kind}", **answer.facts),
                "back": known["back"],
                "request": text(locale, "error.request", id=facts.request),
            }
        )

    def _common(self, connection: HTTPConnection, facts: Facts) -> dict[str, Any]:
        return {
            "nonce": facts.nonce,
            "assets": self._assets.base,
            "locale": pick_locale(connection.headers.get("accept-language")),
        }
