"""Dagster glue, thin: assets, checks, sensors, schedules and jobs that call plain functions and report what they
did."""
