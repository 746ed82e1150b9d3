"""Tables come from records; the README's are checked against results/."""

from __future__ import annotations

from pathlib import Path

import pytest

from anyorder.core.errors import UserError
from anyorder.experiments.records import Record, write_record
from anyorder.experiments.tables import cell, fill, heading, main, markdown, report

ROOT = Path(__file__).parents[2]
RUN = {"command": "anyorder x", "commit": "0123456789abcdef", "device": {"name": "a machine", "threads": 2}}
RECORD = Record(
    name="x",
    title="Two strategies",
    summary={},
    columns=["strategy", "count", "solved_share", "interval", "nfe_mean", "difference"],
    rows=[
        {"strategy": "margin", "count": 1234, "solved_share": 0.98765, "interval": [0.97, 1.0], "nfe_mean": 56.04},
        {"strategy": "a|b", "count": 0, "solved_share": None, "difference": -0.5},
    ],
    notes=["A note."],
    run=RUN,
)


def test_a_table_shows_every_figure_in_the_form_of_its_column() -> None:
    lines = markdown(RECORD).splitlines()
    assert lines[0] == "| strategy | puzzles | solved | 95 % interval | evaluations per puzzle | difference |"
    assert lines[1] == "| --- | ---: | ---: | ---: | ---: | ---: |"
    assert lines[2] == "| margin | 1,234 | 98.8 % | 97.0 – 100.0 % | 56.0 | – |"
    assert lines[3] == "| a\\|b | 0 | – | – | – | -50.0 % |"
    assert "A note." in lines
    assert lines[-1] == "`anyorder x`, commit 0123456789; a machine, 2 threads; figures in `results/x.json`."


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        ("seconds", 0.012345, "0.0123"),
        ("seconds", 12.345, "12.3"),
        ("seconds", 12345.6, "12,346"),
        ("ok", True, "yes"),
        ("outside_network_share", 0.081, "8.1 %"),
        ("largest_logit_difference", 2.4e-7, "2.4e-07"),
        ("difference_interval", [-0.01, 0.02], "-1.0 – 2.0 %"),
    ],
)
def test_cells(column: str, value: object, text: str) -> None:
    assert cell(column, value) == text


def test_a_report_shows_its_figure() -> None:
    assert report(RECORD, figure="x.png").startswith("# Two strategies\n\n![Two strategies](x.png)\n\n| strategy |")
    assert heading("exact_share") == "exact"


def test_blocks_are_filled_from_results(tmp_path: Path) -> None:
    write_record(tmp_path / "x.json", RECORD)
    text = "before\n<!-- record: x -->\nstale\n<!-- end record -->\nafter\n"
    filled = fill(text, tmp_path)
    assert filled == f"before\n<!-- record: x -->\n{markdown(RECORD, 'x')}<!-- end record -->\nafter\n"
    assert fill(filled, tmp_path) == filled


@pytest.mark.parametrize("text", ["<!-- record: y -->\n<!-- end record -->", "<!-- record: x -->\nno end"])
def test_a_block_without_record_or_end_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError):
        fill(text, tmp_path)


def test_the_check_fails_on_a_difference_and_writing_mends_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_record(tmp_path / "x.json", RECORD)
    readme = tmp_path / "README.md"
    readme.write_text("<!-- record: x -->\n<!-- end record -->\n")
    arguments = ["--pages", str(readme), "--results", str(tmp_path)]
    assert main(["--check", *arguments]) == 1
    assert "make tables" in capsys.readouterr().err
    assert main(["--write", *arguments]) == 0
    assert main(["--check", *arguments]) == 0
    assert "98.8 %" in readme.read_text()
    assert main(["--check", "--pages", str(tmp_path / "none"), "--results", str(tmp_path)]) == 2


def test_the_pages_tell_what_results_hold() -> None:
    pages = [str(ROOT / "README.md"), *map(str, sorted((ROOT / "docs").glob("*.md")))]
    assert main(["--check", "--pages", *pages, "--results", str(ROOT / "results")]) == 0
