"""Arrows run one way, and foreign libraries enter in one file each."""

import ast
from pathlib import Path

import palaestra

ROOT = Path(palaestra.__file__).parent
ROOMS = ("sim", "envs", "policies", "skills", "bench")
SUB_ROOMS = ("generation", "words", "display", "editing")  # of envs
ONE_FILE = {
    "mujoco.batch": "sim/native.py",
    "gymnasium": "envs/gymnasium.py",
    "pygame": "envs/display/render.py",
    "stable_baselines3": "envs/sb3.py",
    "openai": "skills/planners/client.py",
    "unified_planning": "skills/referee.py",
    "torch": "envs/torch.py",
    "minari": "envs/minari.py",
    "ray": "policies/cluster.py",
    "wandb": "policies/board.py",
}
BESIDE = {  # measure the bare libraries
    "mujoco.batch": {"bench/engine.py"},
    "gymnasium": {"bench/ant.py"},
    "stable_baselines3": {"bench/learn.py"},
}


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def backwards(under: tuple[str, ...], rooms: tuple[str, ...]) -> list[str]:
    """Imports of a room by one that comes before it."""
    wrong, depth = [], len(under)
    for path in modules():
        place = path.relative_to(ROOT).parts
        if place[:depth] != under or place[depth] not in rooms:
            continue
        for name in imports(path):
            parts = tuple(name.split(".")[1:]) if name.startswith("palaestra.") else ()
            if parts[:depth] == under and len(parts) > depth and parts[depth] in rooms[rooms.index(place[depth]) + 1 :]:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    return wrong


def test_rooms_import_only_rooms_before_them():
    assert not backwards((), ROOMS)
    assert not backwards(("envs",), SUB_ROOMS)


def test_foreign_libraries_enter_in_one_file_each():
    wrong = []
    for path in modules():
        place = str(path.relative_to(ROOT))
        for name in imports(path):
            for library, home in ONE_FILE.items():
                if (name == library or name.startswith(library + ".")) and place != home and place not in BESIDE.get(library, set()):
                    wrong.append(f"{place} imports {name}, which belongs to {home}")
    assert not wrong


def test_the_rooms_stand_at_the_root_as_links():
    top = ROOT.parent
    if (top / "pyproject.toml").exists():
        for room in ROOMS[:4]:
            assert (top / room).resolve() == ROOT / room
