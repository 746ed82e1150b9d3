"""A denoiser as a model of lm-evaluation-harness.

Generation fills a template. A task may give one in its ``generation_kwargs``; its values are the fields of the
document, and ``context``, the harness's prompt with its examples. So the hole stands where it belongs:

    template: "{context}{reasoning:128}\\nThe answer is {answer:10}"
    template: "{prompt}{middle:64}{suffix}"

Without one the context is followed by one hole. ``hole`` names the hole whose text is the response (the last where not
given), and ``lengths`` maps holes to fields whose number of tokens is the hole's, for benchmarks that give the length.

Likelihood is the bound of `evaluation.likelihood`, with a standard error for every request; for few tokens it is
enumerated, without error. Requests are decoded in batches of unequal lengths; a request draws the same in any batch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from anyorder.core.canvas import Canvas
from anyorder.core.errors import UserError
from anyorder.core.randomness import fold
from anyorder.core.template import ChatTemplate, ChatTokenizer, Hole, Template, read_holes
from anyorder.decoding.decoder import decode
from anyorder.decoding.strategies import Strategy
from anyorder.evaluation.batching import batches
from anyorder.evaluation.likelihood import exact_bound, likelihood_bound
from anyorder.planning.samplers import Temperature, TopK, TopP
from anyorder.planning.stopping import EndOfText

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyorder.core.denoiser import Denoiser
    from anyorder.core.tokenizers import Tokenizer

FEW = 4
"""The most tokens whose bound is enumerated."""
_CHAT = "\ue002"  # begins a context that is a conversation
_LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens")
_KNOWN = (*_LENGTHS, "until", "do_sample", "temperature", "top_p", "top_k", "template", "hole", "lengths")


@dataclass(frozen=True)
class Generation:
    """What a generated response cost.

    Attributes:
        text: the response.
        nfe: network evaluations.
        tokens: what was to be filled.
        truncated: tokens of the context that the network had no room for.
    """

    text: str
    nfe: int
    tokens: int
    truncated: int


@dataclass(frozen=True)
class Likelihood:
    """An estimate of log p(continuation | context): minus the bound, its standard error in nats, the tokens."""

    value: float
    standard_error: float
    tokens: int


class Engine:
    """Answers the harness's requests with a denoiser.

    Args:
        denoiser: the model, on ``device``.
        tokenizer: its tokenizer.
        strategy: how to decode.
        batch_size: canvases decoded together.
        seed: of every random choice.
        max_length: the longest canvas; 0 for no limit. A longer one loses the beginning of its context.
        max_tokens: length of the hole where neither task nor harness says one.
        rounds, draws: samples of a likelihood; see `likelihood_bound`.
        device: where canvases go.
        progress: called with what is done and how much there is.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        tokenizer: Tokenizer,
        strategy: Strategy,
        *,
        batch_size: int = 16,
        seed: int = 0,
        max_length: int = 0,
        max_tokens: int = 256,
        rounds: int = 8,
        draws: int = 16,
        device: torch.device | str = "cpu",
        progress: Callable[[str, int, int], None] | None = None,
    ) -> None:
        self.denoiser, self.tokenizer, self.strategy = denoiser, tokenizer, strategy
        self.batch_size, self.seed, self.max_length, self.max_tokens = batch_size, seed, max_length, max_tokens
        self.rounds, self.draws, self.device, self.progress = rounds, draws, torch.device(device), progress
        self.generations: list[Generation] = []
        self.likelihoods: list[Likelihood] = []

    def generate(self, requests: Sequence[tuple[str, Mapping[str, Any], Mapping[str, Any]]]) -> list[str]:
        """Responses to (context, generation_kwargs, document)."""
        jobs = [self._job(index, *request) for index, request in enumerate(requests)]
        jobs.sort(key=lambda job: (-job.canvas.length, job.index))
        done: dict[int, Generation] = {}
        waiting: dict[Any, list[_Job]] = {}
        for job in jobs:
            waiting.setdefault(job.key, []).append(job)
        for together in waiting.values():
            for part in batches(len(together), self.batch_size):
                batch = together[part]
                done |= {job.index: made for job, made in zip(batch, self._fill(batch), strict=True)}
                self._report("generating", len(done), len(jobs))
        self.generations += [done[index] for index in range(len(jobs))]
        return [done[index].text for index in range(len(jobs))]

    def score(self, requests: Sequence[tuple[str, str]]) -> list[Likelihood]:
        """Estimates for (context, continuation)."""
        made = []
        for index, (context, continuation) in enumerate(requests):
            made.append(self._likelihood(index, context, continuation))
            self._report("scoring", index + 1, len(requests))
        self.likelihoods += made
        return made

    def _report(self, what: str, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress(what, done, total)

    def _job(self, index: int, context: str, options: Mapping[str, Any], doc: Mapping[str, Any]) -> _Job:
        for name in options:
            if name not in _KNOWN:
                raise UserError(f"generation_kwargs: {name!r} is unknown; known are {', '.join(_KNOWN)}")
        asked = (options.get(name) for name in _LENGTHS)
        length = next((int(value) for value in asked if value is not None), self.max_tokens)
        text = options.get("template", f"{{context}}{{response:{length}}}")
        template = Template(text)
        lengths = {
            hole: max(1, len(self.tokenizer.encode(_field(doc, name))))
            for hole, name in options.get("lengths", {}).items()
        }
        template = template.resized(**lengths) if lengths else template
        hole = options.get("hole", list(template.holes)[-1] if template.holes else "")
        if hole not in template.holes:
            raise UserError(f"generation_kwargs: the template has no hole {hole!r}")
        values = {name: context if name == "context" else _field(doc, name) for name in template.values}
        canvas, truncated = self._room(self._canvas(template, values))
        until = options.get("until") or ()
        until = (until,) if isinstance(until, str) else tuple(until)
        return _Job(index, canvas, hole, until, truncated, self._parts(options, template))

    def _canvas(self, template: Template, values: Mapping[str, str]) -> Canvas:
        """A canvas; a context that is a conversation is marked up, and the rest of the template is its reply."""
        context = values.get("context", "")
        if not context.startswith(_CHAT):
            return template.canvas(self.tokenizer, **values)
        head, found, tail = template.text.partition("{context}")
        if head or not found:
            raise UserError("generation_kwargs: with a chat template the task's template must begin with {context}")
        messages, prefix = read_chat(context)
        named = [(role, f"{{_message{number}}}") for number, (role, _) in enumerate(messages)]
        told = {f"_message{number}": text for number, (_, text) in enumerate(messages)}
        rest = {name: text for name, text in values.items() if name != "context"}
        chat = ChatTemplate((*named, ("assistant", "{_prefix}" + tail)))
        return chat.canvas(self.tokenizer, **told, **rest, _prefix=prefix)

    def _room(self, canvas: Canvas) -> tuple[Canvas, int]:
        """A canvas that the network has room for, and how many tokens of its beginning were let go."""
        over = canvas.length - self.max_length if self.max_length else 0
        if over <= 0:
            return canvas, 0
        if bool(canvas.unknown[:, :over].any()):
            raise UserError(
                f"a canvas of {canvas.length} tokens, {int(canvas.unknown.sum())} of them to fill, does not fit a "
                f"network of length {self.max_length}"
            )
        keep = slice(over, None)
        holes = {name: hole[:, keep] for name, hole in canvas.holes.items()}
        return Canvas(canvas.tokens[:, keep], canvas.unknown[:, keep], holes=holes), over

    def _parts(self, options: Mapping[str, Any], template: Template) -> Strategy:
        """The strategy with what the request says of sampling, and a stop where text can end early."""
        strategy = self.strategy
        temperature = float(options.get("temperature") or 0.0)
        if options.get("do_sample") and temperature > 0:
            sampler = Temperature(temperature)
            if options.get("top_k"):
                sampler = sampler | TopK(int(options["top_k"]))
            if options.get("top_p") and float(options["top_p"]) < 1:
                sampler = sampler | TopP(float(options["top_p"]))
            strategy = replace(strategy, sampler=sampler)
        # Only what nothing stands after can end early: elsewhere the text behind would see holes that never fill.
        last = template.parts[-1] if template.parts else None
        if isinstance(last, Hole) and len(template.holes) == 1 and strategy.stop is None:
            named = getattr(self.tokenizer, "end_token_ids", ())
            ends = {self.tokenizer.end_token_id, self.tokenizer.pad_token_id, *named}
            strategy = replace(strategy, stop=EndOfText(tuple(sorted(ends))))
        return strategy

    def _fill(self, batch: Sequence[_Job]) -> list[Generation]:
        canvas = Canvas.stack([job.canvas for job in batch], pad_token=self.tokenizer.pad_token_id).to(self.device)
        seeds = torch.stack([fold(self.seed, job.index) for job in batch]).to(self.device)
        result = decode(self.denoiser, canvas, **batch[0].strategy.parts(), seed=seeds)
        holes = read_holes(self.tokenizer, canvas.to("cpu"), result.tokens.cpu())
        made = []
        for job, texts, nfe in zip(batch, holes, result.nfe.tolist(), strict=True):
            text = texts[job.hole]
            ends = [at for stop in job.until if stop and (at := text.find(stop)) >= 0]
            text = text[: min(ends)] if ends else text
            made.append(Generation(text, nfe, int(job.canvas.unknown.sum()), job.truncated))
        return made

    def _likelihood(self, index: int, context: str, continuation: str) -> Likelihood:
        chat = context.startswith(_CHAT)
        known = self._canvas(Template("{context}"), {"context": context}).tokens[0].tolist()
        # What the tokenizer puts after every text comes after the continuation.
        after = [] if chat else list(getattr(self.tokenizer, "frame", ((), ()))[1])
        tokens = known[: len(known) - len(after)]
        target = self.tokenizer.encode(continuation)
        if not target:
            return Likelihood(0.0, 0.0, 0)
        whole = torch.tensor([[*tokens, *target, *after]])
        unknown = torch.zeros_like(whole, dtype=torch.bool)
        unknown[0, len(tokens) : len(tokens) + len(target)] = True
        canvas, _ = self._room(Canvas(whole, unknown))
        canvas = canvas.to(self.device)
        if len(target) <= FEW:
            return Likelihood(-float(exact_bound(self.denoiser, canvas).mean[0]), 0.0, len(target))
        generator = torch.Generator(device=self.device).manual_seed(int(fold(self.seed, index)))
        bound = likelihood_bound(
            self.denoiser, canvas, generator, rounds=self.rounds, draws=self.draws, batch_size=self.batch_size
        )
        return Likelihood(-float(bound.mean[0]), float(bound.standard_error[0]), len(target))


@dataclass(frozen=True)
class _Job:
    """A request on its way: its canvas, the hole that is its response, where the response ends, and how to decode."""

    index: int
    canvas: Canvas
    hole: str
    until: tuple[str, ...]
    truncated: int
    strategy: Strategy

    @property
    def key(self) -> Any:
        """What requests of one batch have in common."""
        return repr(self.strategy.parts())


def write_chat(history: Sequence[Mapping[str, str]]) -> str:
    """A conversation as a context; `read_chat` undoes it. Text in it cannot turn into markup."""
    return _CHAT + json.dumps([[entry["role"], entry["content"]] for entry in history])


def read_chat(context: str) -> tuple[list[tuple[str, str]], str]:
    """The messages of a conversation, and the beginning of the reply (the last message, if the assistant's)."""
    listed, end = json.JSONDecoder().raw_decode(context.removeprefix(_CHAT))
    messages = [(role, text) for role, text in listed]
    rest = context.removeprefix(_CHAT)[end:]
    if messages and messages[-1][0] == "assistant":
        return messages[:-1], messages[-1][1] + rest
    return messages, rest


def harness_model(engine: Engine, name: str) -> Any:
    """The engine as what the harness calls a model. Raises ``UserError`` where the harness is not installed."""
    from anyorder.models.families.family import extra

    base: Any = extra("lm_eval.api.model", "an evaluation", "eval").LM

    class HarnessModel(base):
        """Requests of the harness, answered by an engine."""

        tokenizer_name = name

        def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
            return engine.generate([(*request.args[:2], request.doc) for request in requests])

        def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
            # Whether greedy decoding would give the continuation is another question, which costs a decode.
            return [(made.value, False) for made in engine.score([request.args[:2] for request in requests])]

        def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
            return [made.value for made in engine.score([("", request.args[0]) for request in requests])]

        def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
            if not isinstance(engine.tokenizer, ChatTokenizer):
                raise UserError(f"{type(engine.tokenizer).__name__} has no markup for conversations")
            return write_chat(chat_history)

        def chat_template(self, chat_template: bool | str = False) -> str:
            return "the model's own" if chat_template else ""

    return HarnessModel()


def _field(doc: Mapping[str, Any], name: str) -> str:
    if name not in doc:
        raise UserError(
            f"generation_kwargs: the documents have no field {name!r}; they have {', '.join(map(str, doc))}"
        )
    return str(doc[name])
