"""The card of a trained model: README.md, written from the run's log and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from anyorder.models.transformer import Transformer
from anyorder.training.journal import read_journal


def write_card(run_dir: Path, model: Transformer) -> str:
    """The text of the card of the model trained in ``run_dir``."""
    records = list(read_journal(run_dir / "log.jsonl"))
    start = next((record for record in records if record["kind"] in ("start", "resume")), {})
    end = next((record for record in reversed(records) if record["kind"] == "end"), {})
    settings = _settings(run_dir, start)
    weights = sum(parameter.numel() for parameter in model.parameters())
    lines = [
        "---",
        "library_name: anyorder",
        "license: apache-2.0",
        "tags: [masked-diffusion]",
        "---",
        "",
        f"# {settings.get('name', 'model')}",
        "",
        f"A masked diffusion model of {weights:,} weights, decoded in any order. Task: {json.dumps(model.task)}.",
        "",
        "## Training",
        "",
        f"- Steps: {end.get('step', 0):,}; examples seen: {end.get('examples', 0):,}.",
        f"- Time: {end.get('seconds', 0) / 60:.1f} minutes of steps on {start.get('device', 'unknown')}, "
        f"{start.get('processes', 1)} process(es), {start.get('threads', '?')} thread(s).",
        f"- Data: {start.get('data_count', 0):,} base puzzles, seed {settings.get('data', {}).get('seed')}, "
        f"SHA-256 `{start.get('data_fingerprint', '')}`.",
        f"- Versions: {', '.join(f'{name} {value}' for name, value in start.get('versions', {}).items())}.",
        "",
        *_accuracy(records),
        "## Settings",
        "",
        "```yaml",
        yaml.safe_dump(settings, sort_keys=False).rstrip(),
        "```",
        "",
    ]
    return "\n".join(lines)


def _settings(run_dir: Path, start: dict[str, Any]) -> dict[str, Any]:
    return start.get("settings", {})


def _accuracy(records: list[dict[str, Any]]) -> list[str]:
    evaluations = [record for record in records if record["kind"] == "evaluation"]
    if not evaluations:
        return []
    last = max(record["step"] for record in evaluations)
    lines = [
        "## Accuracy",
        "",
        "Share of held-out puzzles solved completely, with 95 % intervals, and network evaluations a puzzle.",
        "",
        "| puzzles | strategy | solved | interval | count | evaluations |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for record in evaluations:
        if record["step"] == last:
            low, high = record["interval"]
            lines.append(
                f"| {record['puzzles']} | {record['strategy']} | {100 * record['solved_share']:.1f} % "
                f"| {100 * low:.1f} - {100 * high:.1f} % | {record['count']} | {record['nfe_mean']:.1f} |"
            )
    return [*lines, ""]
