"""One of several gateway processes; `workers` starts it with what it is told in the environment."""

import os
import sys

from skyeim_ws.process import daemon, workers

if __name__ == "__main__":
    sys.exit(daemon.work(workers.receive(os.environ)))
