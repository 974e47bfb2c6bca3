"""`python -m skyeim_ws` is `skyeim-ws`."""

import sys

from skyeim_ws.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
