"""The command line. Commands are loaded when called, so that `emunum --help` is quick."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

import emunum
from emunum.kernels.backends import BackendError

COMMANDS = {
    "run": "Train a network with every operation emulated.",
    "sweep": "Train every combination of the options that are listed.",
    "records": "List, filter, group and export the records of many runs.",
    "compare": "Say what differs between two runs, in options and in results.",
    "report": "Draw what a run did, or make the page of a study of many runs.",
    "verify": "Run records again and compare, bit for bit.",
    "reproduce": "Compute published tables again, ours beside theirs.",
    "data": "List, fetch and describe data sets.",
    "formats": "List the formats, or print one's facts and values.",
    "explain": "Round one number, step by step, with every decision shown.",
    "conform": "Compare with other implementations, case by case.",
    "bench": "Measure kernel speed beside a copy, BLAS and peers.",
    "doctor": "Print what is installed, and compare its bits with stored ones.",
    "completion": "Print the completion script of a shell.",
}


class Commands(click.Group):
    """A group that imports a command's module only to run it, and says what is wrong in one line.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 130 stopped by Ctrl-C.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"emunum_cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def main(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> Any:
        try:
            code = super().main(args, *rest, **options | {"standalone_mode": False})
            sys.stdout.flush()
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
            sys.exit(error.exit_code)
        except click.ClickException as error:
            _complain(error.format_message())
            sys.exit(error.exit_code)
        except BackendError as error:
            _complain(str(error))
            sys.exit(1)
        except (click.Abort, KeyboardInterrupt):
            _complain("stopped.")
            sys.exit(130)
        except BrokenPipeError:  # the reader of a pipe has left, which is no fault to speak of
            _abandon_output()
            sys.exit(1)
        except OSError as error:
            _abandon_output()
            place = f": {error.filename}" if error.filename else ""
            _complain(f"{error.strerror or error}{place}")
            sys.exit(1)
        sys.exit(code if isinstance(code, int) else 0)


def _abandon_output() -> None:
    """Send what standard output still holds nowhere: Python would try again at exit, and fail again."""
    with contextlib.suppress(OSError, ValueError):  # no descriptor where a test captures the output
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(message: str) -> None:
    click.echo(f"emunum: {message}", err=True)


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Example: emunum run --dataset diabetes --format e4m3 --rounding stochastic",
)
@click.version_option(emunum.__version__, prog_name="emunum")
def main() -> None:
    """Software-emulated numerics: what happens to my training if the hardware computes in this format?

    Exit codes: 0 done, 1 failed, 2 wrong usage, 130 stopped by Ctrl-C.
    """
