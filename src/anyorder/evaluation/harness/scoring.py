"""What the task files measure: programs that pass, answers that are equal, texts that overlap."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from anyorder.evaluation.harness.programs import run_program

_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?|-?\.\d+")


def passes(program: str, document: dict[str, Any]) -> dict[str, float]:
    """Whether a program passes the tests of a HumanEval problem."""
    test = f"{program}\n{document['test']}\ncheck({document['entry_point']})\n"
    return {"pass@1": float(run_program(test).passed)}


def completed(document: dict[str, Any], results: Sequence[str]) -> dict[str, float]:
    """The prompt and what the model wrote after it."""
    return passes(document["prompt"] + results[0], document)


def infilled(document: dict[str, Any], results: Sequence[str]) -> dict[str, float]:
    """What the model wrote, between the prompt and the suffix."""
    return passes(document["prompt"] + results[0] + document["suffix"], document)


def last_number(text: str) -> str:
    """The last number of a text in plain form, or nothing."""
    found = _NUMBER.findall(text)
    if not found:
        return ""
    number = found[-1].replace(",", "")
    return number.rstrip("0").rstrip(".") if "." in number else number


def same_number(document: dict[str, Any], results: Sequence[str]) -> dict[str, float]:
    """Whether the last number of the answer is that of a GSM8K problem (behind ``####``)."""
    truth = last_number(document["answer"].rpartition("####")[2])
    return {"exact_match": float(truth != "" and last_number(results[0]) == truth)}


def boxed(text: str) -> str:
    """What stands in the last ``\\boxed{...}`` of a solution, its braces matched; nothing where there is none."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return ""
    depth, begin = 1, start + len("\\boxed{")
    for index in range(begin, len(text)):
        depth += {"{": 1, "}": -1}.get(text[index], 0)
        if depth == 0:
            return text[begin:index]
    return ""


def plain_answer(answer: str) -> str:
    """A mathematical answer without what does not change it: spaces, dollar signs, sizes of brackets, units."""
    answer = answer.strip().removesuffix(".").replace("\\$", "").replace("$", "")
    for old, new in (("\\left", ""), ("\\right", ""), ("\\!", ""), ("\\,", ""), ("\\ ", ""), ("\\%", ""), ("%", "")):
        answer = answer.replace(old, new)
    answer = (
        answer.replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac").replace("^\\circ", "").replace("^{\\circ}", "")
    )
    answer = re.sub(r"\\(?:text|mathrm|mbox)\{([^{}]*)\}", r"\1", answer)
    answer = re.sub(r"\\frac(\d)(\d)", r"\\frac{\1}{\2}", answer)
    answer = re.sub(r"\s+", "", answer)
    return re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", answer)


def same_answer(document: dict[str, Any], results: Sequence[str]) -> dict[str, float]:
    """Whether the answer is the boxed one of a MATH problem's solution, in plain form."""
    truth = plain_answer(document.get("answer") or boxed(document["solution"]))
    return {"exact_match": float(truth != "" and plain_answer(results[0].partition("}$")[0]) == truth)}


def overlap(document: dict[str, Any], results: Sequence[str]) -> dict[str, float]:
    """ROUGE-1, ROUGE-2 and ROUGE-L (F1 of words) of an infilled text."""
    truth, made = _words(document["middle"]), _words(results[0])
    return {"rouge1": _shared(truth, made, 1), "rouge2": _shared(truth, made, 2), "rougeL": _longest(truth, made)}


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def _f1(common: int, truth: int, made: int) -> float:
    return 2 * common / (truth + made) if common else 0.0


def _shared(truth: list[str], made: list[str], size: int) -> float:
    """F1 of the runs of ``size`` words that two texts share."""
    left, right = (Counter(tuple(words[i : i + size]) for i in range(len(words) - size + 1)) for words in (truth, made))
    return _f1((left & right).total(), left.total(), right.total())


def _longest(truth: list[str], made: list[str]) -> float:
    """F1 of the longest common subsequence of words."""
    row = [0] * (len(made) + 1)
    for word in truth:
        diagonal = 0
        for index, other in enumerate(made, start=1):
            diagonal, row[index] = row[index], diagonal + 1 if word == other else max(row[index], row[index - 1])
    return _f1(row[-1], len(truth), len(made))
