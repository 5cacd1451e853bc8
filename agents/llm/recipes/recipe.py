"""Recipes: the training of a published system as a TOML file. Imports no torch.

A recipe is a file beside this module, or a file of the user:

    paper = "reference"
    about = "one line"
    [settings]       # for every stage that has a setting of this name
    [[stages]]       # run in order, each from the policy of the stage before
    kind = "train"   # or "warm-start"; then settings of the stage, which override those above
    [published]      # values of the authors where the recipe scales them down; `train` stages only

Settings are those of `TrainConfig` and `WarmStartConfig`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.llm.sft.config import WarmStartConfig
from agents.llm.trainer.config import TrainConfig
from agents.storage.config_file import read_settings, read_toml, setting_types
from zs_env.text.paths import local_path
from zs_env.text.suggestions import unknown_name

StageConfig = TrainConfig | WarmStartConfig
STAGE_CONFIGS: Mapping[str, type[StageConfig]] = {
    "train": TrainConfig,
    "warm-start": WarmStartConfig,
}
_KEYS = frozenset(("paper", "about", "settings", "stages", "published"))


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeStage:
    """One run of a recipe."""

    kind: str  # key of `STAGE_CONFIGS`
    settings: Mapping[str, Any]
    published: Mapping[str, Any]  # the authors' values; with --published they override `settings`

    @property
    def config_class(self) -> type[StageConfig]:
        """Configuration of the stage."""
        return STAGE_CONFIGS[self.kind]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """The training of a published system; `name` is that of the file without its suffix."""

    name: str
    paper: str
    about: str
    stages: tuple[RecipeStage, ...]


def recipe_paths() -> dict[str, Path]:
    """Files of the package's recipes, by name."""
    paths = {path.stem: path for path in Path(__file__).parent.glob("*.toml")}
    return dict(sorted(paths.items()))


def recipe_path(name: str) -> Path:
    """Return the file of a recipe.

    Args:
        name: of a recipe of the package, or of a TOML file.

    Raises:
        ValueError: if there is no such recipe.
    """
    if name.endswith(".toml"):
        return local_path(name)
    paths = recipe_paths()
    if name not in paths:
        raise unknown_name("recipe", name, paths)
    return paths[name]


def load_recipe(name: str) -> Recipe:
    """Read a recipe; see `recipe_path` for `name`.

    Raises:
        ValueError: if there is no such recipe, a key in it is unknown, or a value has another type.
        OSError: if the file cannot be read.
    """
    path = recipe_path(name)
    values = read_toml(path)
    for key in values:
        if key not in _KEYS:
            raise unknown_name(f"key in {path}", key, _KEYS)
    missing = {"paper", "about", "stages"} - values.keys()
    if missing or not values["stages"]:
        raise ValueError(
            f"{path} needs 'paper', 'about' and at least one [[stages]], got {sorted(values)}"
        )
    shared, published = values.get("settings", {}), values.get("published", {})
    stages = tuple(_stage(own, shared, published, path) for own in values["stages"])
    known = {name for stage in stages for name in setting_types(stage.config_class)}
    for key in shared:
        if key not in known:
            raise unknown_name(f"key in [settings] of {path}", key, known)
    return Recipe(name=path.stem, paper=values["paper"], about=values["about"], stages=stages)


def _stage(
    own: Mapping[str, Any], shared: Mapping[str, Any], published: Mapping[str, Any], path: Path
) -> RecipeStage:
    kind = str(own.get("kind"))
    if kind not in STAGE_CONFIGS:
        raise unknown_name(f"kind of a stage in {path}", kind, STAGE_CONFIGS)
    config_class = STAGE_CONFIGS[kind]
    names = setting_types(config_class)
    settings = {name: value for name, value in shared.items() if name in names}
    settings |= {name: value for name, value in own.items() if name != "kind"}
    authors = published if kind == "train" else {}
    return RecipeStage(
        kind=kind,
        settings=read_settings(settings, config_class, where=f"[[stages]] of {path}"),
        published=read_settings(authors, config_class, where=f"[published] of {path}"),
    )
