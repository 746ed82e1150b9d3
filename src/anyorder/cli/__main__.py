"""``python -m anyorder.cli`` is ``anyorder``."""

import sys

from anyorder.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
