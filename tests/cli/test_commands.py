"""The commands do their work in one process: figures, files, records."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from anyorder.cli.app import main
from anyorder.cli.demo import replayed, verdict
from anyorder.cli.strategies import compact
from anyorder.decoding.strategies import strategies
from anyorder.decoding.trace import read_trace
from anyorder.evaluation.accuracy import PuzzleReport
from anyorder.experiments.comparison import Contender, Outcome
from anyorder.experiments.records import read_record
from anyorder.planning import budgets, orders, samplers, windows
from anyorder.tasks.sudoku import Box, Puzzles, verify


def run(*argv: str | Path) -> int:
    return main([str(argument) for argument in argv])


def test_solve_writes_grids_figures_and_a_trace(
    puzzle_file: Path, model_folder: Path, puzzles: Puzzles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, trace, record = tmp_path / "out.csv", tmp_path / "t.jsonl", tmp_path / "r.json"
    files = ["--out", out, "--trace", trace, "--trace-count", "2", "--json", record]
    assert run("solve", puzzle_file, "--model", model_folder, *files) == 0
    rows = list(csv.DictReader(out.open()))
    assert [row["puzzle"] for row in rows] == ["".join(map(str, puzzle)) for puzzle in puzzles.puzzles]
    for row, puzzle in zip(rows, puzzles.puzzles, strict=True):
        assert int(row["solved"]) == verify(Box(2, 2), puzzle, np.array([int(digit) for digit in row["filled"]]))
        assert int(row["evaluations"]) == (puzzle == 0).sum()  # one at a time
    summary = json.loads(record.read_text())["summary"]
    solved = sum(int(row["solved"]) for row in rows)
    assert summary["solved_share"] == solved / len(rows)
    assert summary["interval"][0] <= summary["solved_share"] <= summary["interval"][1]
    assert summary["count"] == len(rows)
    assert summary["nfe_mean"] == np.mean([int(row["evaluations"]) for row in rows])
    assert summary["logic"]["count"] + summary["other"]["count"] == len(rows)
    assert read_record(record).run["data"]["count"] == len(rows)
    replay = read_trace(trace)
    assert len(replay.rows) == 2
    assert ["".join(map(str, row.final_tokens)) for row in replay.rows] == [row["filled"] for row in rows[:2]]
    shown = capsys.readouterr().out
    assert "logic-solvable" in shown
    assert str(out) in shown


def test_solve_gives_the_same_grids_in_any_batch(puzzle_file: Path, model_folder: Path, tmp_path: Path) -> None:
    parts = ["--order", "random", "--temperature", "1", "--seed", "3", "--budget", "entropy-below:1.2,3"]
    for size in ("1", "5", "256"):
        done = run(
            "solve",
            puzzle_file,
            "--model",
            model_folder,
            *parts,
            "--batch-size",
            size,
            "--out",
            tmp_path / f"{size}.csv",
        )
        assert done == 0
    assert (tmp_path / "1.csv").read_text() == (tmp_path / "5.csv").read_text() == (tmp_path / "256.csv").read_text()


def test_a_limit_and_a_named_strategy(puzzle_file: Path, model_folder: Path, tmp_path: Path) -> None:
    record = tmp_path / "r.json"
    assert (
        run("solve", puzzle_file, "--model", model_folder, "--strategy", "med", "--limit", "5", "--json", record) == 0
    )
    assert read_record(record).summary["count"] == 5
    assert read_record(record).details["strategy"] == "med"


def test_unsolved_puzzles_are_a_result(puzzle_file: Path, model_folder: Path) -> None:
    assert run("solve", puzzle_file, "--model", model_folder, "--order", "random") == 0


def test_compare_shows_paired_differences(
    puzzle_file: Path, model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record, plot = tmp_path / "r.json", tmp_path / "p.png"
    names = ["margin", "random", "med"]
    assert (
        run("compare", puzzle_file, "--model", model_folder, "--strategies", *names, "--json", record, "--plot", plot)
        == 0
    )
    rows = [row for row in read_record(record).rows if row["group"] == "all"]
    assert [row["strategy"] for row in rows] == names
    assert "difference" not in rows[0]
    for row in rows[1:]:
        assert row["difference"] == pytest.approx(row["solved_share"] - rows[0]["solved_share"])
        assert row["difference_interval"][0] <= row["difference"] <= row["difference_interval"][1]
        assert 0 <= row["p_value"] <= 1
    assert rows[2]["nfe_mean"] <= rows[0]["nfe_mean"]
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert "random" in capsys.readouterr().out


def test_view_makes_a_page(puzzle_file: Path, model_folder: Path, tmp_path: Path) -> None:
    trace, page = tmp_path / "t.jsonl", tmp_path / "page.html"
    assert run("solve", puzzle_file, "--model", model_folder, "--trace", trace) == 0
    assert run("view", trace, "-o", page) == 0
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize("suffix", [".npz", ".csv", ".txt"])
def test_data_is_made_once_and_the_same_for_any_number_of_workers(tmp_path: Path, suffix: str) -> None:
    paths = [tmp_path / f"{workers}{suffix}" for workers in (1, 2)]
    for workers, path in zip(("1", "2"), paths, strict=True):
        options = ["--count", "9", "--box", "2x3", "--seed", "7", "--workers", workers]
        assert run("data", "sudoku", *options, "--out", path) == 0
    if suffix == ".npz":
        first, second = (Puzzles.load(path) for path in paths)
        assert first.fingerprint == second.fingerprint
        assert len(first) == 9
    else:
        assert paths[0].read_bytes() == paths[1].read_bytes()


def test_made_data_can_be_solved(model_folder: Path, tmp_path: Path) -> None:
    for suffix in (".csv", ".txt"):
        path = tmp_path / f"puzzles{suffix}"
        assert run("data", "sudoku", "--count", "4", "--box", "2x2", "--distinct", "puzzle", "--out", path) == 0
        assert run("solve", path, "--model", model_folder) == 0


def test_strategies_lists_every_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("strategies", "--json", tmp_path / "s.json") == 0
    shown = capsys.readouterr().out
    listed = json.loads((tmp_path / "s.json").read_text())["strategies"]
    assert [entry["name"] for entry in listed] == list(strategies)
    assert all(name in shown for name in strategies)


def test_a_part_is_shown_as_it_would_be_written() -> None:
    assert compact(budgets.EntropyBelow(0.2, most=8)) == "EntropyBelow(0.2, most=8)"
    assert compact(orders.Noisy(orders.Margin(log=True), gumbel=0.25)) == "Noisy(Margin(log=True), gumbel=0.25)"
    assert compact(budgets.OneByOne()) == "OneByOne()"
    assert compact(windows.Blocks(32)) == "Blocks(32)"
    for strategy in strategies.values():
        for part in strategy.parts().values():
            names = {**vars(orders), **vars(budgets), **vars(samplers), **vars(windows)}
            if part is not None and type(part).__name__ in names:
                assert eval(compact(part), names) == part


def test_train_goes_on_and_ends_with_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "name: small\ntask: {box_rows: 2, box_columns: 2}\n"
        "model: {layers: 1, heads: 2, width: 16, mlp_width: 32, positions: grid}\n"
        "data: {count: 64, distinct: puzzle}\nsteps: 4\nbatch_size: 8\nevaluation: {puzzles: 0}\n"
        "schedule: {warmup_steps: 1}\n"
    )
    folder = tmp_path / "run"
    record = tmp_path / "r.json"
    options = ["--run-dir", folder, "--quiet"]
    assert run("train", config, *options, "--json", record) == 0
    assert "finished small after 4 steps" in capsys.readouterr().out
    assert read_record(record).summary == {"step": 4, "finished": True}
    assert run("train", config, *options) == 0  # nothing is left to do
    assert run("demo", "--model", folder / "model", "--count", "6", "--few", "4", "--out", tmp_path / "demo") == 0
    shown = capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "demo").iterdir()) == ["demo.json", "orders.png", "replay.html"]
    assert "MED" in shown
    counts = {row["strategy"]: row["count"] for row in read_record(tmp_path / "demo" / "demo.json").rows}
    assert counts == {"margin": 6, "med": 6, "top-probability": 4, "entropy": 4, "left-to-right": 4, "random": 4}


def test_bench_decode_measures_both_ways(model_folder: Path, tmp_path: Path) -> None:
    record = tmp_path / "r.json"
    assert run("bench", "decode", "--model", model_folder, "--batch-size", "4", "--repeats", "1", "--json", record) == 0
    ours, baseline = read_record(record).rows
    for row in (ours, baseline):
        assert row["seconds"] == pytest.approx(row["network_seconds"] + row["outside_seconds"])
        assert row["outside_network_share"] == pytest.approx(row["outside_seconds"] / row["network_seconds"])
    assert ours["network_calls"] == baseline["network_calls"]
    assert ours["rows_evaluated"] <= baseline["rows_evaluated"]  # finished rows cost nothing


def test_bench_statistics_measures_both_ways(tmp_path: Path) -> None:
    record = tmp_path / "r.json"
    sizes = ["--canvas-rows", "32", "--masked-rows", "4", "--vocabulary", "1000", "--repeats", "1"]
    assert run("bench", "statistics", *sizes, "--json", record) == 0
    assert [row["seconds"] > 0 for row in read_record(record).rows] == [True, True]


def test_the_page_replays_puzzles_in_which_the_order_decides() -> None:
    margin = np.array([False, True, True, True, True, True, True, False, True])
    random = np.array([False, True, False, False, False, False, False, False])
    assert replayed(margin, random).tolist() == [2, 3, 4, 5, 0, 1]
    assert replayed(margin, margin).tolist() == [0, 1, 2, 3, 4, 5]
    assert replayed(np.ones(8, bool), np.zeros(8, bool)).tolist() == [0, 1, 2, 3, 4, 5]
    assert replayed(np.array([True]), np.array([True])).tolist() == [0]


def test_bench_data_stands_beside_a_peer(tmp_path: Path) -> None:
    record = tmp_path / "r.json"
    sizes = ["--box", "2x3", "--count", "6", "--peer-count", "4", "--repeats", "1"]
    assert run("bench", "data", *sizes, "--json", record) == 0
    assert len(read_record(record).rows) >= 2
    assert read_record(record).summary["generated_per_second"] > 0


def test_bench_train_measures_a_step(tmp_path: Path) -> None:
    record = tmp_path / "r.json"
    sizes = ["--batch-size", "4", "--repeats", "1", "--steps", "1", "--square", "32", "--device", "cpu"]
    assert run("bench", "train", "--config", "sudoku-4x4", *sizes, "--json", record) == 0
    assert read_record(record).summary["square_share"] > 0


def outcome(name: str, solved: int, count: int, nfe: float) -> Outcome:
    flags = np.arange(count) < solved
    report = PuzzleReport(np.zeros((count, 16)), flags, None, np.full(count, nfe))
    return Outcome(Contender(name, strategies[name]), report, 1.0)


def test_the_verdict_says_what_the_figures_say() -> None:
    def say(margin: int, random: int) -> str:
        shares = {"margin": margin, "random": random, "med": margin, "left-to-right": 3}
        return verdict([outcome(name, solved, 100, 10 if name == "med" else 50) for name, solved in shares.items()])

    clear = say(90, 5)
    assert "The order decides" in clear
    assert "90.0 %" in clear
    assert "5.0 %" in clear
    assert "10.0 evaluations a puzzle, 5.0 times fewer than the 50.0 of one at a time" in clear
    assert "no difference is shown" in say(90, 89)
    assert "margin order loses" in say(5, 90)
