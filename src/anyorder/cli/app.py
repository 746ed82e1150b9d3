"""``anyorder COMMAND ...``: what each way of ending means to the caller.

=====  ==============================================================================================
code   meaning
=====  ==============================================================================================
0      done (a puzzle that stays unsolved is a result, not an error)
2      bad input, or a file that cannot be read or written: one line on stderr, nothing half-written
2      interrupted (Ctrl-C) or terminated: one line, nothing half-written
141    whoever read the output has gone; nothing is printed
=====  ==============================================================================================

Anything else is a fault of the program and shows its traceback. Commands import what they need when they run, so that
``--help`` answers at once.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any, Protocol

from anyorder.cli import arguments
from anyorder.cli.bench import BENCHES
from anyorder.cli.compare import Compare
from anyorder.cli.data import DATA
from anyorder.cli.demo import Demo
from anyorder.cli.eval import Eval
from anyorder.cli.experiment import Experiment
from anyorder.cli.generate import Generate
from anyorder.cli.solve import Solve
from anyorder.cli.strategies import Strategies
from anyorder.cli.train import Train
from anyorder.cli.view import View
from anyorder.core.errors import UserError, reason

DESCRIPTION = "Masked diffusion models, decoded in the order that makes them right."
COMMANDS: Mapping[str, Any] = {
    "demo": Demo,
    "data": DATA,
    "train": Train,
    "solve": Solve,
    "compare": Compare,
    "generate": Generate,
    "eval": Eval,
    "strategies": Strategies,
    "view": View,
    "bench": BENCHES,
    "experiment": Experiment,
}


class Command(Protocol):
    """A parsed command line."""

    def run(self) -> None:
        """Do the work; raises `UserError` on bad input."""
        ...


class Terminated(BaseException):
    """SIGTERM, raised where the work stands so that half-written files are cleared away."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (``sys.argv[1:]`` when ``argv`` is None) and return its exit code."""
    earlier = _on_terminate(_terminate)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a dash must not break a terminal that is not UTF-8
    try:
        command: Command = arguments.parse(
            COMMANDS, sys.argv[1:] if argv is None else argv, prog="anyorder", description=DESCRIPTION
        )
        command.run()
        sys.stdout.flush()
        return 0
    except SystemExit as stopped:  # --help
        return stopped.code if isinstance(stopped.code, int) else 0
    except UserError as error:
        return _refuse(str(error))
    except KeyboardInterrupt:
        return _refuse("interrupted; nothing half-written is left behind")
    except Terminated:
        return _refuse("terminated; nothing half-written is left behind")
    except BrokenPipeError:
        # The interpreter flushes stdout once more at its end; that flush must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        where = "" if error.filename is None else f": {error.filename}"
        return _refuse(f"{reason(error)}{where}")
    except UnicodeDecodeError as error:
        return _refuse(f"not a text file in UTF-8 (byte {error.start}: {error.reason})")
    except MemoryError:
        return _refuse("out of memory; try a smaller --batch-size")
    finally:
        _on_terminate(earlier)


def _refuse(message: str) -> int:
    line = " ".join(message.split())
    print(f"anyorder: error: {line}", file=sys.stderr, flush=True)
    return 2


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


def _on_terminate(handler: Any) -> Any:
    """Install a SIGTERM handler where that is allowed (the main thread) and return the earlier one."""
    if handler is None or threading.current_thread() is not threading.main_thread():
        return None
    return signal.signal(signal.SIGTERM, handler)
