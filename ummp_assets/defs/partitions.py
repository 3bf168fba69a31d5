"""Partitions: one per planned batch of each role, and one per dataset.

Dynamic, since a batch exists when a sensor has planned it; keys are `<topic>~<number>`.
"""

import dagster as dg

from ummp_assets.messages.topics import Role

__all__ = ["BATCHES", "DATASETS"]

BATCHES = {role: dg.DynamicPartitionsDefinition(name=role.value) for role in Role}
"""Partitions of the assets that work on the batches of a role."""

DATASETS = dg.DynamicPartitionsDefinition(name="datasets")
"""Partitions of `training_datasets`: names of datasets."""
