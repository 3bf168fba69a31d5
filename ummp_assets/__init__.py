"""UMMP for training code: submit what is to be collected, wait for datasets, read and trace them, report logs and
parameters.

>>> import ummp_assets
>>> ummp_assets.submit(["https://example.org/cat.jpg"], dataset="cats")  # doctest: +SKIP
>>> ummp_assets.wait_for_dataset("cats").version  # doctest: +SKIP
1
>>> ummp_assets.open_dataset("cats").to_arrow()  # doctest: +SKIP

Importing this package imports neither Dagster nor pandas; each name is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ummp_assets.datasets.model_inputs import InputOptions
    from ummp_assets.datasets.reader import Dataset, open_dataset
    from ummp_assets.datasets.reading_order import Part
    from ummp_assets.datasets.trace import trace
    from ummp_assets.datasets.versions import DatasetVersion
    from ummp_assets.datasets.waiting import wait_for_dataset
    from ummp_assets.errors import Permanent, Transient, UmmpError
    from ummp_assets.messages.submitting import Submission, submit
    from ummp_assets.settings import Settings, load_settings
    from ummp_assets.training.fetching import Parameters, fetch_parameters
    from ummp_assets.training.logs import TrainingLogger, log_metrics
    from ummp_assets.training.publishing import publish_parameters

__all__ = [
    "Dataset",
    "DatasetVersion",
    "InputOptions",
    "Parameters",
    "Part",
    "Permanent",
    "Settings",
    "Submission",
    "TrainingLogger",
    "Transient",
    "UmmpError",
    "fetch_parameters",
    "load_settings",
    "log_metrics",
    "open_dataset",
    "publish_parameters",
    "submit",
    "trace",
    "wait_for_dataset",
]

_MODULES = {
    "Dataset": "datasets.reader",
    "DatasetVersion": "datasets.versions",
    "InputOptions": "datasets.model_inputs",
    "Parameters": "training.fetching",
    "Part": "datasets.reading_order",
    "Permanent": "errors",
    "Settings": "settings",
    "Submission": "messages.submitting",
    "TrainingLogger": "training.logs",
    "Transient": "errors",
    "UmmpError": "errors",
    "fetch_parameters": "training.fetching",
    "load_settings": "settings",
    "log_metrics": "training.logs",
    "open_dataset": "datasets.reader",
    "publish_parameters": "training.publishing",
    "submit": "messages.submitting",
    "trace": "datasets.trace",
    "wait_for_dataset": "datasets.waiting",
}


def __getattr__(name: str) -> Any:
    # PEP 562: `ummp --help` and a training process that only logs do not pay for Arrow and SQLAlchemy.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
