"""One round of fine-tuning on traces, where the model lacks nothing but the habit of working things out.

Questions with bare answers are what there is plenty of. The named model is first tuned on such: problems of the range
that it knows, three of four with nothing but the answer. It then answers most questions at once, and is wrong where it
cannot do that. From there the same round as in `finetune_traces`: its facts are as they were, so what posterior traces
can teach is the form alone.

A bare answer that the model cannot find at once makes the right answer unlikely, and working it out makes it sure: here
the trace score is the filter.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from anyorder.experiments.arithmetic import MODEL, difficulty_of
from anyorder.experiments.experiment import Experiment, Progress, Scale, Settings
from anyorder.experiments.finetuning import Start, Study, as_sequences, plot, run_study
from anyorder.experiments.records import Record
from anyorder.tasks.arithmetic import make_problems
from anyorder.training.finetune import FinetuneSettings, finetune
from anyorder.training.settings import AdamWSettings, ObjectiveSettings, OptimizerSettings

if TYPE_CHECKING:
    from anyorder.models.transformer import Transformer

BARE = 0.75
"""Share of the problems that have no trace."""
SEED = 2_718_281  # of these problems
PROBLEMS = {"smoke": 32, "cpu": 25_600, "gpu": 25_600}
STEPS = {"smoke": 3, "cpu": 400, "gpu": 400}
RANGE = "normal"


def bare_answers(scale: Scale) -> Start:
    """The named model after a round on mostly bare answers."""
    tuning = FinetuneSettings(
        steps=STEPS[scale],
        objective=ObjectiveSettings(weight="row", ordered=0.25),
        optimizer=OptimizerSettings(adamw=AdamWSettings(rate=1e-3, beta2=0.95)),
        seed=SEED,
    )

    def make(model: Transformer) -> Transformer:
        problems = make_problems(difficulty_of(model, RANGE), PROBLEMS[scale], SEED, "train")
        bare = round(BARE * len(problems))
        rows = [dataclasses.replace(problem, trace="") for problem in problems[:bare]] + problems[bare:]
        return finetune(model, as_sequences(rows, model, RANGE), tuning)

    facts = {"bare": BARE, "seed": SEED, "problems": PROBLEMS[scale], "tuning": dataclasses.asdict(tuning)}
    note = (
        f"Base: the named model after {tuning.steps} steps of {tuning.batch_size} on {RANGE} problems, "
        f"{100 * BARE:g} % of them with their answer and no trace."
    )
    return Start(make, facts, note)


STUDY = Study(
    name="finetune-bare-answers",
    title="One round of fine-tuning of a model that answers at once, {count} problems ({model})",
    range_name=RANGE,
    samples={"smoke": 2, "cpu": 8, "gpu": 8},
    kept="best, above log 1/2",
    notes=(
        "Filtered: the best sample of each problem by the trace score, if its mean log-probability of the answer's "
        "tokens is above log 1/2.",
    ),
    start=bare_answers,
)


def run(settings: Settings, progress: Progress) -> Record:
    """The study of the model that was tuned on bare answers."""
    return run_study(STUDY, settings, progress)


EXPERIMENT = Experiment(name="finetune-bare-answers", scales=("smoke", "cpu", "gpu"), run=run, plot=plot, model=MODEL)
