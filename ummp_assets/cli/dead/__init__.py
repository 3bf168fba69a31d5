"""`ummp dead`: one file per command."""
