"""The embedded broker as a process of the stack."""

import os
import socket
import time

from ummp_assets.cli.stack.children import Child, Program, child_environment
from ummp_assets.errors import StackFailed
from ummp_assets.settings import Settings

__all__ = ["EmbeddedBroker"]

_START_SECONDS = 30.0
_POLL_SECONDS = 0.05


class EmbeddedBroker:
    """The embedded broker on the data in <home>/broker."""

    def __init__(self, settings: Settings, port: int) -> None:
        self.port = port
        self._address_path = settings.broker_address_path
        folder = self._address_path.parent
        folder.mkdir(parents=True, exist_ok=True)
        program = Program("broker", "ummp_assets.messages.embedded", ("--data", str(folder), "--port", str(port)))
        self.child = Child(program, settings.home_path / "logs", child_environment(os.environ))

    def wait(self) -> None:
        """Wait until it accepts connections, then leave its address for other processes.

        Raises `StackFailed`, with the end of its log, when it ends or says nothing for 30 s.
        """
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            self.child.check()
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(_POLL_SECONDS)
            else:
                self._address_path.write_text(f"127.0.0.1:{self.port}\n", encoding="utf-8")
                return
        raise StackFailed(
            f"the broker did not answer on port {self.port} in {_START_SECONDS:.0f} s. {self.child.describe_log()}"
        )
