"""The broker's process: `python -m ummp_assets.messages.embedded --data FOLDER`, as `start_broker` runs it."""

import argparse
import json
import logging
import sys
from pathlib import Path

from ummp_assets.errors import EmbeddedBrokerFailed
from ummp_assets.messages.embedded.serving import BrokerOptions, serve


def main() -> int:
    """Serve; one line of JSON on standard output says where, or why not."""
    parser = argparse.ArgumentParser(prog="python -m ummp_assets.messages.embedded", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--host", default=BrokerOptions.host)
    parser.add_argument("--port", type=int, default=BrokerOptions.port)
    parser.add_argument("--allow-remote", action="store_true")
    parser.add_argument("--fsync", action="store_true")
    parser.add_argument("--default-partitions", type=int, default=BrokerOptions.default_partitions)
    parser.add_argument("--retention-check-seconds", type=float, default=BrokerOptions.retention_check_seconds)
    parser.add_argument("--exit-with-parent", action="store_true", help="stop when standard input ends")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    options = BrokerOptions(
        data_directory=arguments.data,
        host=arguments.host,
        port=arguments.port,
        allow_remote=arguments.allow_remote,
        fsync=arguments.fsync,
        default_partitions=arguments.default_partitions,
        retention_check_seconds=arguments.retention_check_seconds,
    )
    try:
        serve(options, lambda address: _report("listening", address), stop_with_stdin=arguments.exit_with_parent)
    except EmbeddedBrokerFailed as failure:
        _report("error", str(failure))
        return 1
    return 0


def _report(key: str, text: str) -> None:
    sys.stdout.write(json.dumps({key: text}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
