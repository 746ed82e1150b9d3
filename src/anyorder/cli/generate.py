"""``anyorder generate``: fill a text template, and watch it fill."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import tyro

from anyorder.cli import screen
from anyorder.cli.options import IntOption, NeededText, PathOption, TextOption, at_least, existing
from anyorder.cli.parts import Decoding
from anyorder.core.errors import UserError

if TYPE_CHECKING:
    import torch

    from anyorder.core.canvas import Canvas
    from anyorder.core.tokenizers import Tokenizer
    from anyorder.decoding.result import Decoded, Step
    from anyorder.decoding.strategies import Strategy
    from anyorder.models.transformer import Transformer
    from anyorder.planning.stopping import Stop

Texts = Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="NAME=TEXT", help_behavior_hint="")]


@dataclass(frozen=True)
class Generate:
    """Fill a text template: {name} is a value, {name:length} a hole of so many tokens, {{ and }} are braces.

    A value for a hole pins it: what is filled then is drawn given that text.
    """

    template: Annotated[str, tyro.conf.Positional, tyro.conf.arg(help_behavior_hint="")] = ""
    """the template, where --file does not name one"""
    model: NeededText = ""
    """folder or hub id of a text model, or a shipped name"""
    file: PathOption = None
    """read the template from this file"""
    value: Texts = ()
    """text of a value or a hole; NAME=@FILE reads it from a file; may be given several times"""
    reply: TextOption = None
    """make it a conversation: the template is the user's message, and this one the assistant's, as "{reply:128}" """
    system: TextOption = None
    """the system's message in a conversation"""
    count: int = 1
    """how many times to fill it, each with random draws of its own"""
    until_end: bool = False
    """leave undecided what follows an end of text in its hole"""
    decoding: Decoding = field(default_factory=Decoding)
    dtype: TextOption = None
    """number format of the weights: float32, bfloat16, float16 (default: as stored)"""
    mask_token: TextOption = None
    """mask token of a model made for the next token, as its tokenizer spells it (default: a new one)"""
    threads: IntOption = None
    """CPU threads (default: all cores)"""
    device: str = "auto"
    """cpu, cuda, cuda:1, mps, or auto"""
    trace: PathOption = None
    """write how it was decoded, for `anyorder view`"""
    json: PathOption = None
    """write texts, holes and the facts of the run as JSON"""

    def __post_init__(self) -> None:
        at_least("--count", self.count, 1)
        at_least("--threads", self.threads, 1)
        if not self.model:
            raise UserError("--model is missing: name a folder, a hub id or a shipped text model")
        if self.file is not None and self.template:
            raise UserError("give the template as an argument or with --file, not both")
        if self.system is not None and self.reply is None:
            raise UserError("--system belongs to a conversation; give --reply as well")

    def run(self) -> None:
        """Fill the template, show it, write what was asked for."""
        since = time.time()
        from anyorder.core.template import ChatTemplate, Template

        # The template is read and checked before any model is loaded: a mistake fails at once.
        text = self.template if self.file is None else existing(self.file, "template").read_text(encoding="utf-8")
        if self.reply is None:
            template = Template(text)
        else:
            system = () if self.system is None else (("system", self.system),)
            template = ChatTemplate((*system, ("user", text), ("assistant", self.reply)))
        values = _values(self.value)
        name, strategy = self.decoding.resolve()
        device = prepare(self.threads, self.device)
        model, tokenizer = open_model(self.model, device, self.dtype, self.mask_token)
        canvas = template.canvas(tokenizer, **values)
        strategy = _fitted(strategy, model, self.until_end, tokenizer, list(template.holes))
        result = self._decode(model, tokenizer, canvas, name, strategy, device)
        self._show(model, tokenizer, canvas, result, name, since, str(device))

    def _decode(
        self,
        model: Transformer,
        tokenizer: Tokenizer,
        canvas: Canvas,
        name: str,
        strategy: Strategy,
        device: torch.device,
    ) -> _Filled:
        import torch

        from anyorder.core.canvas import Canvas as Board
        from anyorder.decoding.decoder import stream
        from anyorder.decoding.trace import trace_decode, write_trace

        whole = Board.stack([canvas] * self.count).to(device)
        with _live(tokenizer, whole, canvas) as watch:
            if self.trace is None:
                steps = stream(model, whole, **strategy.parts(), seed=self.decoding.seed)
                while True:
                    try:
                        watch(next(steps))
                    except StopIteration as end:
                        done: Decoded = end.value
                        return _Filled(done.tokens.cpu(), done.nfe.tolist(), done.finish_reason)
            vocabulary = [tokenizer.decode([token]) for token in range(model.vocab_size)]
            options: dict[str, Any] = {"name": name, "model_name": self.model, "task": model.task}
            trace = trace_decode(
                model, whole, strategy, seed=self.decoding.seed, vocabulary=vocabulary, watch=watch, **options
            )
        write_trace(self.trace, trace)
        return _Filled(
            torch.tensor([row.final_tokens for row in trace.rows]),
            [row.nfe for row in trace.rows],
            [row.finish_reason for row in trace.rows],
        )

    def _show(
        self,
        model: Transformer,
        tokenizer: Tokenizer,
        canvas: Canvas,
        result: _Filled,
        name: str,
        since: float,
        device: str,
    ) -> None:
        from rich.text import Text

        from anyorder.core.canvas import Canvas as Board
        from anyorder.core.template import read_holes, read_text
        from anyorder.experiments import records

        whole = Board.stack([canvas] * self.count)
        texts, holes = read_text(tokenizer, whole, result.tokens), read_holes(tokenizer, whole, result.tokens)
        console = screen.output()
        for number, text in enumerate(texts):
            if self.count > 1:
                console.print(f"-- {number + 1} of {self.count}", style="dim")
            console.print(Text(text), soft_wrap=True)
        nfe = result.nfe
        decided = int(canvas.unknown.sum())
        screen.messages().print(f"{decided} tokens in {sum(nfe) / len(nfe):g} evaluations under {name}", style="dim")
        if self.json is not None:
            rows = [
                {"text": text, "holes": named, "nfe": count, "finish_reason": reason}
                for text, named, count, reason in zip(texts, holes, nfe, result.reasons, strict=True)
            ]
            record = records.Record(
                name="generate",
                title=f"{self.count} x {decided} tokens under {name}",
                summary={"count": self.count, "tokens": decided, "nfe_mean": sum(nfe) / len(nfe)},
                columns=["text", "nfe", "finish_reason"],
                rows=rows,
                details={"strategy": name},
                run=records.run_facts(
                    seed=self.decoding.seed, device=device, since=since, model=records.model_facts(self.model, model)
                ),
            )
            records.write_record(self.json, record)
        for path, what in ((self.trace, "trace"), (self.json, "record")):
            if path is not None:
                screen.messages().print(f"{what}: {path}")


