"""Whether the long forms of tests are wanted: `LONG_TESTS=1 pytest ...`; CI runs the short ones."""

import os

LONG = bool(os.environ.get("LONG_TESTS"))
