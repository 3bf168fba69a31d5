"""Real English documents that any installation has: the documentation and licences inside installed packages."""

import ast
import importlib.metadata
import importlib.util
import pydoc_data.topics
import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path

__all__ = ["english_documents"]

_MIN_CHARACTERS, _MAX_CHARACTERS = 600, 4_400
# Parsed only where more documents are asked for than the rest gives: it takes ten seconds.
_DOCUMENTED_PACKAGES = ("numpy", "sqlalchemy", "dagster", "networkx")
_PARAGRAPH_END = re.compile(r"(\n\s*\n)")


def english_documents(count: int) -> list[str]:
    """Return distinct documents of about 3.2 kB each: Python's language reference, readmes, licences and docstrings.

    Longer texts are cut at paragraph ends. At most `count` are returned, spread evenly over all that are found.
    """
    documents = list(dict.fromkeys(part for text in _texts() for part in _cut(text)))
    if len(documents) < count:
        documents = list(dict.fromkeys([*documents, *(part for text in _package_texts() for part in _cut(text))]))
    step = max(1, len(documents) // count)
    return documents[::step][:count]


def _texts() -> Iterator[str]:
    yield from (text for _, text in sorted(pydoc_data.topics.topics.items()))
    for distribution in sorted(importlib.metadata.distributions(), key=lambda found: str(found.name)):
        yield (distribution.read_text("METADATA") or "").partition("\n\n")[2]
        for file in distribution.files or ():
            if "LICEN" in file.name.upper() and (path := Path(str(file.locate()))).is_file():
                yield path.read_text(encoding="utf-8", errors="replace")
    library = Path(sysconfig.get_path("stdlib"))
    for path in sorted([*library.glob("*.py"), *library.glob("*/*.py")]):
        yield _docstrings(path)


def _package_texts() -> Iterator[str]:
    for name in _DOCUMENTED_PACKAGES:
        spec = importlib.util.find_spec(name)
        for folder in (spec and spec.submodule_search_locations) or ():
            yield from map(_docstrings, sorted(Path(folder).rglob("*.py")))


def _docstrings(path: Path) -> str:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError):
        return ""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    found = [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, documented)]
    return "\n\n".join(text for text in found if len(text) > 200)


def _cut(text: str) -> Iterator[str]:
    gathered = ""
    for part in _PARAGRAPH_END.split(text):
        if len(gathered) + len(part) > _MAX_CHARACTERS and len(gathered) >= _MIN_CHARACTERS:
            yield gathered.strip()
            gathered = ""
        gathered += part
    if len(gathered) >= _MIN_CHARACTERS:
        yield gathered.strip()
