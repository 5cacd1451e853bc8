"""The layout: small folders, small modules, sub-packages that import one way."""

import ast
from collections import Counter, defaultdict
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.paths import ROOT

PACKAGES = ("zs_env", "envs_registry", "agents")
FOLDERS = (*PACKAGES, "benchmarks", "examples", "tests")
MAX_MODULES = 14
MAX_LINES = 350
# Sub-packages of `agents`, from the lowest to the highest. A module imports no higher ones.
AGENTS = (
    (
        "agent",
        "agent_labels",
        "specs",
        "storage",
        "prompt_limits",
        "tool_flags",
        "noise_kinds",
        "env_pool",
    ),
    ("baselines", "prompted"),
    ("evaluation",),
    ("llm", "sb3"),
    ("agent_registry",),
    ("ask", "simulator_tuning", "studies"),
    ("cli",),
)
LLM = (
    ("algorithms", "policy"),
    ("distributed", "generators"),
    ("rollout",),
    ("learner",),
    ("trainer",),
    ("sft",),
    ("recipes", "skyrl", "tiny", "trl", "verl"),
)


def _modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def _name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {_name(path): path for package in PACKAGES for path in _modules(package)}


def _imports(path: Path) -> Iterator[str]:
    """Modules of this project that a module imports, except those imported for types only."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(inner)
        for outer in ast.walk(tree)
        if isinstance(outer, ast.If) and "TYPE_CHECKING" in ast.unparse(outer.test)
        for inner in ast.walk(outer)
    }
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            while name and name not in MODULES:
                name = name.rpartition(".")[0]
            if name:
                yield name


IMPORTS = {name: set(_imports(path)) - {name} for name, path in MODULES.items()}


def _assert_no_cycle(graph: dict[str, set[str]]) -> None:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(error.args[1])}")


def test_modules_import_without_a_cycle():
    # A package's __init__ only hands names on, so its own imports tie nothing.
    _assert_no_cycle(
        {
            name: {other for other in others if MODULES[other].name != "__init__.py"}
            for name, others in IMPORTS.items()
            if MODULES[name].name != "__init__.py"
        }
    )


@pytest.mark.parametrize("parent", ["agents", "agents.llm", "zs_env"])
def test_sub_packages_import_without_a_cycle(parent):
    graph: dict[str, set[str]] = defaultdict(set)
    for name, others in IMPORTS.items():
        part = _part(name, parent)
        if part:
            graph[part] |= {other for it in others if (other := _part(it, parent))} - {part}
    if parent == "zs_env":
        # The top-level modules of zs_env use its sub-packages and are used by some of them.
        graph = {
            part: {other for other in others if (ROOT / "zs_env" / other).is_dir()}
            for part, others in graph.items()
            if (ROOT / "zs_env" / part).is_dir()
        }
    _assert_no_cycle(graph)


@pytest.mark.parametrize(("parent", "floors"), [("agents", AGENTS), ("agents.llm", LLM)])
def test_sub_packages_import_only_lower_ones(parent, floors):
    floor = {part: number for number, parts in enumerate(floors) for part in parts}
    upward = [
        f"{name} imports {other}"
        for name, others in IMPORTS.items()
        for other in others
        if (mine := _part(name, parent)) and (its := _part(other, parent)) and mine != its
        if floor[its] > floor[mine]
    ]
    assert not upward


def _part(name: str, parent: str) -> str | None:
    """The sub-package, or module, of `parent` that a module belongs to."""
    rest = name.removeprefix(f"{parent}.")
    return rest.split(".")[0] if rest != name else None


def test_a_folder_holds_few_modules():
    count = Counter(path.parent for folder in FOLDERS for path in _modules(folder))
    full = {str(path.relative_to(ROOT)): n for path, n in count.items() if n > MAX_MODULES}
    assert not full, f"folders with more than {MAX_MODULES} modules: {full}"


def test_a_module_is_short():
    lines = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for folder in PACKAGES
        for path in _modules(folder)
    }
    long = {name: n for name, n in lines.items() if n > MAX_LINES}
    assert not long, f"modules with more than {MAX_LINES} lines: {long}"
