"""The output of commands about recipes."""

import pytest

from agents.cli.main import main
from agents.llm.recipes.recipe import load_recipe, recipe_path, recipe_paths


def test_the_list_has_a_line_and_a_paper_for_each(capsys):
    assert main(["recipes"]) == 0
    listed = capsys.readouterr().out
    for name in recipe_paths():
        recipe = load_recipe(name)
        assert f"{name} " in listed and recipe.about in listed and recipe.paper in listed


def test_a_recipe_is_printed_as_it_is(capsys):
    assert main(["recipes", "ssrl"]) == 0
    assert capsys.readouterr().out == recipe_path("ssrl").read_text("utf-8")


def test_the_help_of_training_names_them(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    output = capsys.readouterr().out
    assert all(name in output for name in recipe_paths())


def test_an_unknown_one_is_a_wrong_command_line(capsys):
    assert main(["train", "--recipe", "search-2"]) == 2
    assert "Known: deepresearcher, r1, r1-searcher" in capsys.readouterr().err
    assert main(["recipes", "search-2"]) == 2
