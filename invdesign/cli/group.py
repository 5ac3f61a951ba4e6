"""The group of all commands: its help in sections, names that are nearly right, and the version."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

import click

from invdesign import __version__

EXAMPLE = 'invdesign design --target "bulk_modulus>=250" --exclude toxic -n 5'


class Sections(click.Group):
    """A group whose help lists its commands in sections."""

    sections: dict[str, list[str]]

    def add_section(self, title: str, commands: Sequence[click.Command]) -> None:
        """Add commands under a heading, in this order."""
        self.sections = {**getattr(self, "sections", {}), title: [str(c.name) for c in commands]}
        for command in commands:
            self.add_command(command)

    def list_commands(self, context: click.Context) -> list[str]:
        """Names in the order of the sections."""
        return [name for names in self.sections.values() for name in names]

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one table for each section, all of the same width."""
        width = max(map(len, self.list_commands(context)))
        limit = formatter.width - 6 - width
        for title, names in self.sections.items():
            with formatter.section(title):
                formatter.write_dl(
                    [(name.ljust(width), self.commands[name].get_short_help_str(limit)) for name in names]
                )

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command; one that is nearly right is offered."""
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            near = get_close_matches(args[0], self.commands, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            context.fail(f"No such command '{args[0]}'.{hint} Commands: {', '.join(self.list_commands(context))}")
        return super().resolve_command(context, args)


def _versions(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    """Print the versions of invdesign and of what can change a result, and leave."""
    if not wanted or context.resilient_parsing:
        return
    from invdesign.build import versions

    found = versions()
    click.echo(f"invdesign {found.pop('invdesign')}")
    click.echo("\n".join(f"{name} {version}" for name, version in found.items()))
    context.exit()


@click.group(
    name="invdesign",
    cls=Sections,
    invoke_without_command=True,
    subcommand_metavar="COMMAND",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=f"\b\nStart with:\n  {EXAMPLE}",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_versions,
    help="Show the versions of invdesign and its libraries.",
)
@click.pass_context
def commands(context: click.Context) -> None:
    """Target properties in, ranked and verified crystals out."""
    if context.invoked_subcommand is None:
        click.echo(f"invdesign {__version__}\n")
        click.echo(context.get_help())
