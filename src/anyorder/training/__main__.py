"""``python -m anyorder.training CONFIG.yaml [--run-dir DIR] [--minutes M] [--steps N] [--threads N]``."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from pathlib import Path

from anyorder.core.errors import UserError
from anyorder.core.memory import reuse_large_blocks


def main(arguments: list[str] | None = None) -> int:
    """Train, and give the exit code: 0 when finished or out of minutes, 2 for an error or an interruption."""
    parser = argparse.ArgumentParser(prog="python -m anyorder.training", description="Train a model; continue a run.")
    parser.add_argument("config", help="a YAML file, or the name of a shipped one")
    parser.add_argument("--run-dir", help="directory of the run (default: runs/NAME); continues what it holds")
    parser.add_argument("--minutes", type=float, help="stop after this many minutes; the same command continues")
    parser.add_argument("--steps", type=int, help="steps of the whole run, instead of the file's")
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument("--from", dest="start_from", help="checkpoint or export to begin with, where the run has none")
    parser.add_argument("--allow-changes", action="store_true", help="accept settings that differ from before")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    options = parser.parse_args(arguments)
    try:
        return run(options)
    except UserError as error:
        print(f"anyorder: error: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("anyorder: error: interrupted; the last checkpoint is intact", file=sys.stderr)
    return 2


def run(options: argparse.Namespace) -> int:
    """Run the training that the parsed command line asks for."""
    from anyorder.training.loop import train
    from anyorder.training.settings import load_settings

    reuse_large_blocks()
    settings = load_settings(options.config)
    if options.steps is not None:
        settings = dataclasses.replace(settings, steps=options.steps)
    result = train(
        settings,
        options.run_dir or Path("runs") / settings.name,
        minutes=options.minutes,
        start_from=options.start_from,
        allow_changes=options.allow_changes,
        threads=options.threads,
        show_progress=not options.quiet,
    )
    if os.environ.get("RANK", "0") != "0":
        return 0
    if result.finished:
        print(f"finished {settings.name} after {result.step} steps: {result.model_folder}")
    else:
        print(f"stopped {settings.name} at step {result.step} of {settings.steps}; the same command continues")
    return 0


if __name__ == "__main__":
    sys.exit(main())
