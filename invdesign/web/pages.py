"""The pages of the app: each reads the folder of runs and answers; long work is that of threads and processes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response

from invdesign import __version__
from invdesign.app.export import export_run
from invdesign.app.plan import plan
from invdesign.errors import InputError, InvdesignError
from invdesign.report.export import has_ledger
from invdesign.report.formats import FORMATS
from invdesign.web import candidates, feedback, form, processes
from invdesign.web.distribution import distribution
from invdesign.web.folder import Runs
from invdesign.web.guard import REPORT_POLICY
from invdesign.web.state import State, state, workers_of

MOST_FIELDS = 200
_templates = Environment(
    loader=PackageLoader("invdesign.web"),
    autoescape=select_autoescape(),
    undefined=StrictUndefined,
    trim_blocks=True,
)
_templates.globals |= {"version": __version__, "html": Markup}


def page(template: str, status: int = 200, **values: Any) -> Response:
    """A page from its template."""
    return HTMLResponse(_templates.get_template(f"{template}.html").render(values), status_code=status)


def failed(request: Request, line: str, status: int = 400) -> Response:
    """The one line that the command line would say, for a script or on a page."""
    if "application/json" in request.headers.get("accept", ""):
        return JSONResponse({"error": line}, status_code=status)
    return page("message", status, title="That did not work", line=line)


def _runs(request: Request) -> Runs:
    runs: Runs = request.app.state.runs
    return runs


def overview(request: Request) -> Response:
    """All runs of the folder."""
    runs = _runs(request)
    return page("runs", runs=[state(runs, name) for name in runs.names()], root=str(runs.root))


def composed(request: Request) -> Response:
    """The form of a query."""
    runs = _runs(request)
    names = (f"run-{k}" for k in count(1))
    free = next(name for name in names if not (runs.root / name).exists())
    return page("compose", name=free, **form.offered())


def of_property(request: Request) -> Response:
    """The distribution of a property among the known crystals."""
    answer = JSONResponse(distribution(request.path_params["name"]))
    answer.headers["cache-control"] = "private, max-age=3600"
    return answer


async def _filled(request: Request) -> form.Filled:
    async with request.form(max_files=10, max_fields=MOST_FIELDS) as data:
        columns = [[str(v) for v in data.getlist(f"target_{c}")] for c in ("property", "operator", "value", "to")]
        starts = [
            form.Upload(file.filename or "", await file.read())
            for file in data.getlist("start")
            if isinstance(file, UploadFile) and file.filename
        ]
        return form.Filled(_texts(data), [(a, b, c, d) for a, b, c, d in zip(*columns, strict=False)], starts)


def _texts(data: FormData) -> dict[str, str]:
    return {key: value for key, value in data.items() if isinstance(value, str)}


async def estimated(request: Request) -> Response:
    """What a run would do and cost, and what is known: `design --dry-run`."""
    filled = await _filled(request)

    def work() -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            found = plan(filled.checked(filled.wishes(Path(folder))), filled.run().get("workers"))
        return {"lines": found.lines(), "warning": found.known.warning(), "minutes": found.minutes}

    return JSONResponse(await run_in_threadpool(work))


async def started(request: Request) -> Response:
    """Start a run."""
    filled = await _filled(request)
    name = await run_in_threadpool(form.start, _runs(request), filled)
    if "application/json" in request.headers.get("accept", ""):
        return JSONResponse({"location": f"/runs/{name}"})
    return RedirectResponse(f"/runs/{name}", status_code=303)


def shown(request: Request) -> Response:
    """A run: how it stands, and its candidates."""
    runs, name = _runs(request), request.path_params["name"]
    now = state(runs, name)
    return page("run", run=now, listed=_listed(runs, now, request.query_params), formats=list(FORMATS))


def _listed(runs: Runs, now: State, query: Mapping[str, str]) -> dict[str, Any] | None:
    """The candidates that are shown; None where there is no list."""
    if now.found is None:
        return None
    found = candidates.run(runs.run(now.name))
    heads, wanted, problem = candidates.shown(found), candidates.Wanted(), ""
    try:
        wanted = candidates.Wanted.of(query)
    except InputError as error:
        problem = str(error)
    rows = wanted.chosen(found.rows)
    return {
        "heads": [{"key": c.key, "head": Markup(c.head), "unit": Markup(c.unit), "title": c.title} for c in heads],
        "lines": candidates.lines(found, rows, heads),
        "all": len(found.rows),
        "wanted": wanted,
        "problem": problem,
        "flags": [flag for flag, column in candidates.FLAGS.items() if any(column in row for row in found.rows)],
        "ids": [(str(row.get("id")), str(row.get("formula"))) for row in found.rows],
        "properties": feedback.measurable(found),
    }


def progress(request: Request) -> Response:
    """How a run stands, for the scripts of its page."""
    return JSONResponse(state(_runs(request), request.path_params["name"]).to_dict())


def stopped(request: Request) -> Response:
    """Stop a run."""
    runs, name = _runs(request), request.path_params["name"]
    runs.run(name)
    processes.stop(runs, name)
    return RedirectResponse(f"/runs/{name}", status_code=303)


async def resumed(request: Request) -> Response:
    """Go on with a run, or search on after it."""
    runs, name = _runs(request), request.path_params["name"]
    async with request.form(max_files=0, max_fields=MOST_FIELDS) as data:
        more = str(data.get("more", "")).strip()
    await run_in_threadpool(_resume, runs, name, more)
    return RedirectResponse(f"/runs/{name}", status_code=303)


def _resume(runs: Runs, name: str, more: str) -> None:
    folder = runs.run(name)
    if not has_ledger(folder):
        raise InputError("run", name, "one that has begun: there is nothing to go on with; compose it anew")
    added: list[str] = []
    if more:
        if not more.isdecimal() or not 0 < int(more) <= 1_000_000:
            raise InputError("relaxations to add", more, "a whole number from 1 to 1000000")
        added = ["--more", more]
    processes.start(runs, name, ["resume", str(folder), *added, *workers_of(runs, name)])


async def told(request: Request) -> Response:
    """Values that came back: a table, or one value of one candidate."""
    runs, name = _runs(request), request.path_params["name"]
    async with request.form(max_files=1, max_fields=MOST_FIELDS) as data:
        fields, file = _texts(data), data.get("results")
        sent = (
            form.Upload(file.filename, await file.read())
            if isinstance(file, UploadFile) and file.filename
            else None
        )
    await run_in_threadpool(feedback.start, runs, name, sent, fields)
    return RedirectResponse(f"/runs/{name}", status_code=303)


def exported(request: Request) -> Response:
    """The candidates of a run in one format."""
    runs, name, wanted = _runs(request), request.path_params["name"], request.path_params["form"]
    if wanted not in FORMATS:
        raise InputError("format", wanted, sorted(FORMATS))
    folder = Path(tempfile.mkdtemp(prefix="invdesign-"))
    clean = BackgroundTask(shutil.rmtree, folder, ignore_errors=True)
    try:
        (path,) = export_run(runs.run(name), [wanted], folder / FORMATS[wanted].name)
        if path.is_dir():
            path = Path(shutil.make_archive(str(path), "zip", path))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return FileResponse(path, filename=f"{name}-{path.name}", background=clean)


def file(request: Request) -> Response:
    """A file of a run: its report, tables and CIF files."""
    path = _runs(request).file(request.path_params["name"], request.path_params["path"])
    if path.suffix == ".html":
        return FileResponse(path, headers={"content-security-policy": REPORT_POLICY})
    kinds = {".cif": "chemical/x-cif", ".bib": "text/plain", ".csv": "text/csv"}
    return FileResponse(path, filename=path.name, media_type=kinds.get(path.suffix))


def compared(request: Request) -> Response:
    """Candidates side by side, or two runs."""
    runs, query = _runs(request), request.query_params
    if names := query.getlist("run"):
        return page("compare_runs", **candidates.two_runs(runs, names))
    return page("compare", **candidates.side_by_side(runs, query.getlist("c")))


def guarded(answer: Callable[[Request], Any]) -> Callable[[Request], Any]:
    """A page on which an error of the user is its one line."""

    async def call(request: Request) -> Response:
        try:
            found: Any = answer(request) if _is_async(answer) else run_in_threadpool(answer, request)
            response: Response = await found
        except InvdesignError as error:
            return failed(request, " ".join(str(error).split()))
        return response

    return call


def _is_async(function: Callable[..., Any]) -> bool:
    from inspect import iscoroutinefunction

    return iscoroutinefunction(function)
