"""The functions that the task files of this folder name; the harness loads this file by its path."""

from __future__ import annotations

import re
from typing import Any

from anyorder.evaluation.harness.data import documents, split_line
from anyorder.evaluation.harness.scoring import completed, infilled, overlap, same_answer, same_number

__all__ = [
    "completed",
    "gsm8k",
    "humaneval",
    "infilled",
    "infilling",
    "mathematics",
    "overlap",
    "same_answer",
    "same_number",
    "split_lines",
    "stories",
]

_INFILLING = "loubnabnl/humaneval_infilling"


def gsm8k(**_: Any) -> dict[str, Any]:
    """GSM8K."""
    return documents({"train": "gsm8k_train", "test": "gsm8k_test"}, "openai/gsm8k", "main")


def humaneval(**_: Any) -> dict[str, Any]:
    """HumanEval."""
    return documents({"test": "HumanEval"}, "openai/openai_humaneval")


def infilling(name: str, **_: Any) -> dict[str, Any]:
    """A file of HumanEval-Infilling."""
    return documents({"test": f"HumanEval-{name}"}, _INFILLING, f"HumanEval-{name}")


def split_lines(**_: Any) -> dict[str, Any]:
    """The single lines of HumanEval-Infilling, each cut inside."""
    return {"test": infilling("SingleLineInfilling")["test"].map(split_line)}


def mathematics(**_: Any) -> dict[str, Any]:
    """MATH: the 500 problems that most compare on."""
    return documents({"test": "math_test"}, "HuggingFaceH4/MATH-500")


def stories(**_: Any) -> dict[str, Any]:
    """Five-sentence stories whose third sentence is to be filled."""
    found = documents({"test": "rocstories"}, "mintujupally/ROCStories")
    return {"test": found["test"].map(_story).filter(lambda document: bool(document["middle"]))}


def _story(document: dict[str, Any]) -> dict[str, str]:
    sentences = re.split(r"(?<=[.!?])\s+", str(document["text"]).strip())
    if len(sentences) != 5:
        return {"before": "", "middle": "", "after": ""}
    return {"before": " ".join(sentences[:2]), "middle": sentences[2], "after": " ".join(sentences[3:])}
