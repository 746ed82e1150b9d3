"""Models as folders: what is written is read, and anything amiss is named."""

from __future__ import annotations

import json
import pickle
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from anyorder.core.errors import UserError
from anyorder.models import checkpoints
from anyorder.models.checkpoints import ASSETS, from_pretrained, push_to_hub, save_pretrained, shipped_models
from anyorder.models.transformer import Transformer
from anyorder.models.transformer_config import Grid, Sections, TransformerConfig

TASK = {"name": "sudoku", "box_rows": 2, "box_columns": 2}


def network(seed: int = 0, **changes: Any) -> Transformer:
    values: dict[str, Any] = {"vocab_size": 5, "mask_token_id": 0, "layers": 1, "heads": 2, "width": 8, "mlp_width": 8}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Transformer(TransformerConfig(**{**values, **changes}))
        for parameter in model.parameters():
            nn.init.normal_(parameter)
    model.task = TASK
    return model.eval()


def logits(model: Transformer) -> torch.Tensor:
    return model(torch.arange(32).view(2, 16) % 5)


GRID = {"length": 16, "positions": "grid", "grid": Grid(4, 4, 2, 2), "relation_bias": True}
SECTIONS = {"length": 16, "positions": "sections", "sections": Sections(((1, 4), (4, 3))), "relation_bias": True}


@pytest.mark.parametrize(
    "changes",
    [
        *({}, GRID, SECTIONS, {"tied_head": True}, {"positions": "learned", "length": 20, "loops": 2}),
        {"same_token_bias": True, "vocab_rows": 64},
    ],
)
def test_round_trip(tmp_path: Path, changes: dict[str, Any]) -> None:
    model = network(**changes)
    folder = save_pretrained(model, tmp_path / "model", card="# A card\n")
    loaded = from_pretrained(folder)
    assert torch.equal(logits(loaded), logits(model))
    assert (loaded.config, loaded.task, loaded.training) == (model.config, TASK, False)
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    assert (folder / "README.md").read_text() == "# A card\n"
    assert {path.name for path in tmp_path.rglob("*")} == {"model", "config.json", "model.safetensors", "README.md"}
    assert from_pretrained(str(folder), dtype=torch.bfloat16).embedding.weight.dtype == torch.bfloat16


def test_loading_draws_nothing_and_needs_no_network(tmp_path: Path, monkeypatch: Any) -> None:
    def refuse(*arguments: Any, **keywords: Any) -> None:
        raise AssertionError("the network was asked")

    folder = save_pretrained(network(), tmp_path / "model")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    before = torch.get_rng_state()
    from_pretrained(folder)
    assert torch.equal(torch.get_rng_state(), before)


def test_saving_again_replaces_and_other_folders_are_spared(tmp_path: Path) -> None:
    save_pretrained(network(0), tmp_path / "model")
    save_pretrained(network(1), tmp_path / "model")
    assert torch.equal(logits(from_pretrained(tmp_path / "model")), logits(network(1)))
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="it holds other files"):
        save_pretrained(network(), other)
    assert (other / "thesis.txt").read_text() == "years of work"
    with pytest.raises(UserError, match="it is a file"):
        save_pretrained(network(), other / "thesis.txt")


def test_the_default_card_says_what_it_is(tmp_path: Path) -> None:
    folder = save_pretrained(network(), tmp_path / "model")
    text = (folder / "README.md").read_text()
    count = sum(parameter.numel() for parameter in network().parameters())
    assert f"{count:,} weights" in text
    assert "sudoku" in text


def test_a_full_disk_leaves_the_earlier_model(tmp_path: Path, processes_limit: Callable[[int], Any]) -> None:
    folder = save_pretrained(network(0), tmp_path / "model")
    with processes_limit(200), pytest.raises(UserError, match=r"cannot save the model .*model: file too large"):
        save_pretrained(network(1), folder)
    assert torch.equal(logits(from_pretrained(folder)), logits(network(0)))
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.fixture
def processes_limit() -> Callable[[int], Any]:
    """A context in which this process can write no file beyond a size: what a full disk does, without filling one."""
    from contextlib import contextmanager

    @contextmanager
    def limit(size: int) -> Any:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limit


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    values = json.loads((folder / "config.json").read_text())
    change(values)
    (folder / "config.json").write_text(json.dumps(values))


