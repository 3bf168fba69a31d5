"""Requests to bytes: one file per kind of source, the policy that decides what may be fetched, and unpacking."""