class _Filled(NamedTuple):
    """Filled canvases: tokens (count, length) on the CPU, evaluations and finish reason of each."""

    tokens: torch.Tensor
    nfe: Sequence[int]
    reasons: Sequence[str]


def _values(given: tuple[str, ...]) -> dict[str, str]:
    """Names and texts of ``NAME=TEXT`` and ``NAME=@FILE``."""
    values: dict[str, str] = {}
    for entry in given:
        name, equals, text = entry.partition("=")
        if not equals or not name:
            raise UserError(f"--value must be NAME=TEXT, not {entry!r}")
        if name in values:
            raise UserError(f"--value {name} is given twice")
        values[name] = existing(Path(text[1:]), "text").read_text(encoding="utf-8") if text.startswith("@") else text
    return values


def prepare(threads: int | None, device: str) -> torch.device:
    """Set the number of threads and return the device."""
    from anyorder.cli.options import Machine

    return Machine(threads=threads, device=device).prepare()


def open_model(name: str, device: torch.device, dtype: str | None, mask: str | None) -> tuple[Transformer, Tokenizer]:
    """A text model and its tokenizer."""
    import torch

    from anyorder.models.checkpoints import from_pretrained
    from anyorder.models.families.tokenizers import load_tokenizer

    formats = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if dtype is not None and dtype not in formats:
        raise UserError(f"--dtype {dtype!r} is unknown; choose from {', '.join(formats)}")
    model = from_pretrained(name, device=device, dtype=None if dtype is None else formats[dtype], mask_token=mask)
    return model, load_tokenizer(name, model=model)


def _fitted(
    strategy: Strategy, model: Transformer, until_end: bool, tokenizer: Tokenizer, holes: list[str]
) -> Strategy:
    """The strategy with what the model and the template ask for: blocks of a block-causal network, stops of holes."""
    from anyorder.planning.stopping import EndOfText, Stops
    from anyorder.planning.windows import Blocks

    if strategy.window is None and model.config.attention == "block-causal":
        strategy = replace(strategy, window=Blocks(model.config.block_size, aligned=True))
    if not until_end:
        return strategy
    ends = tuple({tokenizer.end_token_id, tokenizer.pad_token_id, *getattr(tokenizer, "end_token_ids", ())})
    rules: list[Stop] = [EndOfText(tuple(sorted(ends)), hole=hole) for hole in holes]
    if strategy.stop is not None:
        rules.insert(0, strategy.stop)
    if not rules:
        return strategy
    return replace(strategy, stop=rules[0] if len(rules) == 1 else Stops(*rules))


@contextmanager
def _live(tokenizer: Tokenizer, whole: Canvas, canvas: Canvas) -> Iterator[Callable[[Step], None]]:
    """Show the first text as it fills, where the reader is a terminal; it is cleared at the end."""
    from rich.live import Live

    console = screen.messages()
    if not console.is_terminal:
        yield lambda step: None
        return
    with Live(console=console, refresh_per_second=12, transient=True) as live:
        live.update(picture(tokenizer, canvas))

        def watch(step: Step) -> None:
            row = (step.rows == 0).nonzero()
            if len(row):
                live.update(picture(tokenizer, canvas, step, int(row[0, 0])))

        yield watch


def picture(tokenizer: Tokenizer, canvas: Canvas, step: Step | None = None, row: int = 0) -> Any:
    """The text of a row as rich shows it: given text plain, decided text green, what this step decided bold, a shaded
    box for each undecided token."""
    from rich.text import Text

    tokens = (canvas.tokens[0] if step is None else step.tokens[row]).tolist()
    unknown = canvas.unknown[0].tolist()
    missing = unknown if step is None else step.missing[row].tolist()
    fresh = [False] * len(tokens) if step is None else step.revealed[row].tolist()
    shown = Text()
    kinds = [
        "open" if absent else "" if not asked else "bold green" if new else "green"
        for absent, asked, new in zip(missing, unknown, fresh, strict=True)
    ]
    start = 0
    for end in range(1, len(tokens) + 1):
        if end == len(tokens) or kinds[end] != kinds[start]:
            run, kind = tokens[start:end], kinds[start]
            text = "\u2591" * len(run) if kind == "open" else tokenizer.decode(run)
            shown.append(text, "dim" if kind == "open" else kind)
            start = end
    return shown
