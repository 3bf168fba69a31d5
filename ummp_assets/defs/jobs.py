"""One job for each role of topics: what a batch of that role sets in motion."""

import dagster as dg

from ummp_assets.messages.topics import Role

__all__ = ["JOBS", "LAST_STAGES"]

LAST_STAGES = {
    Role.REQUESTS: ("dataset_commits", "dead_letters"),
    Role.LABELS: ("label_updates", "dead_letters"),
    Role.TAKEDOWNS: ("takedown_receipts", "dead_letters"),
    Role.TRAINING_LOGS: ("training_logs", "dead_letters"),
    Role.PARAMETERS: ("model_parameters", "dead_letters"),
}
"""Stages whose manifests say that a batch of the role went the whole way."""

_FIRST_ASSETS = {
    Role.REQUESTS: (
        "requests",
        "Collect one batch of requests, clean it, compute features, commit it to its datasets.",
    ),
    Role.LABELS: ("labels", "Apply one batch of labels to the datasets that they name."),
    Role.TAKEDOWNS: ("takedowns", "Take what one batch of takedowns names out of every dataset."),
    Role.TRAINING_LOGS: ("training_logs", "Store one batch of training logs."),
    Role.PARAMETERS: ("model_parameters", "Average the rounds of parameters that one batch completes."),
}

JOBS = {
    role: dg.define_asset_job(
        f"{role.value}_job",
        selection=dg.AssetSelection.assets(asset).downstream().materializable(),
        description=description,
    )
    for role, (asset, description) in _FIRST_ASSETS.items()
}
