"""The card of a trained model: README.md, written from the run's log and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from anyorder.models.transformer import Transformer
from anyorder.training.journal import read_journal
from anyorder.training.kinds import find_kind


def write_card(run_dir: Path, model: Transformer, step: int | None = None) -> str:
    """The text of the card of ``model``, trained in ``run_dir``: data, time, device, accuracy, every setting.

    ``step`` is that of the model's checkpoint, where the run went on after it.

    Raises:
        UserError: the run has no log.
    """
    records = [one for one in read_journal(run_dir / "log.jsonl") if step is None or one["step"] <= step]
    legs = [record for record in records if record["kind"] in ("start", "resume")]
    settings = next(leg["settings"] for leg in reversed(legs) if "settings" in leg)
    last = records[-1]["step"]
    seconds = max((record["seconds"] for record in records if "seconds" in record), default=0.0)
    weights = sum(parameter.numel() for parameter in model.parameters())
    data = settings["data"]
    source = find_kind(settings["task"]["name"]).describe(data)
    average = f"the moving average of the weights (decay {settings['ema']})" if settings["ema"] else "the last weights"
    lines = [
        "---",
        "library_name: anyorder",
        "license: apache-2.0",
        "tags: [masked-diffusion]",
        "---",
        "",
        f"# {settings['name']}",
        "",
        f"A masked diffusion model of {weights:,} weights, decoded in any order. Task: `{json.dumps(model.task)}`.",
        "",
        "```python",
        "import anyorder as ao",
        "",
        f'model = ao.from_pretrained("{settings["name"]}")',
        "result = ao.decode(model, ao.Canvas(tokens, unknown), order=ao.Margin())",
        "```",
        "",
        "## Training",
        "",
        f"- Steps: {last:,} of {settings['steps']:,}, of {settings['batch_size']} examples each: "
        f"{last * settings['batch_size']:,} examples seen. Stored is {average}.",
        f"- Time in steps: {_duration(seconds)}.",
        *_legs(legs),
        *_changes(legs),
        f"- Data: {legs[-1]['data_count']:,} base examples, {source}; SHA-256 `{legs[-1]['data_fingerprint']}`.",
        "",
        *_accuracy(records),
        "## Settings",
        "",
        "```yaml",
        yaml.safe_dump(settings, sort_keys=False).rstrip(),
        "```",
    ]
    return "\n".join(lines) + "\n"


def _legs(legs: list[dict[str, Any]]) -> list[str]:
    """What the run ran on, one line for each stretch on the same machine and versions."""
    lines: list[str] = []
    told = None
    for leg in legs:
        versions = ", ".join(f"{name} {value}" for name, value in leg["versions"].items())
        facts = f"{leg['device']}, {leg['processes']} process(es) of {leg['threads']} thread(s), {versions}"
        if facts != told:
            lines.append(f"- From step {leg['step']:,}: {facts}.")
            told = facts
    return lines


def _changes(legs: list[dict[str, Any]]) -> list[str]:
    """What a later stretch was set to otherwise, one line for each setting: the settings below are the last ones."""
    lines: list[str] = []
    for leg in legs:
        for name, (before, after) in leg.get("changes", {}).items():
            then, now = (json.dumps(_differing(value, other)) for value, other in ((before, after), (after, before)))
            lines.append(f"- At step {leg['step']:,} `{name}` changed from `{then}` to `{now}`.")
    return lines


def _differing(value: Any, other: Any) -> Any:
    """The part of ``value`` that ``other`` has not."""
    if isinstance(value, dict) and isinstance(other, dict):
        return {name: item for name, item in value.items() if name not in other or other[name] != item}
    return value


def _duration(seconds: float) -> str:
    hours, minutes = divmod(seconds / 60, 60)
    return f"{int(hours)} h {minutes:.0f} min" if hours else f"{minutes:.1f} min"


def _accuracy(records: list[dict[str, Any]]) -> list[str]:
    evaluations = [record for record in records if record["kind"] == "evaluation" and "solved_share" in record]
    if not evaluations:
        return []
    step = evaluations[-1]["step"]
    lines = [
        "## Accuracy",
        "",
        f"Share of held-out puzzles solved completely after step {step:,}, with 95 % intervals, and network "
        "evaluations a puzzle.",
        "",
        "| puzzles | strategy | solved | interval | count | evaluations |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for record in evaluations:
        if record["step"] == step:
            low, high = record["interval"]
            lines.append(
                f"| {record['puzzles']} | {record['strategy']} | {100 * record['solved_share']:.1f} % "
                f"| {100 * low:.1f} - {100 * high:.1f} % | {record['count']} | {record['nfe_mean']:.1f} |"
            )
    return [*lines, ""]
