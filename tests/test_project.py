"""The project as a whole: its floors, its files, its commands."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "cellvid_diffusers"
FLOORS = [
    {"noise_schedule", "cpu_memory", "flow", "models", "io", "simulation"},
    {"schedulers", "training_utils"},
    {"data", "pipelines", "distillation"},
    {"evaluation", "generation"},
    {"cli"},
]
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return listed.stdout.splitlines()


def imported_rooms(file: Path) -> set[str]:
    """Rooms of the package (`flow`, `data`, ...) that a file imports at its top."""
    depth = len(file.relative_to(PACKAGE).parts)
    rooms = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.ImportFrom):
            path = (node.module or "").split(".")
            if node.level == depth:
                rooms |= {path[0]} if path[0] else {alias.name for alias in node.names}
            elif node.level == 0 and path[0] == "cellvid_diffusers":
                rooms |= {path[1]} if len(path) > 1 else {alias.name for alias in node.names}
    return rooms


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_lower_floor_knows_nothing_of_a_higher_one(file):
    room = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if room == "__init__":
        return
    assert room in FLOOR, f"say in FLOORS where {room} stands"
    above = {other for other in imported_rooms(file) if FLOOR.get(other, -1) > FLOOR[room]}
    assert not above, f"{room} imports {above}"


@pytest.mark.slow
@pytest.mark.parametrize("module", ["cellvid_diffusers", "cellvid_diffusers.cli"])
def test_import_is_light(module):
    heavy = {"torch", "diffusers", "datasets", "transformers", "matplotlib", "cv2", "scipy"}
    code = f"import sys, {module}; print(*sorted(set(sys.modules) & {heavy!r}))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == []


def test_every_direct_dependency_has_one_exact_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    wanted = project["dependencies"] + project["optional-dependencies"]["test"]
    for dependency in map(Requirement, wanted):
        for python in ("3.10", "3.11", "3.12", "3.13"):
            where = {"python_version": python}
            found = [
                pin
                for pin in pins
                if pin.name == dependency.name.lower() and (not pin.marker or pin.marker.evaluate(where))
            ]
            assert len(found) == 1, f"{dependency.name} on Python {python}"
            (version,) = found[0].specifier
            assert version.operator == "==" and dependency.specifier.contains(version.version)


@pytest.mark.parametrize("target", ["demo", "test", "lint", "install"])
def test_make_knows_what_the_readme_promises(target):
    planned = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert planned.returncode == 0, planned.stderr


def test_readme_links_lead_somewhere():
    text = (ROOT / "README.md").read_text()
    links = re.findall(r"\]\(([^)#\s]+)", text)
    assert [link for link in links if not link.startswith("http") and not (ROOT / link).exists()] == []


def test_no_recording_and_no_pickle_is_committed():
    refused = (".tif", ".tiff", ".nd2", ".avi", ".bin", ".pt", ".pth", ".ckpt", ".pkl")
    assert not [file for file in tracked() if file.lower().endswith(refused)]


def test_the_repository_stays_small():
    sizes = {file: (ROOT / file).stat().st_size for file in tracked() if (ROOT / file).exists()}
    weights = sum(size for file, size in sizes.items() if file.startswith("checkpoints/cellvid-tiny/"))
    assert weights <= 12 * 2**20 and sum(sizes.values()) <= 44 * 2**20
