"""One round of fine-tuning on traces of problems for which the model lacks facts.

The second paper's Table 4 on the harder range of arithmetic: sums and products that training seldom showed. A trace can
be bent towards its answer with a false step, which the trace score cannot see, so the filter asks for the trace's own
tokens as well.
"""

from __future__ import annotations

from anyorder.experiments.arithmetic import MODEL
from anyorder.experiments.experiment import Experiment, Progress, Settings
from anyorder.experiments.finetuning import Study, plot, run_study
from anyorder.experiments.records import Record

STUDY = Study(
    name="finetune-traces",
    title="One round of fine-tuning on {count} hard problems ({model})",
    range_name="hard",
    samples={"smoke": 2, "cpu": 16, "gpu": 16},
    kept="best, asked again",
    notes=(
        "Filtered: the best sample of each problem by the sum of the trace score and of the log-probability of its "
        "own tokens, asked for again with the answer hidden.",
    ),
)


def run(settings: Settings, progress: Progress) -> Record:
    """The study of the named model on its hard problems."""
    return run_study(STUDY, settings, progress)


EXPERIMENT = Experiment(name="finetune-traces", scales=("smoke", "cpu", "gpu"), run=run, plot=plot, model=MODEL)
