"""Run one batch's job in this process, so that a test can kill it.

`python -m ummp_assets_tests.flow.run_batch KEY [raw]`: with `raw` from Kafka on, else from the stored raw bytes on.
"""

import sys

import dagster as dg

from ummp_assets_tests.flow.batches import run_batch

if __name__ == "__main__":
    with dg.DagsterInstance.get() as instance:
        sys.exit(0 if run_batch(instance, sys.argv[1], raw=sys.argv[2:] == ["raw"]).success else 1)
