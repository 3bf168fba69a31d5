"""Tests of `ummp_assets`, in folders that mirror the package."""
