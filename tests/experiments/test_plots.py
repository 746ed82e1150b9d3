"""Figures are PNG files that hold what they were given."""

from __future__ import annotations

from pathlib import Path

import pytest

from anyorder.experiments.plots import Curve, Point, accuracy_against_evaluations, figure, shares_along, side_by_side


def test_figures_are_written_whole(tmp_path: Path) -> None:
    points = [Point(f"strategy {i}", 10.0 + i, 0.1 * i, max(0.0, 0.1 * i - 0.05), 0.1 * i + 0.05) for i in range(10)]
    accuracy_against_evaluations(points, tmp_path / "a" / "points.png", title="Points")
    curve = Curve("margin", [1, 2], [0.2, 0.4], [0.1, 0.3], [0.3, 0.5])
    shares_along([curve], tmp_path / "curve.png", title="Curve", xlabel="steps")
    for path in (tmp_path / "a" / "points.png", tmp_path / "curve.png"):
        assert path.read_bytes().startswith(b"\x89PNG\r\n")
        assert path.stat().st_size > 10_000


def test_the_points_stand_where_their_figures_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    drawn = []

    def errorbar(self: object, x: float, y: float, yerr: list[list[float]], **_: object) -> None:
        drawn.append((x, y, yerr))

    monkeypatch.setattr("matplotlib.axes.Axes.errorbar", errorbar)
    monkeypatch.setattr("matplotlib.axes.Axes.legend", lambda *_, **__: None)
    accuracy_against_evaluations([Point("a", 57.0, 0.9, 0.85, 0.94)], tmp_path / "p.png", title="t")
    ((x, y, ((low,), (high,))),) = drawn
    assert (x, y) == (57.0, 90.0)
    assert (low, high) == (pytest.approx(5.0), pytest.approx(4.0))


def test_equal_values_are_placed_side_by_side_and_others_stay() -> None:
    assert side_by_side([57.0, 11.0, 57.0, 57.2], 1.0) == pytest.approx([56.0667, 11.0, 57.0667, 58.0667], abs=1e-3)
    assert side_by_side([1.0, 2.0, 3.5], 1.0) == [1.0, 2.0, 3.5]
    near = [3.4, 4.0, 4.7, 5.2, 5.8, 7.0]  # a chain of neighbours is no group
    assert side_by_side(near, 0.65) == near
    assert side_by_side([], 1.0) == []


def test_a_failure_leaves_no_figure(tmp_path: Path) -> None:
    with pytest.raises(KeyError), figure(tmp_path / "x.png", title="t"):
        raise KeyError
    assert list(tmp_path.iterdir()) == []
