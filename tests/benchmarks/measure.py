"""What all processes of the benchmark share; the standard library alone, for it runs in every environment."""

import contextlib
import json
import os
import sys
import threading
import time
from pathlib import Path


def peak_megabytes():
    """Return the largest resident memory this process ever had, in MB (10**6 bytes)."""
    # Linux hands the parent's ru_maxrss on to its children; VmHWM starts anew with each program.
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.exists() else ():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


class AnonymousMemory:
    """Watch, while `with` lasts, the anonymous memory of this process: without files that are mapped. Linux only."""

    def __enter__(self):
        self.peak, self.running = 0.0, True
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def _watch(self):
        while self.running:
            for line in Path("/proc/self/status").read_text().splitlines():
                if line.startswith("RssAnon:"):
                    self.peak = max(self.peak, int(line.split()[1]) * 1024 / 1e6)
            time.sleep(0.005)

    def __exit__(self, *_):
        self.running = False
        self.thread.join()


def timed(function, *arguments, **keywords):
    """Call a function and return its result and the seconds it took."""
    start = time.perf_counter()
    result = function(*arguments, **keywords)
    return result, time.perf_counter() - start


@contextlib.contextmanager
def one_answer():
    """Send all that is printed inside to stderr, and yield a function that writes one JSON line to stdout."""
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)  # the descriptor itself, so that libraries and worker processes are caught too
    try:
        yield lambda answer: os.write(stdout, (json.dumps(answer) + "\n").encode())
    finally:
        sys.stdout.flush()
        os.dup2(stdout, 1)
        os.close(stdout)
