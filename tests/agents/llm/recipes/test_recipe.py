"""Recipes are read whole, name their papers, and give way to flags."""

import json
import shlex
from contextlib import closing

import pytest

from agents.cli.training.recipes import stage_configs
from agents.llm.recipes.recipe import load_recipe, recipe_path, recipe_paths
from agents.llm.sft.config import WarmStartConfig
from agents.llm.trainer.config import TrainConfig
from agents.llm.trainer.environments import check_config, training_environment
from agents.storage.config_file import settings_of
from zs_env.config import build_engine
from zs_env.search.types import SearchRequest
from zs_env.simulator.generators.base import Completion
from zs_env.world import PAGE_STRUCTURES

NAMES = list(recipe_paths())
MINIMAL = 'paper = "p"\nabout = "a"\n'
WRITING = Completion("Doc 1: Nobody knows.")


def write(folder, text):
    path = folder / "mine.toml"
    path.write_text(text, "utf-8")
    return str(path)


def test_the_recipes_of_the_related_systems_are_there():
    wanted = "deepresearcher r1 r1-searcher research search-r1 searchgym sft ssrl zerosearch"
    assert wanted.split() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_names_its_paper_and_where_it_departs_from_it(name):
    recipe = load_recipe(name)
    assert "arXiv:" in recipe.paper and recipe.about and recipe.stages
    assert "epart" in recipe_path(name).read_text("utf-8")


@pytest.mark.parametrize("published", [(), ("--published",)])
@pytest.mark.parametrize("name", NAMES)
def test_every_stage_is_a_run_on_the_embedded_world_with_the_tiny_policy(name, published):
    for config in stage_configs(load_recipe(name), published):
        assert settings_of(config)["policy"] == "tiny"
        if isinstance(config, TrainConfig):
            assert config.environment.questions is None and config.environment.env.startswith(
                "ZeroSearch"
            )
        else:
            assert config.demonstrations.questions == ("world",)


def test_flags_win_in_every_stage_and_the_policy_is_the_first_one_s():
    flags = ["--steps", "7", "--policy", "mine", "--output", "out", "--eval-noise", "0", "0.25"]
    first, second = stage_configs(load_recipe("r1-searcher"), flags)
    assert (first.run.steps, second.run.steps) == (7, 7)
    assert first.evaluation.eval_noise == second.evaluation.eval_noise == (0.0, 0.25)
    assert first.model.policy == "mine"
    assert [str(first.run.output), str(second.run.output)] == ["out/stage-1", "out/stage-2"]
    assert (first.environment.reward, second.environment.reward) == (
        "r1_searcher_stage1",
        "r1_searcher_stage2",
    )


def test_the_recipe_with_a_world_can_open_its_pages():
    lines = recipe_path("searchgym").read_text("utf-8").splitlines()
    text = " ".join(line.lstrip("# ") for line in lines)
    flags = shlex.split(text[text.index("--tools") : text.index("}'") + 2])
    (config,) = stage_configs(load_recipe("searchgym"), ["--published", *flags])
    check_config(config)
    with closing(training_environment(config, 1, None)) as environment:
        assert environment.config.tools == ("search", "open") and environment.engine.can_open
        structures = {one.metadata["structure"] for one in environment.questions[:200]}
        assert structures == {*config.rollouts.curriculum} >= {*PAGE_STRUCTURES}


def test_a_flag_reaches_the_stages_that_know_it():
    cold_start, rl = stage_configs(
        load_recipe("r1"), ["--episodes", "9", "--group-size", "3", "--seed", "5"]
    )
    assert isinstance(cold_start, WarmStartConfig) and isinstance(rl, TrainConfig)
    assert (cold_start.demonstrations.episodes, cold_start.run.seed) == (9, 5)
    assert (rl.rollouts.group_size, rl.run.seed) == (3, 5)
    with pytest.raises(ValueError, match="unknown flag '--group-size'"):
        stage_configs(load_recipe("sft"), ["--group-size", "3"])


