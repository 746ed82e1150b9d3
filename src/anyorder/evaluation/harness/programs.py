"""Running a generated program: in a process of its own, with limits on time, memory, files and processes.

The limits keep a faulty program from doing harm by accident; they are no wall against a hostile one. So nothing here is
reached unless the harness's own switch allows generated code to run (``confirm_run_unsafe_code``): its tasks are
marked as unsafe, and the harness refuses to start them without it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

_STARTER = """
import resource, sys
seconds, memory, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
for name, limit in (("CPU", seconds), ("AS", memory), ("FSIZE", 1 << 20), ("CORE", 0), ("NOFILE", 64)):
    resource.setrlimit(getattr(resource, "RLIMIT_" + name), (limit, limit))
with open(path, encoding="utf-8") as file:
    source = file.read()
exec(compile(source, "program", "exec"), {"__name__": "__main__"})
print("\\0finished", file=sys.__stderr__, end="", flush=True)
"""
_MARK = b"\0finished"


@dataclass(frozen=True)
class Outcome:
    """How a program ended.

    Attributes:
        passed: it came to its end without an error.
        reason: "" where it passed, else ``timeout``, or the last line of what it complained.
    """

    passed: bool
    reason: str = ""


def run_program(source: str, *, seconds: int = 10, megabytes: int = 1024) -> Outcome:
    """Run a program to its end.

    It starts in an empty folder of its own that goes afterwards, without the environment, the user's packages and
    standard input; what it prints is dropped.

    Args:
        source: Python.
        seconds: limit on its processor time, and on the clock.
        megabytes: limit on its memory.

    Returns:
        `Outcome`. A program that exits early, even with code 0, has not passed.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "program.py"
        path.write_text(source, encoding="utf-8", errors="surrogatepass")
        command = [sys.executable, "-I", "-S", "-c", _STARTER, str(seconds), str(megabytes << 20), str(path)]
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={"PATH": os.defpath, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            _, complaint = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            return Outcome(False, "timeout")
        finally:
            # Whatever it started is in its session, and goes with it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.kill()
            process.communicate()
    if process.returncode == 0 and complaint.endswith(_MARK):
        return Outcome(True)
    if process.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        return Outcome(False, "timeout")
    lines = complaint.replace(_MARK, b"").decode(errors="replace").strip().splitlines()
    return Outcome(False, lines[-1] if lines else f"exit code {process.returncode}")
