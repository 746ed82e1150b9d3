"""What the commands show: tables on standard output, progress on standard error.

A terminal gets colours and a moving bar. Into a file or a pipe go plain tables, wide enough not to wrap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from anyorder.experiments.tables import cell, heading

if TYPE_CHECKING:
    from anyorder.experiments.comparison import Contender, Outcome

WIDE = 160


class Output(Console):
    """A console whose reader may go away: that is told to the caller, where rich would end the process."""

    def on_broken_pipe(self) -> None:
        """Raise the error that rich is about to swallow."""
        raise BrokenPipeError


def output() -> Console:
    """The console of results, on standard output as it is now (tests replace it)."""
    console = Output(highlight=False)
    return console if console.is_terminal else Output(highlight=False, width=WIDE)


def messages() -> Console:
    """The console of progress and remarks, on standard error."""
    return Console(stderr=True, highlight=False)


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, title: str | None = None) -> Table:
    """Rows of figures, in the same form as the README's tables."""
    drawn = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        text = any(isinstance(row.get(column), str) for row in rows)
        drawn.add_column(heading(column), justify="left" if text else "right", overflow="fold")
    for row in rows:
        drawn.add_row(*(cell(column, row.get(column)) for column in columns))
    return drawn


@contextmanager
def bars() -> Iterator[Progress]:
    """Progress bars on standard error; add one with ``add_task`` for each piece of work."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[remark]}"),
    )
    with Progress(*columns, console=messages()) as progress:
        yield progress


@contextmanager
def bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """One progress bar, moved by calling ``(done, total)``."""
    with bars() as progress:
        task = progress.add_task(title, total=None, remark="")
        yield lambda done, total: progress.update(task, completed=done, total=total)


def watch(
    contenders: Sequence[Contender], work: Callable[[Callable[[str, int, int], None]], Iterator[Outcome]], total: int
) -> list[Outcome]:
    """One bar for each contender, all shown from the start; each ends with its share and evaluations."""
    outcomes = []
    with bars() as progress:
        tasks = {
            contender.name: progress.add_task(
                contender.name, total=min(contender.count or total, total), remark="", start=False
            )
            for contender in contenders
        }

        def move(name: str, done: int, of: int) -> None:
            progress.update(tasks[name], completed=done, total=of)

        names = iter(tasks)
        progress.start_task(tasks[next(names)])
        for outcome in work(move):
            solved, nfe = outcome.report.solved.mean(), outcome.report.nfe.mean()
            remark = f"{100 * solved:.1f} % solved, {nfe:.1f} evaluations"
            progress.update(tasks[outcome.contender.name], remark=remark)
            outcomes.append(outcome)
            progress.stop_task(tasks[outcome.contender.name])
            following = next(names, None)
            if following is not None:
                progress.start_task(tasks[following])
    return outcomes


@contextmanager
def steps() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each piece of work, made when it is first heard of: call ``(name, done, total)``."""
    with bars() as progress:
        tasks = {}

        def move(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=total, remark="")
            progress.update(tasks[name], completed=done, total=total)

        yield move
