"""Runs a command and words whatever goes wrong: one line on standard error, and an exit code."""

import io
import os
import sys
from typing import NoReturn

import click

from crdts import CrdtError
from gossip.protocol.errors import GossipError
from gossip.storage.files import why

from .show import escaped


def launch(command: click.Command, name: str) -> NoReturn:
    """Run a command line that users call ``name``; the exit code is 0, 1 for a failure or 2 for wrong usage."""
    _open_standard_files()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # shared text may not fit the terminal's encoding
    try:
        sys.exit(command(prog_name=name, standalone_mode=False))
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        _tell(_worded(error))
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output has gone: nothing to tell it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        _tell(f"{error.filename}: {why(error)}" if error.filename else str(error))
        sys.exit(1)
    except (GossipError, CrdtError) as error:
        _tell(str(error))
        sys.exit(1)


def _open_standard_files() -> None:
    """Open the null device in place of each standard file that the parent process has closed.

    Otherwise the next file that is opened would get its number, and messages for people would be written to that file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115


def _worded(error: click.ClickException) -> str:
    message = " ".join(error.format_message().split())
    if isinstance(error, click.NoSuchOption) and error.option_name[1:2].isdigit():
        message = f"{message.rstrip('.')}. Put -- before values that begin with a dash"
    if isinstance(error, click.UsageError) and error.ctx is not None:
        message = f"{message.rstrip('.')}. See `{error.ctx.command_path} --help`."
    return message


def _tell(message: str) -> None:
    click.echo(f"gossip: {escaped(message)}", err=True)
