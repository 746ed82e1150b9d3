"""The experiments on arithmetic at their smallest scale, on a network that knows nothing of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from anyorder.core.errors import UserError
from anyorder.experiments import load_experiment, run_experiment
from anyorder.experiments.arithmetic import load_model, pearson, row
from anyorder.experiments.experiment import Settings, Unfinished
from anyorder.experiments.finetuning import ARMS, NAMED, _file_name, training_sets
from anyorder.experiments.reasoning_trace_scores import _plain_within, _within
from anyorder.experiments.records import Record, read_record
from anyorder.experiments.sampled_traces import along, at_step
from anyorder.models.checkpoints import save_pretrained
from anyorder.models.transformer import Transformer
from anyorder.models.transformer_config import TransformerConfig
from anyorder.tasks.arithmetic import TOKENIZER, Problem


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    network = Transformer(
        TransformerConfig(
            vocab_size=TOKENIZER.vocab_size,
            mask_token_id=TOKENIZER.mask_token_id,
            layers=1,
            heads=2,
            width=16,
            mlp_width=16,
        )
    )
    with torch.no_grad():
        # It writes digits, so that there is something to read.
        network.head.weight[48:58].normal_(std=0.2)  # type: ignore[union-attr]
    small = {"operations": [1, 1], "operand": 20, "largest": 40}
    network.task = {"name": "arithmetic", "normal": small, "hard": {**small, "largest": 99}}
    return save_pretrained(network, tmp_path_factory.mktemp("models") / "tiny")


def run(name: str, model: Path, tmp_path: Path, **changes: object) -> Record:
    settings = Settings(
        scale="smoke",
        out=tmp_path / "results",
        work=tmp_path / "runs",
        model=str(model),
        **changes,  # pyright: ignore
    )
    record, paths = run_experiment(name, settings, lambda what, done, total: None)
    has_figure = load_experiment(name).plot is not None
    assert [path.name for path in paths] == [f"{name}-smoke{s}" for s in (".json", ".md", *([".png"] * has_figure))]
    assert read_record(paths[0]).rows == record.rows
    assert set(record.columns) <= {key for line in record.rows for key in line}
    return record


@pytest.mark.parametrize(
    "name",
    [
        "reasoning-budgets",
        "reasoning-early-exit",
        "reasoning-trace-scores",
        "table4",
        "finetune-traces",
        "finetune-bare-answers",
    ],
)
def test_it_runs_and_runs_again_from_what_is_kept(name: str, model: Path, tmp_path: Path) -> None:
    record = run(name, model, tmp_path)
    assert len(record.rows) >= 5
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*.json")}
    assert kept
    assert run(name, model, tmp_path).rows == record.rows
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*.json")} == kept


def test_a_round_from_another_model_than_the_named_one(model: Path, tmp_path: Path) -> None:
    record = run("finetune-bare-answers", model, tmp_path)
    assert {"base", NAMED, *ARMS} == {line["arm"] for line in record.rows}
    (kept,) = (tmp_path / "runs").glob("finetune-bare-answers-*/start")
    weights, named = (load_file(folder / "model.safetensors") for folder in (kept, model))
    assert any(not torch.equal(weights[name], named[name]) for name in named)


def test_posterior_and_prior_traces(model: Path, tmp_path: Path) -> None:
    record = run("posterior-traces", model, tmp_path)
    lines = {(line["traces"], line["kept"]): line for line in record.rows}
    assert lines["posterior", "all"]["count"] == lines["prior", "all"]["count"] == 8
    assert lines["posterior", "best by score"]["count"] == 4
    # The prior trace's answer has to be decoded too.
    assert lines["posterior", "all"]["nfe_mean"] <= lines["prior", "all"]["nfe_mean"]


def test_it_stops_and_goes_on(model: Path, tmp_path: Path) -> None:
    with pytest.raises(Unfinished, match="the same command continues"):
        run("reasoning-budgets", model, tmp_path, minutes=1e-9)
    assert not (tmp_path / "results").exists()


def test_every_strategy_meets_the_same_problems(model: Path, tmp_path: Path) -> None:
    record = run("reasoning-budgets", model, tmp_path)
    by_name = {line["strategy"]: line for line in record.rows}
    assert {line["count"] for line in record.rows} == {16}
    assert by_name["entropy"]["nfe_mean"] >= by_name["entropy, k = 2"]["nfe_mean"]
    assert by_name["entropy, k = 2"]["nfe_mean"] >= by_name["entropy, k = 4"]["nfe_mean"]
    assert by_name["MED 0.2"]["difference"] is not None


def test_another_model_is_refused() -> None:
    with pytest.raises(UserError, match="arithmetic"):
        load_model(Settings(model="sudoku-4x4"))


def test_a_line_is_paired_with_its_baseline() -> None:
    base = {"right": [1, 1, 0, 1], "valid": [1] * 4, "nfe": [10] * 4, "text_nfe": [8] * 4, "text": [8] * 4}
    mine = {**base, "right": [1, 0, 0, 1], "nfe": [2] * 4, "text_nfe": [2] * 4}
    line = row("mine", mine, base)
    assert line["solved_share"] == 0.5
    assert line["difference"] == -0.25
    assert line["valid_difference"] == 0.0
    assert row("mine", {**mine, "valid": [0, 0, 1, 1]}, base)["valid_difference"] == -0.5
    assert line["fewer"] == 4.0
    assert line["no_worse"] is False
    assert row("base", base, base)["no_worse"] is True


def test_pearson_and_its_interval() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=400)
    r, interval = pearson(x, x + rng.normal(size=400))
    assert r is not None
    assert interval is not None
    assert interval[0] < r < interval[1]
    assert interval[0] < 0.5**0.5 < interval[1]
    assert pearson(x, np.zeros(400)) == (None, None)
    assert pearson(x, x)[0] == pytest.approx(1.0)


def test_what_was_written_down_is_found_at_a_share_of_the_steps() -> None:
    found = {"scores": [[0.0, 1.0, 2.0, 3.0, 4.0], [0.0, 1.0]], "length": [8, 2]}
    assert along(found, "scores", 0.5).tolist() == [2.0, 0.0]
    assert along(found, "scores", 1.0).tolist() == [4.0, 1.0]
    assert at_step(found, "scores", 4).tolist() == [2.0, 1.0]


def test_giving_up_weak_traces_by_hand() -> None:
    nfe = np.array([[10, 10, 10], [10, 10, 10]])
    right = np.array([[False, False, True], [True, False, False]])
    score = np.array([[-5.0, -5.0, 0.0], [-5.0, 0.0, 0.0]])
    # Two whole traces are afforded; the third of the first problem is out of reach.
    assert _within(nfe, right, score, limit=-np.inf, after=4, budget=20).tolist() == [False, True]
    # Two are given up after 4 + 1 calls each, and the third fits: 5 + 5 + 11. The right one of the other is given up.
    assert _within(nfe, right, score, limit=-1.0, after=4, budget=21).tolist() == [True, False]
    assert _within(nfe, right, score, limit=-1.0, after=4, budget=20).tolist() == [False, False]
    assert _plain_within(nfe, right, np.array([30, 5])).tolist() == [True, True]


def test_pieces_of_fine_tuning_have_names_of_their_own() -> None:
    arms = {_file_name(arm, seed, lora) for arm in ARMS for seed in (1, 2, 3) for lora in (False, True)}
    assert len(arms) == 6 * len(ARMS)
    assert not any(name.startswith("samples-") for name in arms)


def test_the_rows_that_each_arm_learns_from() -> None:
    problems = [Problem(f"{n}+1", f"{n}+1={n + 1}", str(n + 1)) for n in range(4)]
    found = {
        "problem": [0, 0, 1, 1, 2, 2, 3, 3],
        "valid": [0, 1, 0, 0, 1, 1, 1, 0],
        "score": [0.0] * 8,
        "reasked": [-1.0, -2.0, -2.0, -1.0, -2.0, -1.0, -1.0, -2.0],
        "trace": ["a", "b", "c", "d", "e", "\ufffd", "g", "h"],
    }
    sets = training_sets(problems, found, 3, "best, asked again")
    traces = {arm: [problem.trace for problem in rows] for arm, (rows, _) in sets.items()}
    assert traces["program"] == ["0+1=1", "1+1=2", "2+1=3"]
    assert traces["posterior"] == ["a", "c", "e"]
    assert traces["posterior, valid"] == ["b", "e"]
    assert traces["posterior, filtered"] == ["a", "d"]  # the third problem's best is no plain text
    assert traces["posterior, filtered, more problems"] == ["a", "d", "g"]
    assert traces["posterior, valid, more problems"] == ["b", "e", "g"]
    assert traces["both, filtered"] == [*traces["program"], "a", "d"]
    assert sets["posterior, filtered, more problems"][1] == pytest.approx(1 / 3)
    assert set(sets) == set(ARMS)
