"""Ctrl-C and SIGTERM during training: finish the step, save, leave. A second Ctrl-C leaves at once."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType

from anyorder.core.errors import UserError


class Interrupted(UserError):
    """Training was stopped by a signal. The state is saved; the message says where and how to go on."""


class StopSignals:
    """While entered, SIGINT and SIGTERM set ``received`` instead of ending the process.

    A second SIGINT raises ``KeyboardInterrupt`` where the program stands: saves are atomic, so the last complete
    checkpoint is unharmed. A SIGTERM after a signal changes nothing (launchers send one to their workers after a
    Ctrl-C). Outside the main thread signals cannot be caught, and nothing is changed.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # pyright: ignore[reportArgumentType]
        self._before.clear()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received == "SIGINT" and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = signal.Signals(number).name if self.received is None else self.received
