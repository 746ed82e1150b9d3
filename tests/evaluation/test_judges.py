"""A causal model of the transformers library as a judge: a tiny one with random weights, from a local folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from anyorder.core.errors import UserError
from anyorder.core.tokenizers import ByteTokenizer
from anyorder.evaluation.generation import Samples
from anyorder.evaluation.judges import TransformersJudge

transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")
TEXTS = ["low lower lowest", "newer wider new", "low"]


def save(folder: Path, *, start: bool) -> Path:
    words = {word: k for k, word in enumerate(["<s>", "low", "lower", "lowest", "new", "newer", "wider", "?"])}
    core = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="?"))
    core.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    options = {"bos_token": "<s>"} if start else {}
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=core, unk_token="?", **options)
    tokenizer.save_pretrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = transformers.LlamaConfig(
            vocab_size=8,
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=32,
            initializer_range=0.5,
        )
        transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    base = tmp_path_factory.mktemp("judges")
    return {start: save(base / f"start-{start}", start=start) for start in (True, False)}


def samples(texts: list[str]) -> Samples:
    tokenizer = ByteTokenizer()
    rows = torch.full((len(texts), max(map(len, texts))), tokenizer.pad_token_id)
    for index, text in enumerate(texts):
        rows[index, : len(text)] = torch.tensor(tokenizer.encode(text))
    return Samples(rows, tokenizer, "bytes")


def by_hand(folder: Path, words: list[int], scored_from: int) -> float:
    model = transformers.LlamaForCausalLM.from_pretrained(folder).eval()
    with torch.no_grad():
        laws = model(input_ids=torch.tensor([words])).logits[0].log_softmax(1)
    return -sum(float(laws[place - 1, words[place]]) for place in range(scored_from, len(words)))


def test_with_a_start_token_every_token_counts(folders: dict[bool, Path]) -> None:
    judged = TransformersJudge(str(folders[True]), batch_size=2)(samples(TEXTS))
    assert judged.tokens.tolist() == [3, 3, 1]
    expected = [by_hand(folders[True], words, 1) for words in ([0, 1, 2, 3], [0, 5, 6, 4], [0, 1])]
    assert judged.nats.tolist() == pytest.approx(expected, rel=1e-4)
    assert judged.nats_per_token == pytest.approx(sum(expected) / 7, rel=1e-4)


def test_without_one_the_first_token_has_no_law(folders: dict[bool, Path]) -> None:
    judged = TransformersJudge(str(folders[False]))(samples(TEXTS))
    assert judged.tokens.tolist() == [2, 2, 0]
    expected = [by_hand(folders[False], words, 1) for words in ([1, 2, 3], [5, 6, 4])]
    assert judged.nats.tolist() == pytest.approx([*expected, 0.0], rel=1e-4)


def test_a_long_sample_is_read_in_pieces(folders: dict[bool, Path]) -> None:
    judge = TransformersJudge(str(folders[True]), context=2)
    judged = judge(samples([TEXTS[0]]))
    expected = by_hand(folders[True], [0, 1, 2], 1) + by_hand(folders[True], [0, 3], 1)
    assert judged.tokens.tolist() == [3]
    assert judged.nats.tolist() == pytest.approx([expected], rel=1e-4)


def test_what_is_no_judge_is_refused(tmp_path: Path, folders: dict[bool, Path]) -> None:
    with pytest.raises(UserError, match="cannot load the judge"):
        TransformersJudge(str(tmp_path / "absent"))
    with pytest.raises(UserError, match="context of at least 2"):
        TransformersJudge(str(folders[True]), context=1)
