"""Recipes: how a published system is trained, as data. Imports no torch.

A recipe is a TOML file beside this module, or one of the user's own:

    paper = "whose it is"
    about = "one line"
    [settings]       # of every stage that has a setting of this name
    [[stages]]       # one after the other, each from the policy that the last one left
    kind = "train"   # or "warm-start"; then the stage's own settings
    [published]      # what the authors ran where the settings are scaled down: `train` stages only

Settings are the fields of `TrainConfig` and `WarmStartConfig`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from agents.cli.flags import flags_by_setting, flags_of_table, read_toml
from agents.llm.sft.config import WarmStartConfig
from agents.llm.trainer.config import TrainConfig
from zs_env.text.suggestions import unknown_name

# What each kind of stage can be told.
STAGE_CONFIGS: Mapping[str, type[TrainConfig] | type[WarmStartConfig]] = {
    "train": TrainConfig,
    "warm-start": WarmStartConfig,
}
_FOLDER = Path(__file__).parent
_KEYS = frozenset(("paper", "about", "settings", "stages", "published"))


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeStage:
    """One run of a recipe.

    Attributes:
        kind: a row of `STAGE_CONFIGS`.
        flags: its settings, as the command line would give them.
        published: those of the authors; they come after `flags` where they are asked for.
    """

    kind: str
    flags: tuple[str, ...]
    published: tuple[str, ...]

    @property
    def settings(self) -> frozenset[str]:
        """The settings that there are."""
        return frozenset(field.name for field in fields(STAGE_CONFIGS[self.kind]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a published system is trained.

    Attributes:
        name: its file's, without the ending.
        paper: whose it is.
        about: one line for people.
        stages: in order, at least one.
    """

    name: str
    paper: str
    about: str
    stages: tuple[RecipeStage, ...]

    def stage_flags(self, given: Sequence[str], *, published: bool = False) -> list[list[str]]:
        """What each stage's parser reads: the recipe's flags, then those a user gave.

        A flag reaches every stage that has a setting of its name, `--policy` the first stage only:
        the others go on from where the last one ended.

        Args:
            given: by the user; they win.
            published: whether the authors' values come in between.

        Raises:
            ValueError: if no stage has a setting of a flag's name.
        """
        known = frozenset[str]().union(*(stage.settings for stage in self.stages))
        groups = flags_by_setting(given, known)
        return [
            [
                *stage.flags,
                *(stage.published if published else ()),
                *(
                    word
                    for name, words in groups
                    if name in stage.settings and (name != "policy" or number == 0)
                    for word in words
                ),
            ]
            for number, stage in enumerate(self.stages)
        ]


def recipe_paths() -> dict[str, Path]:
    """The recipes of the package: files by name."""
    paths = {path.stem: path for path in _FOLDER.glob("*.toml")}
    return dict(sorted(paths.items()))


def recipe_path(name: str) -> Path:
    """The file of a recipe.

    Args:
        name: of one of the package, or of a TOML file.

    Raises:
        ValueError: if there is no such recipe.
    """
    if name.endswith(".toml"):
        return Path(name)
    paths = recipe_paths()
    if name not in paths:
        raise unknown_name("recipe", name, paths)
    return paths[name]


def load_recipe(name: str) -> Recipe:
    """Read a recipe; see `recipe_path` for `name`.

    Raises:
        ValueError: if there is no such recipe, or a key in it means nothing.
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
    stages = tuple(_stage(one, shared, published, path) for one in values["stages"])
    known = frozenset[str]().union(*(stage.settings for stage in stages))
    flags_of_table(shared, known, where=f"[settings] of {path}")
    return Recipe(name=path.stem, paper=values["paper"], about=values["about"], stages=stages)


def _stage(
    own: Mapping[str, Any], shared: Mapping[str, Any], published: Mapping[str, Any], path: Path
) -> RecipeStage:
    kind = str(own.get("kind"))
    if kind not in STAGE_CONFIGS:
        raise unknown_name(f"kind of a stage in {path}", kind, STAGE_CONFIGS)
    names = {field.name for field in fields(STAGE_CONFIGS[kind])}
    settings = {name: value for name, value in shared.items() if name in names}
    settings |= {name: value for name, value in own.items() if name != "kind"}
    return RecipeStage(
        kind=kind,
        flags=tuple(flags_of_table(settings, names, where=f"[[stages]] of {path}")),
        published=tuple(
            flags_of_table(published, names, where=f"[published] of {path}")
            if kind == "train"
            else ()
        ),
    )