def cut(path: Path, count: int) -> None:
    path.write_bytes(path.read_bytes()[:count])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "config.json").unlink(), r"is not a model: it has no config\.json"),
        (lambda f: (f / "config.json").write_text("{"), r"config\.json cannot be read"),
        (lambda f: (f / "config.json").write_text("[]"), "is not an anyorder model"),
        (lambda f: rewrite(f, lambda v: v.update(model_type=7)), '"model_type" is 7'),
        (lambda f: rewrite(f, lambda v: v.update(format_version=2)), "format version 2"),
        (lambda f: rewrite(f, lambda v: v.update(tasks={})), "unknown entry 'tasks'"),
        (lambda f: rewrite(f, lambda v: v.pop("transformer")), '"transformer" must be a mapping'),
        (
            lambda f: rewrite(f, lambda v: v["transformer"].update(wdith=8)),
            "unknown transformer setting 'wdith'; did you mean 'width'",
        ),
        (lambda f: rewrite(f, lambda v: v["transformer"].update(width=16)), r"'embedding\.weight' has the shape"),
        (lambda f: rewrite(f, lambda v: v["transformer"].update(layers=2)), r"lacks 'blocks\.1\."),
        (
            lambda f: rewrite(f, lambda v: v["transformer"].update(tied_head=True)),
            r"has 'head\.weight', which the config does not",
        ),
        (lambda f: rewrite(f, lambda v: v["transformer"].update(heads=3)), "width .* must be a multiple of heads"),
        (lambda f: (f / "model.safetensors").unlink(), r"has no model\.safetensors"),
        (lambda f: cut(f / "model.safetensors", 300), "damaged or truncated"),
        (lambda f: cut(f / "model.safetensors", 0), "damaged or truncated"),
        (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), r"pytorch_model\.bin, a pickle"),
    ],
)
def test_damage_is_named(tmp_path: Path, damage: Callable[[Path], object], message: str) -> None:
    folder = save_pretrained(network(), tmp_path / "model")
    damage(folder)
    with pytest.raises(UserError, match=message) as caught:
        from_pretrained(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return open, (str(tmp_path / "exploded"), "w")

    folder = save_pretrained(network(), tmp_path / "model")
    (folder / "model.safetensors").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UserError, match="damaged or truncated"):
        from_pretrained(folder)
    (tmp_path / "weights.pt").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UserError, match="is a pickle"):
        from_pretrained(tmp_path / "weights.pt")
    assert not (tmp_path / "exploded").exists()


@pytest.fixture(scope="module")
def folder_to_spoil(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_pretrained(network(), tmp_path_factory.mktemp("spoilt") / "model")


@settings(max_examples=25)
@given(st.binary(max_size=400))
def test_any_bytes_as_weights_are_refused(folder_to_spoil: Path, content: bytes) -> None:
    (folder_to_spoil / "model.safetensors").write_bytes(content)
    with pytest.raises(UserError):
        from_pretrained(folder_to_spoil)


@pytest.mark.parametrize("name", ["sudoku-9x8", "", "/nowhere/at/all", "./nowhere", "a/b/c"])
def test_an_unknown_name_lists_the_shipped_ones(name: str, monkeypatch: Any, tmp_path: Path) -> None:
    assets = tmp_path / "assets"
    save_pretrained(network(), assets / "tiny-4x4")
    monkeypatch.setattr(checkpoints, "ASSETS", assets)
    with pytest.raises(UserError, match=r"no model .*tiny-4x4") as caught:
        from_pretrained(name)
    assert "\n" not in str(caught.value)
    assert torch.equal(logits(from_pretrained("tiny-4x4")), logits(network()))


def test_the_hub_is_asked_for_safetensors_only(tmp_path: Path, monkeypatch: Any) -> None:
    folder = save_pretrained(network(), tmp_path / "model")
    asked: dict[str, Any] = {}

    def snapshot_download(name: str, **options: Any) -> str:
        asked.update(options, name=name)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert torch.equal(logits(from_pretrained("owner/name", revision="v1")), logits(network()))
    assert (asked["name"], asked["revision"]) == ("owner/name", "v1")
    assert not any("bin" in pattern or pattern == "*" for pattern in asked["allow_patterns"])

    def unreachable(name: str, **options: Any) -> str:
        raise huggingface_hub.errors.LocalEntryNotFoundError("no\nconnection")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    with pytest.raises(UserError, match=r"no model 'owner/name': .*the hub says: no connection"):
        from_pretrained("owner/name")


def test_push_uploads_the_three_files(monkeypatch: Any) -> None:
    seen: dict[str, Any] = {}

    class Api:
        def create_repo(self, repository: str, **options: Any) -> None:
            seen["repository"] = repository

        def upload_folder(self, *, folder_path: str, **options: Any) -> str:
            seen["files"] = sorted(path.name for path in Path(folder_path).iterdir())
            seen["logits"] = logits(from_pretrained(folder_path))
            return "https://hub/owner/name"

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    assert push_to_hub(network(), "owner/name") == "https://hub/owner/name"
    assert (seen["repository"], seen["files"]) == ("owner/name", ["README.md", "config.json", "model.safetensors"])
    assert torch.equal(seen["logits"], logits(network()))

    class NoLogin(Api):
        def create_repo(self, repository: str, **options: Any) -> None:
            raise OSError("no token")

    monkeypatch.setattr(huggingface_hub, "HfApi", NoLogin)
    with pytest.raises(UserError, match="cannot push to owner/name: no token"):
        push_to_hub(network(), "owner/name")


def test_shipped_models_have_cards_and_load() -> None:
    for name in shipped_models():
        model = from_pretrained(name)
        assert model.task is not None
        assert (ASSETS / name / "README.md").read_text().startswith("---")
