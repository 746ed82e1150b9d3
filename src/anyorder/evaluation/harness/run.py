"""One evaluation: the harness with our tasks beside its own, and what came out as plain values."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anyorder.core.errors import UserError
from anyorder.evaluation.harness.model import Engine, harness_model
from anyorder.models.families.family import extra

TASKS = Path(__file__).parent / "tasks"


def own_tasks() -> list[str]:
    """Names of the tasks that come with this package."""
    names = []
    for path in sorted(TASKS.glob("*.yaml")):
        lines = path.read_text(encoding="utf-8").splitlines()
        names += [line.removeprefix("task:").strip() for line in lines if line.startswith("task:")]
    return names


def evaluate(
    engine: Engine,
    tasks: Sequence[str],
    *,
    model_name: str = "",
    limit: int | None = None,
    shots: int | None = None,
    chat: bool = False,
    run_programs: bool = False,
    bootstrap: int = 1000,
) -> dict[str, Any]:
    """Run tasks of the harness.

    Args:
        engine: answers the requests.
        tasks: names, ours (`own_tasks`) or the harness's.
        model_name: kept in the harness's results.
        limit: documents of each task.
        shots: examples before each document; None leaves it to the task.
        chat: put the model's chat template around the prompts.
        run_programs: allow tasks that run generated programs; the environment variable HF_ALLOW_CODE_EVAL=1 does so
            as well.
        bootstrap: resamples for the standard error of metrics that have no formula for it; 0 gives no errors at all.

    Returns:
        ``results`` (figures of every task) and ``samples`` (documents and responses of every task).

    Raises:
        UserError: the harness is not installed, a task is unknown or needs a permission, or data is missing.
    """
    harness: Any = extra("lm_eval", "an evaluation", "eval")
    # The harness reads thousands of files to know its own tasks; ours do without them.
    foreign = not set(tasks) <= set(own_tasks())
    make: Any = extra("lm_eval.tasks", "an evaluation", "eval").TaskManager
    manager = make(include_path=str(TASKS), include_defaults=foreign)
    allowed = run_programs or os.environ.get("HF_ALLOW_CODE_EVAL") == "1"
    unknown = [task for task in tasks if task not in manager.all_tasks]
    if unknown:
        raise UserError(f"no task {unknown[0]!r}; ours are {', '.join(own_tasks())}, and the harness has its own")
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    try:
        found = harness.simple_evaluate(
            model=harness_model(engine, model_name),
            tasks=list(tasks),
            num_fewshot=shots,
            limit=limit,
            apply_chat_template=chat,
            task_manager=manager,
            confirm_run_unsafe_code=allowed,
            bootstrap_iters=bootstrap,
            log_samples=True,
            batch_size=engine.batch_size,
        )
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        if "marked as unsafe" in str(error):
            raise UserError(
                "a task runs programs that the model wrote; allow it with --confirm-run-unsafe-code or "
                "HF_ALLOW_CODE_EVAL=1, where that can do no harm"
            ) from None
        raise
    return {"results": _plain(found["results"]), "samples": found.get("samples", {})}


def _plain(results: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """The figures of every task under short names: ``metric`` and ``metric_error``."""
    figures: dict[str, dict[str, float]] = {}
    for task, values in results.items():
        figures[task] = {}
        for key, value in values.items():
            name, comma, filtered = key.partition(",")
            if not comma or not isinstance(value, (int, float)):
                continue
            error = name.endswith("_stderr")
            short = name.removesuffix("_stderr") + ("" if filtered == "none" else f" ({filtered})")
            figures[task][short + ("_error" if error else "")] = float(value)
    return figures
