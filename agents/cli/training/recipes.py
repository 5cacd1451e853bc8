"""`zerosearch recipes`: lists the recipes of `zerosearch train --recipe`, or prints one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from agents.llm.recipes.recipe import load_recipe, recipe_path, recipe_paths

_DESCRIPTION = """List the recipes of `zerosearch train --recipe NAME`, or print one.

The comments of a recipe state its departures from the paper. To change one:
zerosearch recipes search-r1 > mine.toml, then zerosearch train --recipe mine.toml"""


@dataclass(frozen=True, kw_only=True)
class RecipesConfig:
    """Which recipes to show.

    Attributes:
        name: recipe to print; None lists all recipes.
    """

    name: Annotated[str | None, tyro.conf.Positional] = None


def main(argv: Sequence[str]) -> int:
    """Run the subcommand."""
    config = tyro.cli(
        RecipesConfig, args=list(argv), prog="zerosearch recipes", description=_DESCRIPTION
    )
    if config.name is not None:
        print(recipe_path(config.name).read_text(encoding="utf-8"), end="")
        return 0
    for name in recipe_paths():
        recipe = load_recipe(name)
        stages = " then ".join(stage.kind for stage in recipe.stages)
        print(f"{name:<15} {recipe.about}\n{'':<15} {recipe.paper}; {stages}")
    return 0
