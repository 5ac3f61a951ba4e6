"""The command line. Each command reads its arguments and calls one function of `invdesign.app`.

Nothing heavy is imported before a command runs. Results go to stdout, progress, notes and errors to stderr. Every
error of the user is one line and exit code 2.
"""

from __future__ import annotations

from invdesign.cli import about, app, checks, crystals, design, models, runs
from invdesign.cli.design import RUN_KEYS
from invdesign.cli.group import commands
from invdesign.cli.process import main, run

__all__ = ["RUN_KEYS", "commands", "main", "run"]

commands.add_section("Design", (*design.COMMANDS, *app.COMMANDS))
commands.add_section("Runs", runs.COMMANDS)
commands.add_section("Crystals", crystals.COMMANDS)
commands.add_section("Models", models.COMMANDS)
commands.add_section("Checks", checks.COMMANDS)
commands.add_section("About", about.COMMANDS)
