"""Imports point one way, and what an extra installs is imported only where that extra is meant."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Each package may import those before it and itself.
ORDER = ("zs_env", "envs_registry", "agents", "examples", "tests", "benchmarks")
_TORCH = (
    "agents.llm",
    "agents.sb3",
    "agents.simulator_tuning",
    "zs_env.simulator.generators.local_transformers",
)
# Which modules may import what an extra installs: prefixes of module names.
EXTRAS = {
    "torch": _TORCH,
    "transformers": _TORCH,
    "safetensors": ("agents.llm",),
    "tensorboard": ("agents.llm",),
    "matplotlib": ("agents.llm", "agents.simulator_tuning", "agents.studies.noise.plot"),
    "stable_baselines3": ("agents.sb3",),
    "peft": ("agents.llm.policy.lora", "agents.simulator_tuning"),
    "gguf": ("agents.llm",),
    "wandb": ("agents.llm",),
    "trackio": ("agents.llm",),
    "bm25s": ("zs_env.engines",),
    "datasets": ("zs_env.questions", "agents.simulator_tuning", "envs_registry.verifiers_v0"),
    "pyarrow": ("zs_env.questions", "zs_env.engines", "zs_env.questions.rows"),
    "vllm": ("zs_env.simulator.generators.local_vllm", "agents.llm.generators.vllm"),
    "aiohttp": ("zs_env.search.http_client", "zs_env.server", "agents.cli.serve_search"),
    "msgpack": ("zs_env.server",),
    "prometheus_client": ("zs_env.server",),
    "serpapi": ("zs_env.engines.google",),
    "trl": (),
    "verl": ("agents.llm.verl",),
    "hydra": ("agents.llm.verl",),
    "omegaconf": ("agents.llm.verl", "agents.llm.skyrl"),
    "gradio": (),
    "skyrl": ("agents.llm.skyrl",),
    "skyrl_gym": ("envs_registry.skyrl",),
    "ray": ("agents.llm.skyrl",),
    "openenv": ("envs_registry.openenv",),
    "verifiers": ("envs_registry.verifiers",),
    "openai": ("envs_registry.verifiers",),
}
# Modules that nothing imports but what was asked for them, and so may import theirs at the top.
ON_REQUEST = (
    "envs_registry.openenv",
    "envs_registry.skyrl",
    "envs_registry.verifiers",
    "envs_registry.verifiers_v0",
    "zs_env.server.access",
    "zs_env.server.app",
    "zs_env.server.metrics",
    "zs_env.server.run",
    "zs_env.simulator.generators.local_transformers",
    "zs_env.simulator.generators.local_vllm",
)
MODULES = sorted(path for package in ORDER[:3] for path in (ROOT / package).rglob("*.py"))


def _name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Top-level packages that a module imports, and whether it does so when it is imported."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    late = {
        id(inner)
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        or (isinstance(outer, ast.If) and "TYPE_CHECKING" in ast.unparse(outer.test))
        for inner in ast.walk(outer)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively; write the whole name"
            names = [node.module or ""]
        else:
            continue
        yield from ((name.split(".")[0], id(node) not in late) for name in names)


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_imports_point_one_way(path):
    own = ORDER.index(path.relative_to(ROOT).parts[0])
    upward = [name for name, _ in _imports(path) if name in ORDER and ORDER.index(name) > own]
    assert not upward, f"{_name(path)} imports {upward}, which lie above it"


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_extras_are_imported_only_where_they_are_meant(path):
    for name, _ in _imports(path):
        homes = EXTRAS.get(name)
        if homes is not None:
            assert _name(path).startswith(homes), f"{_name(path)} imports {name}"


@pytest.mark.parametrize(
    "path", [path for path in MODULES if path.relative_to(ROOT).parts[0] != "agents"], ids=_name
)
def test_the_environment_imports_an_extra_only_when_it_is_used(path):
    if _name(path) in ON_REQUEST:
        return
    eager = [name for name, at_once in _imports(path) if at_once and name in EXTRAS]
    assert not eager, f"{_name(path)} imports {eager} at its top; import it where it is used"


@pytest.mark.parametrize(
    "statement",
    [
        "import zs_env",
        "import envs_registry",
        "import agents.cli.main",
        "import agents.evaluation",
        "import agents.cli.evaluation.benchmark",
    ],
)
def test_nothing_heavy_comes_with_a_plain_import(statement):
    program = f"{statement}; import sys; print(*(set({[*EXTRAS]!r}) & sys.modules.keys()))"
    finished = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert finished.stdout.split() == []


def test_the_map_of_extras_names_modules_that_exist():
    names = {_name(path) for path in MODULES}
    for homes in EXTRAS.values():
        assert all(any(name.startswith(home) for name in names) for home in homes)
