"""The names that training code may rely on, and what importing them costs."""

import subprocess
import sys

import pytest

import ummp_assets


def test_public_names_are_sorted_and_exist() -> None:
    assert ummp_assets.__all__ == sorted(ummp_assets.__all__)
    assert all(getattr(ummp_assets, name).__name__ == name for name in ummp_assets.__all__)
    assert dir(ummp_assets) == ummp_assets.__all__


def test_public_names_document_themselves() -> None:
    assert all(getattr(ummp_assets, name).__doc__ for name in ummp_assets.__all__)


def test_unknown_name_raises_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = ummp_assets.no_such_name


def test_training_process_imports_neither_dagster_nor_pandas() -> None:
    program = (
        "import sys, ummp_assets\n"
        "[getattr(ummp_assets, name) for name in ummp_assets.__all__]\n"
        "print([name for name in ('dagster', 'pandas', 'cv2') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
