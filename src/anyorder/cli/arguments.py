"""From argument text to a command: tyro reads the dataclasses, and every refusal is one `UserError` line.

Only public parts of tyro are used. Options are checked against the dataclass before tyro sees them, because a misspelt
option deserves its nearest neighbour and not the complaint that a required one is missing. What tyro itself refuses
(a missing value, text where a number belongs) it prints as a box; the box is caught and folded into one line.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import inspect
import io
import re
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

import tyro

from anyorder.core.errors import UserError

MARKERS = (
    tyro.conf.OmitArgPrefixes,
    tyro.conf.FlagCreatePairsOff,
    tyro.conf.DisallowNone,
    tyro.conf.PositionalMetavarFromFieldName,
)
Group = Mapping[str, Any]  # name -> a command's dataclass, or a deeper group
_NUMBER = re.compile(r"-\.?\d")
_BOX = re.compile(r"[\u2500-\u257f]")


def parse(commands: Group, argv: Sequence[str], *, prog: str, description: str) -> Any:
    """The command object that ``argv`` asks for.

    Raises:
        UserError: an unknown command or option, a missing or unreadable value, or a refusal of the dataclass itself.
        SystemExit: with code 0, after ``--help`` has been printed.
    """
    if argv and argv[0] in ("-h", "--help"):
        tyro.cli(_union(commands), args=["--help"], prog=prog, description=description, config=MARKERS)
    if not argv or argv[0].startswith("-"):
        given = f"unknown option {argv[0]}: " if argv else ""
        raise UserError(f"{given}name a command first ({prog} --help): {', '.join(commands)}")
    name, rest = argv[0], list(argv[1:])
    if name not in commands:
        raise UserError(f"unknown command {name!r}{_nearest(name, commands)} ({prog} --help)")
    chosen = commands[name]
    if isinstance(chosen, Mapping):
        return parse(chosen, rest, prog=f"{prog} {name}", description=group_description(chosen))
    return _parse_command(chosen, rest, prog=f"{prog} {name}")


def group_description(group: Group) -> str:
    """What a group of commands does, in a line."""
    return "One of: " + ", ".join(group) + "."


def known_options(command: type) -> dict[str, None]:
    """Every option of a command's dataclass, nested ones included, in order."""
    options: dict[str, None] = {"-h": None, "--help": None}
    hints = typing.get_type_hints(command, include_extras=True)
    for field in dataclasses.fields(command):
        hint = hints[field.name]
        extras = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
        kind = get_args(hint)[0] if extras else hint
        if dataclasses.is_dataclass(kind):
            options |= known_options(typing.cast(type, kind))
        elif tyro.conf.Positional not in extras:
            aliases = [alias for extra in extras for alias in getattr(extra, "aliases", None) or ()]
            names = [name for extra in extras if (name := getattr(extra, "name", None))]
            options |= dict.fromkeys(["--" + (names or [field.name])[0].replace("_", "-"), *aliases])
    return options


def _parse_command(command: type, argv: list[str], *, prog: str) -> Any:
    _refuse_unknown(command, argv, prog)
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            parsed, unknown = tyro.cli(
                command,
                args=argv,
                prog=prog,
                config=MARKERS,
                return_unknown_args=True,
                description=inspect.cleandoc(command.__doc__ or ""),
            )
    except SystemExit as stopped:
        if not stopped.code:
            raise
        raise (_refusal_behind(stopped) or UserError(f"{_fold(printed.getvalue())} ({prog} --help)")) from None
    if unknown:
        raise UserError(f"unexpected argument {unknown[0]!r} ({prog} --help)")
    return parsed


def _refuse_unknown(command: type, argv: list[str], prog: str) -> None:
    known = known_options(command)
    for token in argv:
        if token.startswith("-") and token != "-" and not _NUMBER.match(token):
            option = token.partition("=")[0].replace("_", "-")
            if option not in known:
                raise UserError(f"unknown option {option}{_nearest(option, known)} ({prog} --help)")


def _nearest(name: str, known: Iterable[str]) -> str:
    match = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {match[0]}?" if match else ""


def _refusal_behind(stopped: BaseException) -> UserError | None:
    """The `UserError` that a dataclass raised while it was made, which tyro turns into an exit."""
    error: BaseException | None = stopped
    while error is not None and not isinstance(error, UserError):
        error = error.__cause__ or error.__context__
    return error


def _fold(box: str) -> str:
    """The first section of tyro's box as one line, without the help text that it repeats."""
    lines = [_BOX.sub(" ", line).rstrip(" -") for line in box.splitlines()]
    section: list[str] = []
    for text in lines[1:]:
        if not text.strip() and section:
            break  # the rule between the sections, or the lower edge
        indent = len(text) - len(text.lstrip())
        if text.strip() and indent < 9:
            section.append(("\0" if indent >= 5 else "") + text.strip())
    line = " ".join(section).replace(": \0", ": ").replace(" \0", ", ").replace("\0", "")
    line = re.sub(r"invalid literal for int\(\) with base 10: (.*)", r"\1 is not a whole number", line)
    line = re.sub(r"could not convert string to float: (.*)", r"\1 is not a number", line)
    line = re.sub(r"no type matching INT could be instantiated from \[(.*)\]", r"\1 is not a whole number", line)
    line = re.sub(r"no type matching FLOAT could be instantiated from \[(.*)\]", r"\1 is not a number", line)
    line = re.sub(r"^Missing from [^:]*: ", "missing: ", line)
    line = re.sub(r"^Error parsing ", "", line)
    line = re.sub(r"^Missing value for argument '(.*)'\. Expected .* values?\.?", r"\1 needs a value", line)
    return line.rstrip(".") or "the arguments cannot be read"


def _union(commands: Group) -> Any:
    """A type whose help lists the commands with their first lines; it is never parsed with."""
    members = []
    for name, command in commands.items():
        if isinstance(command, Mapping):
            about, kind = group_description(command), dataclasses.make_dataclass(name, [])
        else:
            about, kind = (command.__doc__ or "").strip().splitlines()[0], dataclasses.make_dataclass(name, [])
        members.append(Annotated[kind, tyro.conf.subcommand(name, description=about)])
    return Union[tuple(members)]  # noqa: UP007 - the members are known only here
