"""The one resource: settings, store and index of the deployment."""

from typing import Any

import dagster as dg
from pydantic import Field, PrivateAttr

from ummp_assets.settings import Settings, load_settings
from ummp_assets.storage.index import Index, open_index
from ummp_assets.storage.objects import ObjectStore, open_store

__all__ = ["Deployment"]


class Deployment(dg.ConfigurableResource[Any]):
    """Settings, store and index, opened when first used.

    Parameters
    ----------
    overrides:
        Settings that win over the `UMMP_*` environment variables, by field name.
    """

    overrides: dict[str, Any] = Field(default_factory=dict)

    _settings: Settings | None = PrivateAttr(default=None)
    _store: ObjectStore | None = PrivateAttr(default=None)
    _index: Index | None = PrivateAttr(default=None)

    @property
    def settings(self) -> Settings:
        if self._settings is None:
            self._settings = load_settings(**self.overrides)
        return self._settings

    @property
    def store(self) -> ObjectStore:
        if self._store is None:
            self._store = open_store(self.settings)
        return self._store

    @property
    def index(self) -> Index:
        if self._index is None:
            self._index = open_index(self.settings)
        return self._index

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:  # noqa: ARG002
        if self._index is not None:
            self._index.close()
            self._index = None
