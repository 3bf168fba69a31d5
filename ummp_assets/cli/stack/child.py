"""What every process that the stack starts runs first: `python -m ummp_assets.cli.stack.child FD MODULE [ARGUMENT...]`.

FD is the read end of a pipe that the stack never writes to. It ends when the stack does, however that happens, and then
the whole process group is killed: no daemon and no run worker outlives its stack. A killed run is found and retried at
the next start; one that lived on would write beside its own retry.
"""

import os
import runpy
import signal
import sys
import threading

__all__ = ["main"]


def main() -> None:
    """Watch the pipe and run the module as `__main__`."""
    lifeline, module = int(sys.argv[1]), sys.argv[2]
    # A shell without job control starts background commands with SIGINT ignored, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_die_with_the_stack, args=(lifeline,), daemon=True).start()
    sys.argv = [module, *sys.argv[3:]]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _die_with_the_stack(lifeline: int) -> None:
    os.read(lifeline, 1)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
