"""Option groups that several commands share. Each validates itself; tyro lists them flat."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from anyorder.core.errors import UserError

if TYPE_CHECKING:
    import torch

# Options that may be left out. Their help says what happens then, so "(default: None)" is not printed after it.
PathOption = Annotated[Path | None, tyro.conf.arg(help_behavior_hint="")]
IntOption = Annotated[int | None, tyro.conf.arg(help_behavior_hint="")]
FloatOption = Annotated[float | None, tyro.conf.arg(help_behavior_hint="")]
TextOption = Annotated[str | None, tyro.conf.arg(help_behavior_hint="")]
# Options that must be given, where the command has more to say than that one is missing.
NeededText = Annotated[str, tyro.conf.arg(help_behavior_hint="(required)")]


@dataclass(frozen=True)
class Machine:
    """Where and how the network runs."""

    batch_size: int = 256
    """rows decoded together; changes memory and speed, never a result"""
    threads: IntOption = None
    """CPU threads (default: all cores)"""
    device: str = "auto"
    """cpu, cuda, cuda:1, mps, or auto"""

    def __post_init__(self) -> None:
        at_least("--batch-size", self.batch_size, 1)
        at_least("--threads", self.threads, 1)

    def prepare(self) -> torch.device:
        """Set the number of threads and return the device.

        Raises:
            UserError: the device does not exist here.
        """
        import torch

        from anyorder.core.memory import reuse_large_blocks

        reuse_large_blocks()
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            device = torch.device(self.device)
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0].split(". ")[0]
            raise UserError(f"--device {self.device} cannot be used: {reason}") from error
        return device


def at_least(option: str, value: float | None, least: float) -> None:
    """Refuse a number below ``least``; None passes."""
    if value is not None and not value >= least:
        raise UserError(f"{option} must be at least {least}, not {value}")


def existing(path: Path, what: str) -> Path:
    """``path``, when it is a file that is there."""
    if path.is_dir():
        raise UserError(f"{path} is a folder; name a {what} file")
    if not path.exists():
        raise UserError(f"no such {what} file: {path}")
    return path
