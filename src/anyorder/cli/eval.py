"""``anyorder eval``: lm-evaluation-harness with a masked diffusion model."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from anyorder.cli import screen
from anyorder.cli.options import IntOption, NeededText, PathOption, TextOption, at_least
from anyorder.cli.parts import Decoding
from anyorder.core.errors import UserError

if TYPE_CHECKING:
    from anyorder.evaluation.harness.model import Engine
    from anyorder.models.transformer import Transformer


@dataclass(frozen=True)
class Eval:
    """Measure a text model on tasks of lm-evaluation-harness (extra `eval`)."""

    model: NeededText = ""
    """folder or hub id of a text model, or a shipped name"""
    tasks: NeededText = ""
    """names, with commas between them; anyorder_gsm8k, anyorder_math, anyorder_mmlu, anyorder_humaneval,
    anyorder_humaneval_infill_single, _multi, _split, _random, anyorder_rocstories, or any of the harness"""
    limit: IntOption = None
    """only so many documents of each task"""
    shots: IntOption = None
    """examples before each document (default: the task's own number)"""
    chat: bool = False
    """put the model's chat template around the prompts"""
    confirm_run_unsafe_code: bool = False
    """allow tasks that run the programs that the model writes"""
    batch_size: int = 16
    """canvases decoded together; changes memory and speed, never a result"""
    max_tokens: int = 256
    """tokens to generate where the task names no number"""
    rounds: int = 8
    """rounds of 16 samples for each likelihood"""
    decoding: Decoding = field(default_factory=Decoding)
    dtype: TextOption = None
    """number format of the weights: float32, bfloat16, float16 (default: as stored)"""
    mask_token: TextOption = None
    """mask token of a model made for the next token, as its tokenizer spells it (default: a new one)"""
    threads: IntOption = None
    """CPU threads (default: all cores)"""
    device: str = "auto"
    """cpu, cuda, cuda:1, mps, or auto"""
    samples: PathOption = None
    """write every document's prompt and response, as JSON lines"""
    json: PathOption = None
    """write the figures and the facts of the run as JSON"""

    def __post_init__(self) -> None:
        if not self.model:
            raise UserError("--model is missing: name a folder, a hub id or a shipped text model")
        if not self.tasks.strip(","):
            raise UserError("--tasks is missing: name at least one, such as anyorder_gsm8k")
        for name, least in (("limit", 1), ("shots", 0), ("batch_size", 1), ("max_tokens", 1), ("rounds", 2)):
            at_least(f"--{name.replace('_', '-')}", getattr(self, name), least)

    def run(self) -> None:
        """Evaluate, show the figures, write what was asked for."""
        since = time.time()
        from dataclasses import replace

        from anyorder.cli.generate import open_model, prepare
        from anyorder.evaluation.harness.model import Engine
        from anyorder.evaluation.harness.run import evaluate
        from anyorder.planning.windows import Blocks

        name, strategy = self.decoding.resolve()
        device = prepare(self.threads, self.device)
        model, tokenizer = open_model(self.model, device, self.dtype, self.mask_token)
        if strategy.window is None and model.config.attention == "block-causal":
            strategy = replace(strategy, window=Blocks(model.config.block_size, aligned=True))
        with screen.steps() as progress:
            engine = Engine(
                model,
                tokenizer,
                strategy,
                batch_size=self.batch_size,
                seed=self.decoding.seed,
                max_length=model.config.length,
                max_tokens=self.max_tokens,
                rounds=self.rounds,
                device=device,
                progress=progress,
            )
            found = evaluate(
                engine,
                [task.strip() for task in self.tasks.split(",") if task.strip()],
                model_name=self.model,
                limit=self.limit,
                shots=self.shots,
                chat=self.chat,
                run_programs=self.confirm_run_unsafe_code,
            )
        rows = [
            {"task": task, "metric": metric, "value": value, "standard_error": figures.get(f"{metric}_error")}
            for task, figures in found["results"].items()
            for metric, value in figures.items()
            if not metric.endswith("_error")
        ]
        columns = ["task", "metric", "value", "standard_error"]
        console = screen.output()
        console.print(screen.table(rows, columns))
        summary = {**found["results"], **costs(engine)}
        for what, value in costs(engine).items():
            screen.messages().print(f"{what.replace('_', ' ')}: {value:.4g}", style="dim")
        if self.samples is not None:
            self._write_samples(found["samples"])
        if self.json is not None:
            self._write_record(name, summary, rows, columns, model, since, str(device))
        for path, what in ((self.samples, "samples"), (self.json, "record")):
            if path is not None:
                screen.messages().print(f"{what}: {path}")

    def _write_samples(self, samples: dict[str, Any]) -> None:
        from anyorder.core.files import replacing

        assert self.samples is not None
        with replacing(self.samples) as file:
            for task, entries in samples.items():
                for entry in entries:
                    line = {"task": task, "document": entry["doc_id"], "responses": entry["resps"]}
                    line |= {key: entry[key] for key in entry.get("metrics", ()) if key in entry}
                    file.write(json.dumps(line, default=str) + "\n")

    def _write_record(
        self,
        name: str,
        summary: dict[str, Any],
        rows: list[dict[str, Any]],
        columns: list[str],
        model: Transformer,
        since: float,
        device: str,
    ) -> None:
        from anyorder.experiments import records

        assert self.json is not None
        kept = [{**row, "standard_error": _finite(row["standard_error"])} for row in rows]
        record = records.Record(
            name="eval",
            title=f"{self.tasks} under {name}",
            summary={key: _finite(value) for key, value in summary.items()},
            columns=columns,
            rows=kept,
            details={"strategy": name, "limit": self.limit, "shots": self.shots},
            run=records.run_facts(
                seed=self.decoding.seed, device=device, since=since, model=records.model_facts(self.model, model)
            ),
        )
        records.write_record(self.json, record)


def costs(engine: Engine) -> dict[str, float]:
    """What the answers cost: means over all requests."""
    figures: dict[str, float] = {}
    if engine.generations:
        count = len(engine.generations)
        figures["nfe_mean"] = sum(made.nfe for made in engine.generations) / count
        figures["tokens_mean"] = sum(made.tokens for made in engine.generations) / count
        figures["truncated_share"] = sum(made.truncated > 0 for made in engine.generations) / count
    if engine.likelihoods:
        errors = [made.standard_error for made in engine.likelihoods]
        figures["likelihood_standard_error_mean"] = sum(errors) / len(errors)
    return figures


def _finite(value: Any) -> Any:
    """JSON has no infinity: what is not finite becomes null."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    return value
