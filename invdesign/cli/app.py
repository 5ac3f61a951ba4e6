"""The command that opens the local page: app."""

from __future__ import annotations

import click

from invdesign.cli.options import note
from invdesign.errors import MissingDependencyError

PORT = 8765


@click.command(short_help="Open a local page to compose, watch and compare runs.")
@click.argument("folder", required=False, default="runs", metavar="[DIR]")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at; others are not safe.")
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="0: any free one.")
@click.option("--open", "opened", is_flag=True, help="Open the page in the web browser.")
def app(folder: str, host: str, port: int, opened: bool) -> None:
    """Open a local page for the runs of a folder [runs]: compose a query, watch, stop, resume, compare.

    The page listens on this machine alone, and only who has the address with its token gets in. Runs are processes
    of their own: they go on when the page or this command ends, and are found again when it is started anew.
    """
    try:
        from invdesign.web.folder import Runs
        from invdesign.web.server import serve
    except ModuleNotFoundError as error:
        raise MissingDependencyError(str(error.name), "app") from None

    def announce(address: str) -> None:
        click.echo(f"open {address}")
        if host not in ("127.0.0.1", "localhost", "::1"):
            note("other machines can reach this address, unencrypted: keep the token to yourself")
        note("Ctrl-C ends the page; runs go on")
        if opened:
            click.launch(address)

    serve(Runs.of(folder), host, port, announce)


COMMANDS = (app,)
