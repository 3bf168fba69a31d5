"""`ummp datasets`: one file per command."""
