"""The command line. ``main(argv) -> exit code`` is all there is to call; every command is one dataclass in one file."""

from anyorder.cli.app import main

__all__ = ["main"]
