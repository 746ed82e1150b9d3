"""Any causal language model of the transformers library as a judge of generated text (extra ``hf``)."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

from anyorder.core.errors import UserError
from anyorder.evaluation.batching import batches

from .generation import Judged, Samples


class TransformersJudge:
    """A causal language model by hub name or folder; Llama-2-7B is the published judge.

    A sample is read as text, behind the model's start token where its tokenizer has one; without one the first token of
    a sample has no law and is not counted. A sample longer than the context is read in pieces, each from a start of its
    own. Only safetensors are loaded, and no remote code.

    Args:
        name: hub id or folder.
        device: where it runs.
        dtype: of its weights; the log-likelihoods are float32 whatever it is. None leaves what is stored.
        batch_size: pieces read together.
        context: tokens of a piece; None takes the model's own limit, at most 2,048.

    Raises:
        UserError: transformers is not installed, or there is no such model.
    """

    def __init__(
        self,
        name: str,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
        batch_size: int = 8,
        context: int | None = None,
    ) -> None:
        try:
            from transformers import AutoModelForCausalLM, AutoTokenizer
        except ImportError:
            raise UserError("a judge from the hub needs the library transformers: pip install 'anyorder[hf]'") from None
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(name)
            kind: dict[str, Any] = {"use_safetensors": True} | ({} if dtype is None else {"dtype": dtype})
            model: Any = AutoModelForCausalLM.from_pretrained(name, **kind)
            self._model: Any = model.to(device).eval()
        except Exception as error:  # from the network, the file system or any model class: it cannot be had
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            raise UserError(f"cannot load the judge {name}: {reason}") from error
        self.name = name
        self._device, self._batch_size = device, batch_size
        limit = getattr(self._model.config, "max_position_embeddings", None) or 2048
        start = self._tokenizer.bos_token_id
        self._start = [] if start is None else [start]
        self.context = min(context or 2048, limit - len(self._start))
        if self.context < 2:
            raise UserError(f"the judge needs a context of at least 2 tokens, not {self.context}")

    @torch.no_grad()
    def __call__(self, samples: Samples) -> Judged:
        rows = [self._tokenizer(text, add_special_tokens=False)["input_ids"] for text in samples.texts]
        unscored = 1 - len(self._start)  # the first token of a piece that nothing stands before
        pieces = [
            (self._start + row[start : start + self.context], number)
            for number, row in enumerate(rows)
            for start in range(0, len(row), self.context)
        ]
        nats, counts = torch.zeros(len(rows), dtype=torch.float64), torch.zeros(len(rows), dtype=torch.int64)
        for piece_rows in batches(len(pieces), self._batch_size):
            part = pieces[piece_rows]
            longest = max(len(piece) for piece, _ in part)
            tokens = torch.zeros(len(part), longest, dtype=torch.int64)
            seen = torch.zeros_like(tokens, dtype=torch.bool)
            for index, (piece, _) in enumerate(part):
                tokens[index, : len(piece)], seen[index, : len(piece)] = torch.tensor(piece), True
            tokens, seen = tokens.to(self._device), seen.to(self._device)
            logits = self._model(input_ids=tokens, attention_mask=seen.long()).logits[:, :-1].float()
            losses = F.cross_entropy(logits.transpose(1, 2), tokens[:, 1:], reduction="none").double()
            sums = (losses * seen[:, 1:]).sum(1).cpu()
            for index, (piece, number) in enumerate(part):
                nats[number] += sums[index]
                counts[number] += len(piece) - len(self._start) - unscored
        return Judged(nats, counts)
