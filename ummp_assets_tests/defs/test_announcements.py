"""The parents that a dataset's materialization names: the batches that were added last, replays among them."""

from pathlib import Path

from ummp_assets.datasets.versions import DatasetVersion
from ummp_assets.defs.announcements import _parents
from ummp_assets.defs.deployment import Deployment
from ummp_assets.storage.dataset_index import DatasetIndex, VersionEntry


def test_parents_are_the_newest_batches_by_age_and_replays(tmp_path: Path) -> None:
    deployment = Deployment(overrides={"home": str(tmp_path)})
    normal = [f"ummp.requests.normal~{number:08d}" for number in range(1, 101)]
    high = [f"ummp.requests.high~{number:08d}" for number in range(1, 61)]
    added = [*normal, *high, "ummp.requests.normal.replay~00000001", "ummp.labels~00000001"]
    known = DatasetIndex(deployment.index)
    for version, batch in enumerate(added, 1):
        known.record(VersionEntry("birds", version, [batch], {}, []))

    newest = DatasetVersion("birds", len(added), len(added) - 1, "", "labels", (added[-1],))
    parents = {item.asset_key.to_user_string(): item.partitions for item in _parents(deployment, newest)}
    assert parents == {
        "dataset_commits": {*normal[-39:], *high, "ummp.requests.normal.replay~00000001"},
        "label_updates": {"ummp.labels~00000001"},
    }
    # A version names what was in it, in the order in which it came.
    assert known.batches_until("birds", 102) == [*normal, *high[:2]]
    deployment.index.close()
