"""Pieces of a long experiment, each done once and kept, so that the experiment can be stopped and continued.

A leg is a name and a function that returns JSON data; what it returned lies in ``folder/NAME.json`` and is not computed
again. The folder is told apart by what the legs depend on (``facts``): other facts, another folder.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anyorder.core.errors import UserError
from anyorder.core.files import write_text
from anyorder.experiments.experiment import Progress, Settings, Unfinished


@dataclass(frozen=True)
class Leg:
    """One piece of work; ``name`` is that of its file."""

    name: str
    work: Callable[[], Any]


def folder_of(settings: Settings, name: str, facts: dict[str, Any]) -> Path:
    """Where the legs of an experiment with these facts are kept."""
    text = json.dumps({"scale": settings.scale, "seed": settings.seed, **facts}, sort_keys=True)
    return settings.work / f"{name}-{settings.scale}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def run_legs(
    legs: Sequence[Leg], folder: Path, settings: Settings, progress: Progress, what: str, *, workers: int = 1
) -> dict[str, Any]:
    """The results of all legs, by name, in the order given.

    Legs that are kept are read; the others run, ``workers`` at a time in threads, until ``settings.minutes`` are over.
    A leg that has begun is finished.

    Raises:
        Unfinished: the time was over before the last leg; the same command continues.
        UserError: a kept leg cannot be read, or two legs have one name.
    """
    if len({leg.name for leg in legs}) != len(legs):
        raise UserError(f"{what}: two legs have the same name")
    limit = None if settings.minutes is None else time.monotonic() + 60 * settings.minutes
    results = {leg.name: read_leg(folder, leg.name) for leg in legs if (folder / f"{leg.name}.json").exists()}
    missing = [leg for leg in legs if leg.name not in results]
    progress(what, len(results), len(legs))

    def one(leg: Leg) -> None:
        if limit is not None and time.monotonic() >= limit:
            return
        results[leg.name] = leg.work()
        write_text(folder / f"{leg.name}.json", json.dumps(results[leg.name], allow_nan=False))
        progress(what, len(results), len(legs))

    if workers == 1:
        # in the caller's own thread, where a leg may catch signals (a training saves its state on Ctrl-C)
        for leg in missing:
            one(leg)
    else:
        with ThreadPoolExecutor(max_workers=workers) as pool:
            for done in [pool.submit(one, leg) for leg in missing]:
                done.result()
    if len(results) < len(legs):
        raise Unfinished(f"{len(results)} of {len(legs)} pieces are done; the same command continues")
    return {leg.name: results[leg.name] for leg in legs}


def read_leg(folder: Path, name: str) -> Any:
    """What a kept leg returned."""
    path = folder / f"{name}.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); delete it, and the same command makes it again") from error
