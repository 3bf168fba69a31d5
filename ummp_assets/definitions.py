"""Dagster's entry point: what there is, and where it is defined."""

import os
from functools import partial

import dagster as dg

from ummp_assets.defs.assets.datasets import dataset_commits, dead_letters, training_datasets, training_shards
from ummp_assets.defs.assets.downloads import downloads
from ummp_assets.defs.assets.intake import make_intake_assets
from ummp_assets.defs.assets.modalities import make_modality_assets
from ummp_assets.defs.assets.topics import topic_specs
from ummp_assets.defs.assets.training import make_model_parameters_asset, make_training_logs_asset
from ummp_assets.defs.assets.updates import label_updates, takedown_receipts
from ummp_assets.defs.code_versions import asset_code_versions, with_code_version
from ummp_assets.defs.deployment import Deployment
from ummp_assets.defs.jobs import JOBS
from ummp_assets.defs.openlineage.endings import make_ending_sensors
from ummp_assets.defs.schedules import make_schedules, upkeep_job
from ummp_assets.defs.sensors import make_sensors
from ummp_assets.settings import load_settings


@dg.definitions
def defs() -> dg.Definitions:
    """Assets, checks, jobs, sensors, schedules and the one resource; `ummp up` asks for running sensors."""
    settings = load_settings()
    running = os.environ.get("UMMP_SENSORS_RUNNING") == "1"
    stamp = partial(with_code_version, versions=asset_code_versions(settings))
    assets = dg.map_asset_specs(
        stamp,
        [
            *topic_specs(settings),
            *make_intake_assets(settings),
            downloads,
            *make_modality_assets(settings),
            training_shards,
            dataset_commits,
            training_datasets,
            dead_letters,
            label_updates,
            takedown_receipts,
            make_training_logs_asset(settings),
            make_model_parameters_asset(settings),
        ],
    )
    return dg.Definitions(
        assets=assets,
        jobs=[*JOBS.values(), upkeep_job],
        sensors=[*make_sensors(running=running), *make_ending_sensors(settings, running=running)],
        schedules=make_schedules(running=running),
        resources={"deployment": Deployment()},
        # One process a run: six trivial assets take 0.6 s so, 11.7 s with a process each. Heavy steps use all cores.
        executor=dg.in_process_executor,
    )
