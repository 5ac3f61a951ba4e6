"""Who may ask what of the app: token, origin and size of a request, and what a browser is told to allow."""

from __future__ import annotations

import secrets
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.requests import cookie_parser
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST = 4 * 1024 * 1024
"""Bytes of a request, uploads included."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
REPORT_POLICY = "sandbox allow-scripts allow-downloads allow-popups"
"""A report is a file that others may have made: its scripts run, but not as those of this page."""
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class TooLargeError(Exception):
    """A request has more bytes than are read."""

    line = f"upload: a request of more than {LARGEST // 1024**2} MB is not read; send fewer or smaller files"


class Guard:
    """Lets requests through that bear the token, come from a page of the app itself and are not too large."""

    def __init__(self, app: ASGIApp, token: str, cookie: str) -> None:
        self._app, self._token, self._cookie = app, token, cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        answer = self._refusal(scope)
        if answer is None:
            await self._app(scope, _counted(receive), _with_headers(send))
        else:
            await answer(scope, receive, _with_headers(send))

    def _refusal(self, scope: Scope) -> Response | None:
        headers, query = Headers(scope=scope), QueryParams(scope["query_string"])
        if "token" in query and scope["method"] == "GET":
            if not self._same(query["token"]):
                return _unknown()
            answer = RedirectResponse(_without_token(scope["path"], query), status_code=303)
            answer.set_cookie(self._cookie, self._token, httponly=True, samesite="lax", path="/")
            return answer
        if not self._same(cookie_parser(headers.get("cookie", "")).get(self._cookie, "")):
            return _unknown()
        if scope["method"] not in ("GET", "HEAD") and not _own(headers):
            return PlainTextResponse("this request comes from another page; use the app's own pages\n", 403)
        if int(headers.get("content-length") or 0) > LARGEST:
            return PlainTextResponse(f"{TooLargeError.line}\n", 413)
        return None

    def _same(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), self._token.encode())


def _own(headers: Headers) -> bool:
    """Whether a request that changes something comes from a page of this server."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        return site == "same-origin"
    return origin is None or urlsplit(origin).netloc == headers.get("host")


def _without_token(path: str, query: QueryParams) -> str:
    rest = QueryParams([(key, value) for key, value in query.multi_items() if key != "token"])
    local = "/" + path.lstrip("/\\")
    return f"{local}?{rest}" if rest else local


def _unknown() -> Response:
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>invdesign: not let in</title></head>'
        "<body><main><h1>Please open the address that the terminal shows</h1><p>This page needs the token that "
        "<code>invdesign app</code> printed when it started, as in "
        "<code>http://127.0.0.1:8765/?token=…</code>. Copy the whole line.</p></main></body></html>"
    )
    return HTMLResponse(text, status_code=401)


def _counted(receive: Receive) -> Receive:
    """The body of a request, refused once it is too large."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > LARGEST:
            raise TooLargeError
        return message

    return counted


def _with_headers(send: Send) -> Send:
    async def told(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("content-security-policy", POLICY)
        await send(message)

    return told
