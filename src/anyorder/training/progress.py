"""A progress bar for people who watch: steps, loss, speed, the last accuracies. Written to standard error only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from anyorder.training.settings import TrainSettings


class Progress:
    """The bar of one run; does nothing unless ``enabled``. On a terminal it is live, elsewhere one line a record."""

    def __init__(self, settings: TrainSettings, *, enabled: bool) -> None:
        self._settings = settings
        self._console = Console(stderr=True) if enabled else None
        self._bar: RichProgress | None = None
        self._task: Any = None

    def counter(self, what: str) -> Callable[[int, int], None] | None:
        """A callback (done, total) for work before the first step; None where nothing is shown."""
        if self._console is None:
            return None
        bar = RichProgress(console=self._console, disable=not self._console.is_terminal, transient=True)
        task = bar.add_task(what, total=None)
        console, begun = self._console, False

        def advance(done: int, total: int) -> None:
            nonlocal begun
            if not begun:
                begun = True
                bar.start()
                if not console.is_terminal:
                    console.print(f"{what} ({total:,})", highlight=False)
            bar.update(task, completed=done, total=total)
            if done >= total:
                bar.stop()

        return advance

    def start(self, step: int) -> None:
        """Show the bar at ``step``."""
        if self._console is None:
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._bar = RichProgress(*columns, console=self._console, disable=not self._console.is_terminal)
        self._task = self._bar.add_task(self._settings.name, total=self._settings.steps, completed=step, loss="-")
        self._bar.start()

    def advance(self, step: int) -> None:
        """``step`` steps are done."""
        if self._bar is not None:
            self._bar.update(self._task, completed=step)

    def show_loss(self, step: int, loss: float) -> None:
        """The mean loss of the last steps."""
        if self._bar is not None and self._console is not None:
            self._bar.update(self._task, loss=f"{loss:.4f}")
            if not self._console.is_terminal:
                self._console.print(f"step {step}  loss {loss:.4f}", highlight=False)

    def show_evaluations(self, step: int, records: list[dict[str, Any]], seconds: float) -> None:
        """The accuracies at ``step``, one line."""
        if self._console is not None:
            shares = "  ".join(_in_words(record) for record in records)
            self._console.print(f"step {step}  {shares}  ({seconds:.0f} s)", highlight=False, soft_wrap=True)

    def stop(self) -> None:
        """Take the bar down."""
        if self._bar is not None:
            bar, self._bar = self._bar, None
            bar.stop()


def _in_words(record: dict[str, Any]) -> str:
    """What was evaluated, and its first figure (a share in per cent)."""
    words = [str(value) for value in record.values() if isinstance(value, str)]
    if "solved_share" in record:
        return " ".join([*words, f"{100 * record['solved_share']:.1f} %"])
    figures = [f"{name} {value:.4g}" for name, value in record.items() if isinstance(value, float)]
    return " ".join([*words, *figures[:1]])
