"""The reference of the command line, rendered from the commands themselves."""

from __future__ import annotations

import html
import inspect
from collections.abc import Iterator
from dataclasses import fields

import click

from invdesign.cli import RUN_KEYS, commands
from invdesign.query import Query

PROGRAM = "invdesign"


def page() -> str:
    """Every command with its usage and options, as one Markdown page."""
    with click.Context(commands, info_name=PROGRAM) as top:
        names = [name for name in commands.list_commands(top) if not _hidden(commands.get_command(top, name))]
        head = [
            "# Commands",
            "",
            "This page is rendered from the commands' own help: `invdesign COMMAND --help` prints the same.",
            "",
            *(_entry(name, commands.get_command(top, name)) for name in names),
            "",
        ]
        parts = [line for name in names for line in _command(commands.get_command(top, name), name, top, 2)]
    return "\n".join(head + parts)


def _hidden(command: click.Command | None) -> bool:
    return command is None or command.hidden


def _entry(name: str, command: click.Command | None) -> str:
    words = "" if command is None else command.get_short_help_str(limit=200)
    return f"- [`{PROGRAM} {name}`](#{PROGRAM}-{name}): {words}"


def _command(command: click.Command | None, name: str, parent: click.Context, level: int) -> Iterator[str]:
    if command is None:
        return
    with command.make_context(name, ["--help"], parent=parent, resilient_parsing=True) as context:
        anchor = context.command_path.replace(" ", "-")
        yield f"{'#' * level} {context.command_path} {{#{anchor}}}"
        yield ""
        yield inspect.cleandoc(command.help or "")
        yield ""
        yield "```text"
        yield " ".join([context.command_path, *command.collect_usage_pieces(context)])
        yield "```"
        yield ""
        yield from _options(command, context)
        if isinstance(command, click.Group):
            for each in command.list_commands(context):
                yield from _command(command.get_command(context, each), each, context, level + 1)


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    """Options with the words of their help; `--help` itself aside."""
    records = [
        record
        for param in command.get_params(context)
        if "--help" not in param.opts and (record := param.get_help_record(context)) is not None
    ]
    if not records:
        return
    yield "| option | meaning |"
    yield "| --- | --- |"
    yield from (f"| {_cell(option, code=True)} | {_cell(meaning)} |" for option, meaning in records)
    yield ""


def _cell(text: str, code: bool = False) -> str:
    safe = html.escape(text, quote=False).replace("|", "&#124;").replace("*", "&#42;")
    return f"<code>{safe}</code>" if code else safe


def query_table() -> str:
    """Keys of a query and of a run: their options, meanings and defaults."""
    flags = {param.name: param for param in commands.commands["design"].params if isinstance(param, click.Option)}
    meanings, query = attributes(Query), Query()
    rows = ["| key, option | meaning | default |", "| --- | --- | --- |"]
    for field in fields(Query):
        default = getattr(query, field.name)
        shown = "" if default in ((), "", None) else f"`{default}`"
        rows.append(_query_row(field.name, flags.get(field.name), meanings[field.name], shown))
    for key in RUN_KEYS:
        meaning, _, default = (flags[key].help or "").partition("[")
        rows.append(_query_row(key, flags[key], meaning.strip(), _cell(default.rstrip("]."))))
    return "\n".join(rows)


def _query_row(key: str, flag: click.Option | None, meaning: str, default: str) -> str:
    option = f"<br>`{flag.opts[-1]}`" if flag else ""
    return f"| `{key}`{option} | {meaning} | {default} |"


def attributes(kind: type) -> dict[str, str]:
    """What the section *Attributes* of a class's docstring says of each field."""
    text = inspect.getdoc(kind) or ""
    _, _, section = text.partition("Attributes:\n")
    found: dict[str, str] = {}
    name = ""
    for line in section.split("\n"):
        if not line.strip() or not line.startswith("    "):
            break
        head, colon, rest = line.strip().partition(": ")
        if colon and head.isidentifier() and not line.startswith("        "):
            name, found[head] = head, rest
        elif name:
            found[name] += " " + line.strip()
    return found
