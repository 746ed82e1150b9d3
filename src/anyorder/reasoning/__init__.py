"""Reasoning as infilling: how sure the answer is already, traces given an answer, how good a trace is, mending one.

A canvas has a hole for the reasoning and one for the answer. Everything decodes through `anyorder.decode`.

Source: "No Compute Left Behind: Rethinking Reasoning and Sampling with Masked Diffusion Models" (2510.19990).
"""

from anyorder.reasoning.mending import WeakSpan, insert_reflection, reopen, weakest_span
from anyorder.reasoning.scores import TraceScore, reasked_score, sequence_likelihood, trace_score
from anyorder.reasoning.traces import Samples, keep_best, pin, sample_traces
from anyorder.reasoning.uncertainty import Uncertain, answer_bound, follow_answer

__all__ = [
    "Samples",
    "TraceScore",
    "Uncertain",
    "WeakSpan",
    "answer_bound",
    "follow_answer",
    "insert_reflection",
    "keep_best",
    "pin",
    "reasked_score",
    "reopen",
    "sample_traces",
    "sequence_likelihood",
    "trace_score",
    "weakest_span",
]
