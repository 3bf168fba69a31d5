"""The broker's process: `python -m ummp_assets.messages.embedded --data FOLDER`."""

import argparse
import asyncio
import json
import logging
import resource
import signal
import sqlite3
import sys
from pathlib import Path

from ummp_assets.messages.embedded.broker import Broker, DataFolderLocked
from ummp_assets.messages.embedded.server import Server


def main() -> int:
    """Serve until SIGTERM or SIGINT; one JSON line on standard output says where, or why not."""
    options = _parse_arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    _allow_many_files()
    try:
        asyncio.run(_serve(options))
    except (OSError, DataFolderLocked, sqlite3.DatabaseError) as cause:
        _report({"error": str(cause)})
        return 1
    return 0


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ummp_assets.messages.embedded", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds everything")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 lets the system choose")
    parser.add_argument("--fsync", action="store_true", help="force acknowledged data to the disk")
    parser.add_argument("--default-partitions", type=int, default=1, help="partitions of topics created without")
    parser.add_argument("--exit-with-parent", action="store_true", help="stop when standard input ends")
    return parser.parse_args()


def _allow_many_files() -> None:
    """Lift the soft limit of open files: each partition in use holds two."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError):  # macOS refuses "unlimited"
        logging.getLogger(__name__).warning("the limit of open files could not be lifted")


async def _serve(options: argparse.Namespace) -> None:
    broker = Broker(options.data, fsync=options.fsync, default_partitions=options.default_partitions)
    server = Server(broker)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for stop_signal in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(stop_signal, stop.set)
    if options.exit_with_parent:
        loop.add_reader(sys.stdin.fileno(), stop.set)
    try:
        port = await server.listen(options.host, options.port)
        upkeep = asyncio.create_task(broker.keep_up())
        _report({"listening": f"{options.host}:{port}"})
        await stop.wait()
        upkeep.cancel()
        await server.close()
    finally:
        broker.close()


def _report(line: dict[str, str]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
