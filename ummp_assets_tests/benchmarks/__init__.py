"""Speed as ratios against named peers in one run: `python -m ummp_assets_tests.benchmarks.<name> [--quick|--json]`."""
