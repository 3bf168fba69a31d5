"""What every process of a stack runs first: `python -m ummp_assets.cli.stack.child FD GATE PRELOAD MODULE ARGUMENT...`.

FD is the read end of a pipe that the stack never writes to. It ends when the stack does, however that happens, and then
the whole process group is killed: no daemon and no run worker outlives its stack. A killed run is found and retried at
the next start; one that lived on would write beside its own retry.

GATE is a file that the stack makes when the process may go on. Importing Dagster takes seconds, opening what another
process still prepares fails: so all import at once (PRELOAD names the modules), and go on in order.
"""

import os
import runpy
import signal
import sys
import threading
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path

__all__ = ["main"]

_POLL_SECONDS = 0.02


def main() -> None:
    """Watch the pipe, wait at the gate, and run the module as `__main__`."""
    lifeline, gate, preload, module = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4]
    # A shell without job control starts background commands with SIGINT ignored, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_die_with_the_stack, args=(lifeline,), daemon=True).start()
    for name in preload.split():
        # Whatever is wrong with a module, the program that needs it explains it better.
        with suppress(Exception):
            import_module(name)
    while not gate.exists():
        time.sleep(_POLL_SECONDS)
    sys.argv = [module, *sys.argv[5:]]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _die_with_the_stack(lifeline: int) -> None:
    os.read(lifeline, 1)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
