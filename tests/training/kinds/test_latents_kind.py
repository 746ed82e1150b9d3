"""Training on latents-and-observations: settings, a short run, its log and its model."""

from __future__ import annotations

from pathlib import Path

import pytest

from anyorder.core.errors import UserError
from anyorder.models import from_pretrained
from anyorder.training import TrainSettings, load_settings, train
from anyorder.training.build import make_model
from anyorder.training.journal import read_journal
from anyorder.training.kinds.latents import LatentsTask, make_law

TINY = {
    "name": "tiny",
    "task": {"name": "latents", "latents": 4, "observations": 8, "padding": 2},
    "model": {"layers": 1, "heads": 2, "width": 16, "mlp_width": 32, "positions": "learned"},
    "steps": 4,
    "batch_size": 8,
    "evaluation": {"every_steps": 2, "samples": 4, "steps": 3},
    "schedule": {"warmup_steps": 1},
}


def test_a_short_run(tmp_path: Path) -> None:
    result = train(TrainSettings.from_dict(TINY), tmp_path)
    assert result.finished
    evaluations = [entry for entry in read_journal(tmp_path / "log.jsonl") if entry["kind"] == "evaluation"]
    assert [(entry["step"], entry["strategy"]) for entry in evaluations] == [
        (2, "random"), (2, "margin"), (4, "random"), (4, "margin"),
    ]  # fmt: skip
    assert all(0 <= entry["agreement_share"] <= 1 and entry["nfe_mean"] == 3 for entry in evaluations)
    model = from_pretrained(str(tmp_path / "model"))
    assert model.task["family"] == "nae-sat"
    assert (model.vocab_size, model.mask_token_id, model.config.length) == (4, 0, 14)


@pytest.mark.parametrize("order", [0.0, 1.0])
def test_the_easy_order_can_be_trained_on(tmp_path: Path, order: float) -> None:
    settings = TrainSettings.from_dict({**TINY, "steps": 2, "objective": {"ordered": order}})
    assert train(settings, tmp_path).finished


def test_every_family_makes_a_law() -> None:
    sizes = {"latents": 6, "observations": 9}
    laws = [
        make_law(LatentsTask(**sizes)),  # pyright: ignore[reportArgumentType]
        make_law(LatentsTask(family="parity", k=2, noise=0.1, **sizes)),  # pyright: ignore[reportArgumentType]
        make_law(LatentsTask(family="one-way", k=5, **sizes)),  # pyright: ignore[reportArgumentType]
        make_law(LatentsTask(family="slab", **sizes)),  # pyright: ignore[reportArgumentType]
        make_law(LatentsTask(family="colouring", values=4, **sizes)),  # pyright: ignore[reportArgumentType]
        make_law(LatentsTask(family="all-subsets", latents=5, observations=0, k=2, values=3)),
    ]
    assert len({law.fingerprint for law in laws}) == 6
    assert laws[-1].count == 20


def test_what_contradicts_itself_is_refused() -> None:
    for changes, message in (
        ({"observations": 0}, "all-subsets"),
        ({"noise": 0.1}, "parity"),
        ({"values": 3}, "must be 2"),
        ({"family": "slab", "padding": 2}, "nae-sat"),
        ({"latents": 2}, "at least 3 latents"),
        ({"family": "nea-sat"}, "family"),
    ):
        with pytest.raises(UserError, match=message):
            TrainSettings.from_dict({**TINY, "task": {**TINY["task"], **changes}})
    for changes, message in (
        ({"samples": 1}, "at least 2"),
        ({"orders": ["best"]}, "orders"),
        ({"orders": ["margin", "margin"]}, "twice"),
        ({"steps": 0}, "at least 1"),
    ):
        with pytest.raises(UserError, match=message):
            TrainSettings.from_dict({**TINY, "evaluation": changes})


@pytest.mark.parametrize(
    ("name", "millions"), [("latents-small", 0.0587), ("latents-medium", 0.152), ("latents-19m", 19)]
)
def test_the_shipped_configurations(name: str, millions: float) -> None:
    model = make_model(load_settings(name))
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, rel=0.05)
