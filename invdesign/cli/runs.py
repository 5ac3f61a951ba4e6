"""Commands on runs as a whole: status, runs, check-ledger."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from invdesign.cli.options import FORCE, JSON

LIST = "list"


@click.command(short_help="How far a run has come.")
@click.argument("run", metavar="DIR|URL")
@JSON
def status(run: str, as_json: bool) -> None:
    """Say how far a run has come: of any process, on any machine that reaches its ledger."""
    from invdesign.app import runs as app
    from invdesign.app import screen
    from invdesign.app.lists import aligned
    from invdesign.engine.status import lines

    if screen.is_screen(Path(run)):
        so_far = screen.status(Path(run))
        click.echo(
            json.dumps(so_far, indent=1)
            if as_json
            else "{state}: {shards_done} of {shards} shards".format(**so_far)
        )
        return
    found = app.status(run)
    if as_json:
        click.echo(json.dumps(found.to_dict(), ensure_ascii=False, indent=1))
        return
    click.echo("\n".join(lines(found, time.time())))
    rows = [{**vars(each), "doing": each.doing or "done"} for each in found.each]
    if rows:
        click.echo(aligned(rows))


class ListFirst(click.Group):
    """A group that lists where no other command is named."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """Put the command that lists before a folder or an option."""
        if not args or (args[0] not in self.commands and args[0] not in ("-h", "--help")):
            args = [LIST, *args]
        return super().parse_args(context, args)


@click.group(cls=ListFirst, short_help="List, compare, archive and remove runs.")
def runs() -> None:
    """List, compare, archive and remove runs: `invdesign runs [FOLDER]` lists."""


@runs.command(LIST, short_help="The runs in a folder.")
@click.argument("folder", required=False, default="runs", metavar="[FOLDER]")
@JSON
def list_runs(folder: str, as_json: bool) -> None:
    """List the runs in a folder [runs], and how far each has come."""
    from invdesign.app import runs as app
    from invdesign.app.lists import aligned

    found = app.runs(folder)
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False, indent=1))
    elif found:
        columns = list(dict.fromkeys(key for row in found for key in row))
        click.echo(aligned([{key: row.get(key, "") for key in columns} for row in found]))
    else:
        click.echo(f"no runs in {folder}")


@runs.command("compare", short_help="What two runs differ in.")
@click.argument("one", metavar="DIR")
@click.argument("other", metavar="DIR")
@JSON
def compare_runs(one: str, other: str, as_json: bool) -> None:
    """Say what two runs differ in, and which crystals both have found."""
    from invdesign.app import runs as app

    found = app.compare(one, other)
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False, indent=1))
        return
    for what, change in found["differences"].items():
        pairs = change.items() if isinstance(change, dict) else [("", change)]
        for key, (first, second) in pairs:
            click.echo(f"{what} {key}".strip() + f": {first} | {second}")
    for run, counts in zip(found["runs"], found["counts"], strict=True):
        click.echo(f"{run}: {counts['relaxed']} relaxed, {counts['stable_and_new']} stable and new")
    for title, key in (("in both", "common"), (f"only {one}", "only_one"), (f"only {other}", "only_other")):
        click.echo(f"{title}: {', '.join(found[key]) or 'none'}")


@runs.command("archive", short_help="Write a run as one zip file.")
@click.argument("folder", metavar="DIR")
@click.option("--out", metavar="FILE.zip", help="File to write [DIR.zip].")
@FORCE
def archive_run(folder: str, out: str | None, force: bool) -> None:
    """Write a run folder as one zip file, with its ledger as an SQLite file, wherever that is kept."""
    from invdesign.app import runs as app

    click.echo(f"wrote {app.archive(folder, out, force)}")


@runs.command("remove", short_help="Delete a run.")
@click.argument("folder", metavar="DIR")
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove_run(folder: str, yes: bool) -> None:
    """Delete a run folder with all that is in it, and its ledger where that is on a server."""
    from invdesign.app import runs as app

    files = app.files_of(folder)
    if not yes:
        click.confirm(f"delete {Path(folder)} with {len(files)} files?", abort=True, err=True)
    app.remove(folder)
    click.echo(f"removed {folder}")


@click.command("check-ledger", short_help="Whether the ledger of a run is whole.")
@click.argument("run", metavar="DIR|URL")
def check_ledger(run: str) -> int:
    """Read a ledger's records, see that each is as it was written, and compare what belongs together."""
    from invdesign.app import runs as app

    rows, problems = app.check_ledger(run)
    for problem in problems:
        click.echo(problem)
    click.echo(f"{run}: {rows} rows as they were written, {len(problems)} inconsistencies")
    return 1 if problems else 0


COMMANDS = (status, runs, check_ledger)
