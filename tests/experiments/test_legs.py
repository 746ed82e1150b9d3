"""Legs are done once, kept, and continued; a damaged one is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from anyorder.core.errors import UserError
from anyorder.experiments.experiment import Settings, Unfinished
from anyorder.experiments.legs import Leg, folder_of, run_legs


def quiet(what: str, done: int, total: int) -> None:
    """No progress shown."""


@pytest.mark.parametrize("workers", [1, 3])
def test_legs_run_once(tmp_path: Path, workers: int) -> None:
    calls: list[int] = []

    def work(number: int) -> dict[str, int]:
        calls.append(number)
        return {"square": number**2}

    legs = [Leg(f"leg-{n}", lambda n=n: work(n)) for n in range(5)]
    seen: list[tuple[int, int]] = []
    first = run_legs(
        legs[:3], tmp_path, Settings(), lambda what, done, total: seen.append((done, total)), "x", workers=workers
    )
    assert list(first) == ["leg-0", "leg-1", "leg-2"]
    assert seen[-1] == (3, 3)
    assert run_legs(legs, tmp_path, Settings(), quiet, "x", workers=workers)["leg-4"] == {"square": 16}
    assert sorted(calls) == [0, 1, 2, 3, 4]


def test_the_time_limit_stops_between_legs(tmp_path: Path) -> None:
    legs = [Leg("a", lambda: 1)]
    with pytest.raises(Unfinished, match="0 of 1 pieces"):
        run_legs(legs, tmp_path, Settings(minutes=1e-9), quiet, "x")
    assert run_legs(legs, tmp_path, Settings(minutes=1), quiet, "x") == {"a": 1}


def test_other_facts_are_another_folder(tmp_path: Path) -> None:
    settings = Settings(work=tmp_path)
    assert folder_of(settings, "x", {"n": 1}) == folder_of(settings, "x", {"n": 1})
    assert folder_of(settings, "x", {"n": 1}) != folder_of(settings, "x", {"n": 2})
    assert folder_of(settings, "x", {"n": 1}) != folder_of(Settings(work=tmp_path, seed=1), "x", {"n": 1})


def test_failures_are_not_kept(tmp_path: Path) -> None:
    def fail() -> None:
        raise UserError("no")

    with pytest.raises(UserError, match="no"):
        run_legs([Leg("a", fail)], tmp_path, Settings(), quiet, "x")
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match="same name"):
        run_legs([Leg("a", fail)] * 2, tmp_path, Settings(), quiet, "x")
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(UserError, match="delete it"):
        run_legs([Leg("a", fail)], tmp_path, Settings(), quiet, "x")
