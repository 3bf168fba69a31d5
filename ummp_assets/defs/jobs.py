"""One job for each role of topics: what a batch of that role sets in motion."""

import dagster as dg

from ummp_assets.messages.topics import Role

__all__ = ["JOBS", "ROLE_ASSETS"]

ROLE_ASSETS = {
    Role.REQUESTS: dg.AssetSelection.assets("requests").downstream().materializable(),
}
"""Assets that a batch of each role materializes."""

_DESCRIPTIONS = {
    Role.REQUESTS: "Collect one batch of requests, clean it, compute features and commit it to its datasets.",
}

JOBS = {
    role: dg.define_asset_job(f"{role.value}_job", selection=selection, description=_DESCRIPTIONS[role])
    for role, selection in ROLE_ASSETS.items()
}
