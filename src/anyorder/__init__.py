"""Masked diffusion models, decoded in the order that makes them right.

``import anyorder as ao`` gives the names below. Each is loaded when it is first used, so the import itself is instant,
and what needs torch needs nothing else.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anyorder.core.canvas import DECIDED, GIVEN, PADDING, UNDECIDED, Canvas, State
    from anyorder.core.denoiser import Denoiser, Session
    from anyorder.core.errors import UserError
    from anyorder.core.randomness import fold, row_seeds
    from anyorder.core.schedules import Cosine, Geometric, Linear, LogLinear, NoiseSchedule, Polynomial
    from anyorder.core.splicing import Edit
    from anyorder.core.template import ChatTemplate, Template, read_holes, read_text
    from anyorder.core.tokenizers import ByteTokenizer, Tokenizer
    from anyorder.decoding.beam import Beams, beam_search
    from anyorder.decoding.decoder import decode, stream
    from anyorder.decoding.guidance import ClassifierFree
    from anyorder.decoding.leave_out import LeaveOut
    from anyorder.decoding.result import Decoded, Step
    from anyorder.decoding.strategies import Strategy, strategies
    from anyorder.decoding.trace import read_trace, trace_decode, write_trace
    from anyorder.models.checkpoints import from_pretrained, push_to_hub, save_pretrained
    from anyorder.models.families.causal import open_causal
    from anyorder.models.families.tokenizers import load_tokenizer
    from anyorder.models.oracle import EnumeratedJoint, MarkovChain
    from anyorder.models.transformer import Transformer
    from anyorder.models.transformer_config import TransformerConfig
    from anyorder.planning.budgets import (
        KLASS,
        Draft,
        EntropyBelow,
        EntropyBound,
        Factor,
        Fixed,
        OneByOne,
        ProbabilityAbove,
        Schedule,
    )
    from anyorder.planning.lookahead import Lookahead
    from anyorder.planning.orders import (
        Calibrated,
        Defer,
        Entropy,
        LeftToRight,
        Margin,
        Noisy,
        Planned,
        Prior,
        Random,
        SampledProbability,
        TopProbability,
    )
    from anyorder.planning.reconsider import Reconsider
    from anyorder.planning.remasking import P2, WINO, MaskPredict
    from anyorder.planning.remdm import ReMDM
    from anyorder.planning.samplers import Greedy, MinP, Temperature, TopK, TopP
    from anyorder.planning.stopping import AnswerEntropy, EndOfHole, EndOfText, Prophet, Stops
    from anyorder.planning.windows import Blocks, Dilated, Holes, Whole

_HOME = {
    "core.canvas": ("DECIDED", "GIVEN", "PADDING", "UNDECIDED", "Canvas", "State"),
    "core.denoiser": ("Denoiser", "Session"),
    "core.errors": ("UserError",),
    "core.randomness": ("fold", "row_seeds"),
    "core.schedules": ("Cosine", "Geometric", "Linear", "LogLinear", "NoiseSchedule", "Polynomial"),
    "core.splicing": ("Edit",),
    "core.template": ("ChatTemplate", "Template", "read_holes", "read_text"),
    "core.tokenizers": ("ByteTokenizer", "Tokenizer"),
    "decoding.beam": ("Beams", "beam_search"),
    "decoding.decoder": ("decode", "stream"),
    "decoding.guidance": ("ClassifierFree",),
    "decoding.leave_out": ("LeaveOut",),
    "decoding.result": ("Decoded", "Step"),
    "decoding.strategies": ("Strategy", "strategies"),
    "decoding.trace": ("read_trace", "trace_decode", "write_trace"),
    "models.checkpoints": ("from_pretrained", "push_to_hub", "save_pretrained"),
    "models.families.causal": ("open_causal",),
    "models.families.tokenizers": ("load_tokenizer",),
    "models.oracle": ("EnumeratedJoint", "MarkovChain"),
    "models.transformer": ("Transformer",),
    "models.transformer_config": ("TransformerConfig",),
    "planning.budgets": (
        "Draft",
        "EntropyBelow",
        "EntropyBound",
        "Factor",
        "Fixed",
        "KLASS",
        "OneByOne",
        "ProbabilityAbove",
        "Schedule",
    ),
    "planning.lookahead": ("Lookahead",),
    "planning.orders": (
        "Calibrated",
        "Defer",
        "Entropy",
        "LeftToRight",
        "Margin",
        "Noisy",
        "Planned",
        "Prior",
        "Random",
        "SampledProbability",
        "TopProbability",
    ),
    "planning.reconsider": ("Reconsider",),
    "planning.remasking": ("MaskPredict", "P2", "WINO"),
    "planning.remdm": ("ReMDM",),
    "planning.samplers": ("Greedy", "MinP", "Temperature", "TopK", "TopP"),
    "planning.stopping": ("AnswerEntropy", "EndOfHole", "EndOfText", "Prophet", "Stops"),
    "planning.windows": ("Blocks", "Dilated", "Holes", "Whole"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "DECIDED",
    "GIVEN",
    "KLASS",
    "P2",
    "PADDING",
    "UNDECIDED",
    "WINO",
    "AnswerEntropy",
    "Beams",
    "Blocks",
    "ByteTokenizer",
    "Calibrated",
    "Canvas",
    "ChatTemplate",
    "ClassifierFree",
    "Cosine",
    "Decoded",
    "Defer",
    "Denoiser",
    "Dilated",
    "Draft",
    "Edit",
    "EndOfHole",
    "EndOfText",
    "Entropy",
    "EntropyBelow",
    "EntropyBound",
    "EnumeratedJoint",
    "Factor",
    "Fixed",
    "Geometric",
    "Greedy",
    "Holes",
    "LeaveOut",
    "LeftToRight",
    "Linear",
    "LogLinear",
    "Lookahead",
    "Margin",
    "MarkovChain",
    "MaskPredict",
    "MinP",
    "NoiseSchedule",
    "Noisy",
    "OneByOne",
    "Planned",
    "Polynomial",
    "Prior",
    "ProbabilityAbove",
    "Prophet",
    "Random",
    "ReMDM",
    "Reconsider",
    "SampledProbability",
    "Schedule",
    "Session",
    "State",
    "Step",
    "Stops",
    "Strategy",
    "Temperature",
    "Template",
    "Tokenizer",
    "TopK",
    "TopP",
    "TopProbability",
    "Transformer",
    "TransformerConfig",
    "UserError",
    "Whole",
    "beam_search",
    "decode",
    "fold",
    "from_pretrained",
    "load_tokenizer",
    "open_causal",
    "push_to_hub",
    "read_holes",
    "read_text",
    "read_trace",
    "row_seeds",
    "save_pretrained",
    "strategies",
    "stream",
    "trace_decode",
    "write_trace",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
