"""The command line. It builds configurations, calls `etpick.api` and shows what comes back."""

from __future__ import annotations

import logging
import signal
import threading
from typing import Any

import click

from etpick import __version__
from etpick.cli.assess import assess
from etpick.cli.compare import compare
from etpick.cli.convert import convert
from etpick.cli.correct import correct
from etpick.cli.crosscheck import crosscheck
from etpick.cli.extract import extract
from etpick.cli.judge import check, evaluate, info
from etpick.cli.machine import completion, doctor
from etpick.cli.pick import pick
from etpick.cli.serve import serve
from etpick.cli.simulate import demo, simulate
from etpick.cli.submit import submit
from etpick.cli.train import init, train
from etpick.cli.view import view
from etpick.errors import EtpickError


class _Commands(click.Group):
    """Shows commands in the order of the work, and errors as one sentence."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # end as Ctrl-C does: half a file is cleared
        try:
            return super().invoke(ctx)
        except EtpickError as error:
            raise click.ClickException(str(error)) from None
        except KeyboardInterrupt:
            raise click.ClickException("stopped") from None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="etpick")
def main() -> None:
    """Find particles in cryo-electron tomograms.

    Mark a few dozen centres, then: etpick init → train → pick → evaluate. `etpick demo` shows it all on
    simulated tomograms. Sizes are in Å, positions in voxels of the tomogram's file.
    """
    logging.basicConfig(format="%(message)s", level=logging.WARNING)


for _command in (
    demo, simulate, init, train, pick, correct, serve, evaluate, compare, assess, crosscheck, view, extract,
    convert, info, check, submit, doctor, completion,
):  # fmt: skip
    main.add_command(_command)
