"""How arguments are read where the usual way would be unkind: mistyped options, ``-people``."""

from __future__ import annotations

import re
from typing import Any

import typer
from typer.core import TyperCommand

from imgsearch import terminal

# Typer carries a Click of its own, whose classes have no public name; this one is ClickException.
USAGE_MISTAKE: type[Exception] = typer.BadParameter.__mro__[2]

# One dash and a word: `-people`. Short options are single characters, of which -n takes a number.
_UNWANTED_WORD = re.compile(r"-(?!n\d*$|n=|0)[^\W\d]{2}.*", re.DOTALL)


class TextCommand(TyperCommand):
    """A command whose text may hold words that are not wanted, unquoted: ``beach -people``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments; words with one dash go to the end, where they are text."""
        names = {name for option in self.params for name in option.opts}
        with_value = {
            name for option in self.params if not _is_flag(option) for name in option.opts
        }
        options: list[str] = []
        unwanted: list[str] = []
        rest = list(args)
        while rest and rest[0] != "--":
            argument = rest.pop(0)
            if argument in with_value and rest:
                options += [argument, rest.pop(0)]
            else:
                # `-json` was rather meant to be `--json`.
                wanted = _UNWANTED_WORD.fullmatch(argument) is None or f"-{argument}" in names
                (options if wanted else unwanted).append(argument)
        if unwanted:
            rest = ["--", *unwanted, *rest[1:]]
        return super().parse_args(ctx, options + rest)


def _is_flag(option: Any) -> bool:
    return bool(getattr(option, "is_flag", False))


def explain_mistake(error: Exception) -> int:
    """Print what was wrong with the arguments, in one line; return the exit code.

    `error` is a USAGE_MISTAKE.
    """
    mistake: Any = error
    if type(error).__name__ == "NoArgsIsHelpError":
        print(mistake.format_message())
    else:
        context = getattr(mistake, "ctx", None)
        command = context.command_path if context is not None else "imgsearch"
        message = mistake.format_message().rstrip(".")
        terminal.print_error(f"{message}. All options: {command} --help")
    return int(mistake.exit_code)
