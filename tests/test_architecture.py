"""The import rules of the README's architecture section."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# room -> the rooms of ours that it may import. A room is a folder with what lies below it, less the rooms
# inside it that are named here themselves.
GROUND = {"core", "core.explore", "core.mmd", "core.align", "core.align.landmarks"}
ALLOWED = {
    "core": set(),
    "core.explore": {"core"},
    "core.mmd": {"core"},
    "core.align": {"core", "core.mmd", "core.align.landmarks"},
    "core.align.landmarks": {"core", "core.mmd", "core.align"},
    "text": {"text.model", "text.tuning"},
    "text.model": {"text"},
    "text.tuning": {"text", "text.model"},
    "llm": set(),
    "mixing": {*GROUND},
    "evaluation": {*GROUND, "text", "text.tuning"},
    "pipeline": {
        *GROUND, "text", "llm", "mixing", "evaluation",
        "pipeline.stages", "pipeline.loop", "pipeline.asking", "pipeline.data",
    },
    "pipeline.data": {*GROUND, "text", "pipeline"},
    "pipeline.asking": {*GROUND, "text", "llm", "pipeline", "pipeline.data"},
    "pipeline.loop": {
        *GROUND, "text", "llm", "mixing", "evaluation", "pipeline", "pipeline.asking", "pipeline.data"
    },
    "pipeline.stages": {
        *GROUND, "text", "llm", "mixing", "evaluation",
        "pipeline", "pipeline.loop", "pipeline.asking", "pipeline.data",
    },
    "api": {
        *GROUND, "text", "llm", "mixing", "evaluation", "adapters",
        "pipeline", "pipeline.stages", "pipeline.loop", "pipeline.asking", "pipeline.data",
    },
    "cluster": {*GROUND, "text", "llm", "pipeline", "pipeline.asking", "pipeline.data", "api"},
    "commands": {
        *GROUND, "text", "llm", "mixing", "evaluation", "adapters", "api", "cluster",
        "pipeline", "pipeline.stages", "pipeline.loop", "pipeline.asking", "pipeline.data",
    },
    "adapters": {"llm.protocol", "text.protocol"},
}  # fmt: skip
# The order of the stages is for those who run them, and is known to nothing below.
ORDER = {"pipeline.run", "pipeline.dryrun", "pipeline.preview"}


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


def _room_of(module: str) -> str:
    """The innermost room that holds a dotted name; the name itself where none does."""
    parts = module.split(".")
    names = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
    return next((name for name in names if name in ALLOWED), module)


def _files(room: str) -> list[Path]:
    base = ROOT / "adapters" if room == "adapters" else ROOT / "synalign_jax"
    folder = base / ("synalign_adapters" if room == "adapters" else room.replace(".", "/"))
    inside = [base / other.replace(".", "/") for other in ALLOWED if other.startswith(f"{room}.")]
    return [path for path in sorted(folder.rglob("*.py")) if not any(i in path.parents for i in inside)]


def _ours(path: Path, room: str) -> set[str]:
    """Names of this project that the file imports, without the package's name before them."""
    package = path.relative_to(ROOT / "adapters" if room == "adapters" else ROOT).parent.parts
    names = set()
    for name in _imports(path, package):
        if name.startswith("synalign_adapters"):
            names.add("adapters")
        elif name.startswith("synalign_jax."):
            names.add(name.removeprefix("synalign_jax."))
    return names


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_imports_only_what_its_floor_allows(room: str) -> None:
    files = _files(room)
    assert files
    for path in files:
        for name in _ours(path, room):
            allowed = {room, *ALLOWED[room]}
            known = any(name == ok or name.startswith(f"{ok}.") for ok in allowed if ok not in ALLOWED)
            assert known or _room_of(name) in allowed, f"{path.relative_to(ROOT)} imports {name}"


def test_the_order_of_the_stages_is_unknown_to_the_stages() -> None:
    for room in ("pipeline.data", "pipeline.asking", "pipeline.loop", "pipeline.stages"):
        for path in _files(room):
            for name in _ours(path, room):
                assert not any(name == order or name.startswith(f"{order}.") for order in ORDER), path


def test_files_and_folders_stay_small() -> None:
    """A file one can read at a sitting, a folder one can see at a glance."""
    folders: dict[Path, set[Path]] = {}
    for top in ("synalign_jax", "adapters", "tests", "benchmarks", "scripts"):
        for path in (ROOT / top).rglob("*"):
            if "__pycache__" in path.parts or path.is_dir():
                continue
            folders.setdefault(path.parent, set()).add(path)
            folders.setdefault(path.parent.parent, set()).add(path.parent)
            if path.suffix == ".py":
                lines = len(path.read_text(encoding="utf-8").splitlines())
                assert lines <= (350 if top in ("synalign_jax", "adapters") else 450), (
                    f"{path}: {lines} lines"
                )
    for folder, entries in folders.items():
        assert len(entries) <= 20, f"{folder.relative_to(ROOT)} has {len(entries)} entries"


def test_no_room_of_the_core_library_imports_torch_or_an_http_client() -> None:
    for room in set(ALLOWED) - {"adapters", "api", "commands"}:
        for path in _files(room):
            heads = {name.split(".")[0] for name in _imports(path, ())}
            assert not heads & {"torch", "aiohttp", "openai", "requests", "httpx"}, path
