"""Commands about invdesign itself: list, completion."""

from __future__ import annotations

import click

from invdesign.app.lists import KINDS


@click.command("list", short_help="List what can be named.")
@click.argument("kind", type=click.Choice(list(KINDS)))
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_(kind: str, as_json: bool) -> None:
    """List what can be named: components, properties, generators, validators, …"""
    import json

    from invdesign.app.lists import aligned, rows

    found = rows(kind)
    click.echo(json.dumps(found, indent=1, ensure_ascii=False) if as_json else aligned(found))


@click.command(short_help="Print the completion script of a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell: eval "$(invdesign completion bash)"."""
    from click.shell_completion import get_completion_class

    from invdesign.cli.group import commands

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(commands, {}, "invdesign", "_INVDESIGN_COMPLETE").source())


COMMANDS = (list_, completion)
