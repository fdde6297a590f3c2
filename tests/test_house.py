"""The package as its own engineers read it: whole rooms, one subject each, and no import circle."""

from __future__ import annotations

import ast
from pathlib import Path
from statistics import median

PACKAGE = Path(__file__).resolve().parent.parent / "finecausal_cli"
FILES = sorted(PACKAGE.rglob("*.py"))


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path, modules: set[str]) -> set[str]:
    """Return the package's modules that a file imports: at its top, within functions, and for type checkers alone."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            named = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= named & modules or {node.module} & modules
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & modules
    return found - {module_of(path)}


def circle_in(graph: dict[str, set[str]]) -> list[str]:
    """Return the modules of a circle, in order; empty without one."""
    finished: set[str] = set()

    def visit(module: str, path: list[str]) -> list[str]:
        if module in path:
            return path[path.index(module) :]
        if module in finished:
            return []
        for other in sorted(graph[module]):
            if circle := visit(other, [*path, module]):
                return circle
        finished.add(module)
        return []

    return next((circle for module in sorted(graph) if (circle := visit(module, []))), [])


def test_a_circle_is_found_where_there_is_one():
    assert circle_in({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c"]
    assert circle_in({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_no_module_imports_itself_through_others():
    modules = {module_of(path) for path in FILES}
    # The package itself only names what others hold, for `from finecausal_cli import Scorer`.
    graph = {module_of(path): imports_of(path, modules) - {"finecausal_cli"} for path in FILES}
    assert circle_in(graph) == []


def test_rooms_are_few_whole_and_not_too_large():
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert len(FILES) <= 145
    assert median(lines.values()) >= 170
    assert max(lines.values()) <= 650


def test_every_file_says_its_subject_in_its_first_line():
    for path in FILES:
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        assert text.splitlines()[0].endswith((".", "::", ":")), path


def test_one_place_lets_gradients_go():
    uses = [path for path in FILES if ".zero_grad(" in path.read_text(encoding="utf-8")]
    assert len(uses) == 1
