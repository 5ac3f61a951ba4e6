"""The server of the app: its addresses, and how it is started."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from importlib import resources

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from invdesign.errors import InputError, InvdesignError
from invdesign.web import pages
from invdesign.web.folder import Runs
from invdesign.web.guard import Guard, TooLargeError

ASSETS = {"app.css": "text/css", "compose.js": "text/javascript", "run.js": "text/javascript"}


def application(runs: Runs, port: int, hosts: list[str] | None = None) -> Starlette:
    """The app for a folder of runs.

    Args:
        runs: the folder.
        port: it is part of the cookie's name, so that two apps on one machine do not disturb each other.
        hosts: names under which it may be asked (None: those of this machine itself).
    """
    get = {
        "/": pages.overview,
        "/compose": pages.composed,
        "/compare": pages.compared,
        "/distribution/{name}": pages.of_property,
        "/runs/{name}": pages.shown,
        "/runs/{name}/progress": pages.progress,
        "/runs/{name}/export/{form}": pages.exported,
        "/runs/{name}/{path:path}": pages.file,
    }
    post = {
        "/estimate": pages.estimated,
        "/runs": pages.started,
        "/runs/{name}/feedback": pages.told,
        "/runs/{name}/stop": pages.stopped,
        "/runs/{name}/resume": pages.resumed,
    }
    routes = [Route("/assets/{name}", _asset, methods=["GET"])]
    for method, addresses in (("POST", post), ("GET", get)):
        routes += [Route(path, pages.guarded(answer), methods=[method]) for path, answer in addresses.items()]
    app = Starlette(
        routes=routes,
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=hosts or ["127.0.0.1", "localhost"]),
            Middleware(Guard, token=runs.token(), cookie=f"invdesign_{port}"),
        ],
        exception_handlers={HTTPException: _said, TooLargeError: _too_large, Exception: _defect},
    )
    app.state.runs = runs
    return app


def _asset(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in ASSETS:
        raise HTTPException(404)
    text = resources.files("invdesign.web.assets").joinpath(name).read_text(encoding="utf-8")
    return Response(text, media_type=ASSETS[name])


def _said(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    lines = {404: "there is no such page", 405: "this page cannot be asked that way"}
    return pages.failed(request, lines.get(error.status_code, str(error.detail)), error.status_code)


def _too_large(request: Request, error: Exception) -> Response:
    return pages.failed(request, TooLargeError.line, 413)


def _defect(request: Request, error: Exception) -> Response:
    line = f"unexpected {type(error).__name__}: {error} (a defect of invdesign; the terminal has the traceback)"
    return pages.failed(request, line, 500)


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        InputError: if the address is none of this machine, or taken.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        found = socket.socket(family, socket.SOCK_STREAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((host, port))
            found.listen(128)  # from here on a browser waits for the answer
        except OSError:
            found.close()
            raise
    except OSError as error:
        allowed = f"a free port of an address of this machine ({error.strerror}); --port 0 takes any free one"
        raise InputError("address", f"{host}:{port}", allowed) from None
    return found


def serve(runs: Runs, host: str, port: int, announce: Callable[[str], object] = print) -> None:
    """Serve the app until it is interrupted; runs that it started go on without it.

    Args:
        runs: the folder of runs.
        host: address to listen at.
        port: 0 for any free one.
        announce: is called with the address to open, token included.

    Raises:
        InputError: if the address cannot be used.
    """
    socket_ = listening(host, port)
    port = socket_.getsockname()[1]
    shown = f"[{host}]" if ":" in host else "127.0.0.1" if host == "0.0.0.0" else host
    app = application(runs, port, None if host in ("127.0.0.1", "localhost") else ["*"])
    threading.Thread(target=_warm, daemon=True).start()
    announce(f"http://{shown}:{port}/?token={runs.token()}")
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2)
    uvicorn.Server(config).run(sockets=[socket_])


def _warm() -> None:
    """Read what the first page needs while it is not asked for yet."""
    from invdesign.web.distribution import distribution
    from invdesign.web.form import offered

    with suppress(InvdesignError):
        offered()
        distribution("bulk_modulus")
