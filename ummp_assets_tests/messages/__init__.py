"""Tests of `ummp_assets.messages`."""