def test_a_list_is_emptied_by_its_flag_alone():
    first, _ = stage_configs(load_recipe("r1-searcher"), [])
    assert first.rollouts.curriculum == ("chain1",)
    first, _ = stage_configs(load_recipe("r1-searcher"), ["--curriculum"])
    assert first.rollouts.curriculum == ()


def test_published_values_come_before_flags_and_after_the_recipe():
    recipe = load_recipe("search-r1")
    (small,) = stage_configs(recipe, [])
    (large,) = stage_configs(recipe, ["--steps", "9", "--published"])
    assert (small.rollouts.questions_per_step, small.optimizer.learning_rate) == (14, 3e-4)
    assert (large.rollouts.questions_per_step, large.optimizer.learning_rate, large.run.steps) == (
        512,
        1e-6,
        9,
    )
    assert large.environment.reward == small.environment.reward == "search_r1"


def test_a_file_of_settings_is_read_beside_a_recipe(tmp_path):
    path = write(tmp_path, "steps = 3\nseed = 4\n")
    (config,) = stage_configs(load_recipe("research"), ["--config", path, "--seed", "6"])
    assert (config.run.steps, config.run.seed, config.environment.reward) == (3, 6, "research")


def test_a_stage_s_own_settings_stand_before_those_of_all(tmp_path):
    text = '[settings]\nseed = 3\nsteps = 4\n[[stages]]\nkind = "train"\nsteps = 5\n'
    (config,) = stage_configs(load_recipe(write(tmp_path, MINIMAL + text)), [])
    assert (config.run.seed, config.run.steps) == (3, 5)
    assert str(config.run.output) == "runs/mine"


def test_self_search_is_asked_with_the_query_alone():
    (config,) = stage_configs(load_recipe("ssrl"), [])
    spec = json.loads(config.environment.engine)
    assert spec["generator"]["kind"] == "policy"
    asked = []

    class TextGenerator:
        fingerprint = "w"

        def generate(self, prompts):
            asked.extend(prompts)
            return [WRITING for _ in prompts]

    engine = build_engine({**spec, "generator": TextGenerator()}, [])
    request = SearchRequest("who built it", "Who built Zorn?", ("Ann Lee",), (True, True), 3)
    noisy = SearchRequest("who built it", "Who built Zorn?", ("Ann Lee",), (False, False), 3)
    engine.search([request])
    engine.search([noisy])
    # One call each: the checks, which know the answer, call for no second one.
    useful_prompt, noisy_prompt = asked
    assert useful_prompt.text == noisy_prompt.text
    assert "who built it" in useful_prompt.text
    assert "Ann" not in useful_prompt.text and "Zorn" not in useful_prompt.text


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        (MINIMAL, r"at least one \[\[stages\]\]"),
        (MINIMAL + "stages = []\n", "at least one"),
        (MINIMAL + 'papers = 1\n[[stages]]\nkind = "train"\n', "Did you mean 'paper'"),
        (MINIMAL + '[[stages]]\nkind = "trian"\n', "Did you mean 'train'"),
        (MINIMAL + '[[stages]]\nkind = "train"\nstep = 1\n', "Did you mean 'steps'"),
        (MINIMAL + '[settings]\nstep = 1\n[[stages]]\nkind = "train"\n', "Did you mean 'steps'"),
        (MINIMAL + '[published]\nstep = 1\n[[stages]]\nkind = "train"\n', "Did you mean 'steps'"),
    ],
)
def test_what_a_recipe_lacks_is_said(text, fix, tmp_path):
    with pytest.raises(ValueError, match=fix):
        load_recipe(write(tmp_path, text))


def test_an_unknown_recipe_is_answered_with_those_there_are():
    with pytest.raises(ValueError, match="Did you mean 'search-r1'") as refused:
        load_recipe("searchr1")
    assert all(name in str(refused.value) for name in NAMES)
