"""Everything that `ummp up` runs on one machine: broker, Dagster's code server, daemon and web UI."""
