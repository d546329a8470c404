"""The import rules of the README's architecture section."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# package -> the packages of ours that it may import
ALLOWED = {
    "core": set(),
    "text": set(),
    "llm": set(),
    "evaluate": {"core", "text"},
    "pipeline": {"core", "text", "llm", "evaluate"},
    "commands": {"core", "text", "llm", "evaluate", "pipeline", "adapters"},
    "adapters": {"llm.protocol", "text.protocol"},
}


def _imports(path: Path, package: tuple[str, ...]) -> set[str]:
    """Dotted names that the file imports, relative ones resolved against `package`."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module or "") if part)
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return names


def _files(room: str) -> list[Path]:
    folder = ROOT / "adapters/synalign_adapters" if room == "adapters" else ROOT / "synalign_jax" / room
    return sorted(folder.rglob("*.py"))


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_imports_only_what_its_floor_allows(room: str) -> None:
    files = _files(room)
    assert files
    for path in files:
        package = path.relative_to(ROOT / "adapters" if room == "adapters" else ROOT).parent.parts
        for name in _imports(path, package):
            if name.startswith("synalign_adapters"):
                ours = "adapters"
            elif name.startswith("synalign_jax."):
                ours = name.removeprefix("synalign_jax.")
            else:
                continue
            if ours == room or ours.startswith(f"{room}."):
                continue
            assert any(ours == ok or ours.startswith(f"{ok}.") for ok in ALLOWED[room]), (
                f"{path.relative_to(ROOT)} imports {name}"
            )


def test_no_room_of_the_core_library_imports_torch_or_an_http_client() -> None:
    for room in ("core", "text", "llm", "evaluate", "pipeline"):
        for path in _files(room):
            heads = {name.split(".")[0] for name in _imports(path, ())}
            assert not heads & {"torch", "aiohttp", "openai", "requests", "httpx"}, path
