"""Settings files: what is right is read, what is wrong is named in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyorder.core.errors import UserError
from anyorder.training import TrainSettings, load_settings
from anyorder.training.build import model_config
from anyorder.training.kinds import find_kind
from anyorder.training.settings import CONFIGS
from anyorder.training.strict import read_yaml


def written(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_configurations_make_their_models(path: Path) -> None:
    settings = load_settings(path.stem)
    assert settings.name == path.stem
    assert settings == load_settings(path)
    kind, config = find_kind(settings.task.name), model_config(settings)
    shape = {name: value for name, value in kind.shape(settings.task).items() if name not in ("grid", "sections")}
    assert {name: getattr(config, name) for name in shape} == shape
    assert kind.facts(settings.task)["name"] == kind.name
    assert TrainSettings.from_dict(settings.to_dict()) == settings


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\nstep: 3", "unknown setting 'step' in the configuration: did you mean 'steps'?"),
        ("name: a\noptimizer: {adamv: {}}", "unknown setting 'adamv' in optimizer: did you mean 'adamw'?"),
        ("name: a\noptimizer: {muon: {momentum: 1.5}}", "optimizer.muon.momentum must lie in"),
        ("name: a\nsteps: 1.5", "steps must be a whole number, not 1.5"),
        ("name: a\nsteps: true", "steps must be a whole number, not True"),
        ("name: a\nema: high", "ema must be a number, not 'high'"),
        ("name: a\ncompile: 1", "compile must be true or false, not 1"),
        ("name: a\nschedule: {shape: cosin}", "schedule.shape cannot be 'cosin': did you mean 'cosine'?"),
        ("name: a\nevaluation: {grades: logic}", "evaluation.grades must be a list, not 'logic'"),
        ("name: a\nevaluation: {grades: [easy]}", r"evaluation.grades\[0\] cannot be 'easy'"),
        ("name: a\ntask: 9", "task must be a mapping"),
        ("name: a\nname: b", "'name' is given twice"),
        ("steps: 3", "name is missing"),
        ("- 3", "must hold a mapping"),
        ("name: [", "not a YAML file"),
        ("name: !!python/object:os.system a", "not a YAML file"),
        ("name: ../a", "bad name"),
        ("name: a\nbatch_size: 10\naccumulation: 4", "not a multiple of accumulation 4"),
        ("name: a\nema: .nan", r"ema must lie in \[0, 1\)"),
        ("name: a\noptimizer: {adamw: {rate: .inf}}", "finite"),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_settings(written(tmp_path, text))
    assert "\n" not in str(caught.value)
    assert "config.yaml" in str(caught.value)


def test_numbers_as_yaml_writes_them(tmp_path: Path) -> None:
    # YAML 1.1 reads 3e-3 as text.
    settings = load_settings(written(tmp_path, "name: a\noptimizer: {adamw: {rate: 3e-3, epsilon: 1e-9}}\nema: null"))
    assert (settings.optimizer.adamw.rate, settings.optimizer.adamw.epsilon, settings.ema) == (3e-3, 1e-9, None)


def test_missing_file_lists_the_shipped_ones() -> None:
    with pytest.raises(UserError, match=r"no such configuration file: nowhere \(shipped: .*sudoku-9x9"):
        load_settings("nowhere")


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(UserError, match="not a YAML file"):
        read_yaml(path)


def test_the_model_follows_the_task() -> None:
    model = {"layers": 1, "heads": 2, "width": 8, "mlp_width": 8}
    settings = TrainSettings(name="a", model={**model, "positions": "grid"})
    config = model_config(settings)
    assert (config.vocab_size, config.mask_token_id, config.length) == (10, 0, 81)
    assert config.grid is not None
    assert config.grid.box_rows == 3
    assert model_config(TrainSettings(name="a", model={**model, "positions": "learned"})).grid is None
    with pytest.raises(UserError, match=r"model\.vocab_size is 12, but the task needs 10"):
        model_config(TrainSettings(name="a", model={**model, "vocab_size": 12}))
    with pytest.raises(UserError, match="model: unknown transformer setting 'layer'"):
        model_config(TrainSettings(name="a", model={"layer": 1}))


LEAVES = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=True) | st.text(max_size=4)
NAMES = st.sampled_from(["name", "steps", "optimizer", "adamw", "muon", "rate", "schedule", "ema", "data", "x", "task"])
TREES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=3))


@given(st.dictionaries(NAMES, TREES, max_size=4))
def test_any_mapping_is_read_or_refused(values: dict) -> None:
    try:
        settings = TrainSettings.from_dict(values)
    except UserError as error:
        refusal = str(error)
    else:
        refusal = ""
        assert TrainSettings.from_dict(settings.to_dict()) == settings
    assert refusal.count("\n") == 0
