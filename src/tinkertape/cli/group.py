"""The table of commands, and how a mistake is told."""

from __future__ import annotations

import importlib
import sys
from typing import Any, NoReturn, Protocol, runtime_checkable

import click

from tinkertape.cli.text import escaped
from tinkertape.errors import ConfigError, TapeNotFound, TinkertapeError
from tinkertape.version import VERSION

COMMANDS = {
    "demo": "tinkertape.cli.demo",
    "run": "tinkertape.cli.run",
    "serve": "tinkertape.cli.serve",
    "sim": "tinkertape.cli.sim",
    "runs": "tinkertape.cli.runs",
    "show": "tinkertape.cli.show",
    "tail": "tinkertape.cli.tail",
    "diagnose": "tinkertape.cli.diagnose",
    "push": "tinkertape.cli.push",
    "replay": "tinkertape.cli.replay",
    "tape": "tinkertape.cli.verify",
    "store": "tinkertape.cli.store",
    "events": "tinkertape.cli.events",
}
# click 8.2 and later raise the help text as an error where nothing is asked for; earlier ones print it
NO_ARGUMENTS: type[click.ClickException] | tuple[()] = getattr(click.exceptions, "NoArgsIsHelpError", ())
EPILOG = """
\b
Begin:
  tinkertape demo                  the tour: a simulated service, a run, the answer
  tinkertape run train.py          record a run; the report at the end
  tinkertape diagnose last         was it your code, the network, or Tinker?

\b
Completion in your shell:
  eval "$(_TINKERTAPE_COMPLETE=bash_source tinkertape)"     in ~/.bashrc; zsh_source, fish_source likewise
"""


@runtime_checkable
class Afterwards(Protocol):
    """What a command leaves to do when click is out of the way: `run` gives the process to the program."""

    def execute(self) -> None: ...


class Commands(click.Group):
    """The commands in the order of the table; a command's module is imported when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        command: click.Command = importlib.import_module(module).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(f"no command {args[0]!r}; {_instead(args[0])}", ctx)
        return super().resolve_command(ctx, args)


def _instead(word: str) -> str:
    if word.endswith(".py"):
        return f'did you mean "tinkertape run {word}"?'
    from difflib import get_close_matches  # noqa: PLC0415  only for a mistake

    near = get_close_matches(word, COMMANDS, n=1)
    return f'did you mean "{near[0]}"?' if near else f"there are {', '.join(COMMANDS)}"


@click.command(
    cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(VERSION, prog_name="tinkertape", message="%(prog)s %(version)s")
def commands() -> None:
    """A flight recorder for Tinker fine-tuning runs: was it your code, the network, or Tinker?"""


def call() -> None:
    """Run the command that `sys.argv` names and end the process with its status."""
    result: Any = _status_of_call()
    if isinstance(result, Afterwards):
        result.execute()
        return
    sys.exit(result if isinstance(result, int) else 0)


def _status_of_call() -> object:
    try:
        return commands.main(prog_name="tinkertape", standalone_mode=False)
    except NO_ARGUMENTS as error:
        if sys.stderr is not None:
            sys.stderr.write(f"{error.format_message()}\n")
        sys.exit(error.exit_code)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx is not None else "tinkertape"
        fail(f'{error.format_message().rstrip(".")} ("{path} --help" says more)', 2)
    except click.ClickException as error:
        fail(error.format_message(), error.exit_code)
    except click.Abort:
        sys.exit(130)
    except (TapeNotFound, ConfigError) as error:
        fail(str(error), 2)
    except TinkertapeError as error:
        fail(str(error), 1)
    except OSError as error:
        fail(f"{error.filename or 'input or output'}: {error.strerror or error}", 1)


def fail(message: str, status: int) -> NoReturn:
    """One line on stderr, control characters escaped, and the end."""
    if sys.stderr is not None:
        sys.stderr.write(f"tinkertape: {escaped(message)}\n")
    sys.exit(status)
