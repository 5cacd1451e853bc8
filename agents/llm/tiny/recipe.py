"""Makes the tiny policy: `python -m agents.llm.tiny.recipe --output FOLDER`.

There are two supervised stages, both on worlds of the train split that RL does not use. In the
first the policy learns to read: to quote what a page states about a lookup, or to say that it
states nothing. In the second it learns the format from a teacher that reads without errors and
searches with errors (`world_teacher.py`). RL from a policy that cannot read learns nothing.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
import tyro
from rich.progress import track
from safetensors.torch import load_model
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from agents.baselines.world_oracle import Lookup, Plan, Statement, read_statements
from agents.llm.learner.config import OptimizerConfig
from agents.llm.learner.learner import Learner
from agents.llm.policy.location import TINY_POLICY
from agents.llm.policy.policy import Policy
from agents.llm.rollout.types import Rollout
from agents.llm.sft.demonstrations import encode_demonstration
from agents.llm.sft.supervised import SUPERVISED, plan_steps, train_steps
from agents.llm.sft.world_teacher import (
    NO_ERRORS,
    TeacherErrors,
    WorldTeacher,
    conclude,
    fact_prefix,
    has_conclusion,
    state,
)
from agents.llm.tiny.induction_init import init_induction_heads
from agents.llm.tiny.tokenizer import END_TOKEN, build_tokenizer
from zs_env.actions import Malformed
from zs_env.episode import Episode, EpisodeConfig
from zs_env.prompts import PROMPTS, render_page
from zs_env.questions.question import Question
from zs_env.search.types import SearchRequest
from zs_env.transcripts.transcript import Transcript, Turn
from zs_env.world import STRUCTURES, Comparison, World, WorldEngine, WorldQuestions
from zs_env.world.relations import INTERSECTIONS
from zs_env.world.world import YEARS

_CONFIG = EpisodeConfig(prompt=PROMPTS["bare"])
_FIRST_WORLD = 1000  # worlds below are for RL
_LONGER = {"chain2": 0.15, "chain3": 0.25, "comparison": 0.3, "intersection": 0.3}
_STEP = re.compile(r" (?:Next|Again) the ")
_EARLY_DEMONSTRATIONS = 1000  # demonstrations in the reading stage
_Source = tuple[WorldQuestions, WorldEngine]
_OTHER_LOOKUPS = 4  # further lookups on a page beside the one that was searched for


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings of the tiny policy.

    Attributes:
        output: folder of the finished policy, Hugging Face format.
        hidden_size: width of the model.
        num_layers: number of layers.
        head_dim: width of each of the six heads.
        num_worlds: fictional worlds of the demonstrations.
        num_drills: pages in the reading stage.
        num_comparisons: comparisons of two years in the reading stage.
        num_demonstrations: episodes in the format stage.
        faultless: share of these episodes in which the teacher makes no errors.
        num_endings: further episodes of that stage; only the parts without errors are trained.
        epochs: passes over the demonstrations.
        lr: peak learning rate of AdamW (embeddings and norms) in the reading stage.
        muon_lr: peak learning rate of Muon (all matrices) in the reading stage.
        format_lr_scale: factor on both learning rates in the format stage; with factor 1 a tenth of
            the reading accuracy is lost.
        seed: seed of all randomness.
    """

    output: Path = TINY_POLICY
    hidden_size: int = 192
    num_layers: int = 4
    head_dim: int = 64
    num_worlds: int = 50
    num_drills: int = 48000
    num_comparisons: int = 16000
    num_demonstrations: int = 12000
    faultless: float = 0.25
    num_endings: int = 8000
    epochs: float = 1.0
    lr: float = 2e-3
    muon_lr: float = 0.02
    format_lr_scale: float = 0.4
    seed: int = 0


def make_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Make a Llama of the recipe's size with induction heads."""
    torch.manual_seed(recipe.seed)
    end: Any = tokenizer.convert_tokens_to_ids(END_TOKEN)
    config: Any = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden_size,
        intermediate_size=2 * recipe.hidden_size,
        num_hidden_layers=recipe.num_layers,
        num_attention_heads=6,
        head_dim=recipe.head_dim,
        attention_bias=True,
        max_position_embeddings=2048,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        tie_word_embeddings=True,
        # The usual 0.02 suits wide models.
        initializer_range=recipe.hidden_size**-0.5,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=end,
    )
    config.zerosearch_env = {"prompt": "bare"}  # arguments of the environment it is trained with
    model = LlamaForCausalLM(config)
    init_induction_heads(model)
    return model


@cache
def _worlds(recipe: Recipe) -> list[World]:
    return [World(_FIRST_WORLD + i) for i in range(recipe.num_worlds)]


def drills(recipe: Recipe, policy: Policy) -> Iterator[Rollout]:
    """Yield reading drills: a search with its page, then what the page states about the lookup.

    Further lookups on the same page follow: facts that it states, and facts that it almost states.
    """
    rng = random.Random(f"drills {recipe.seed}")
    worlds = _worlds(recipe)
    engines = [WorldEngine(world) for world in worlds]
    inverse = {relation for pair in INTERSECTIONS for relation in pair}
    nothing = Question(id="drill", text="", answers=("",))
    for index in track(range(recipe.num_drills), "pages to read"):
        world, engine = worlds[index % len(worlds)], engines[index % len(worlds)]
        fact = rng.choice(world.facts)
        relation = fact.relation.name
        if relation in inverse and rng.random() < 0.3:
            lookup = Lookup(relation, fact.object.name, inverse=True)
        else:
            lookup = Lookup(relation, rng.choice(fact.subject.names))
        query = lookup.name if rng.random() < 0.3 else lookup.query
        useful = (rng.random() < 0.5,) * 5
        request = SearchRequest(query, None, None, useful, rng.getrandbits(63))
        page = render_page(engine.search([request])[0].documents)
        statements = read_statements(page)
        others = dict.fromkeys(_near(statements, rng) for _ in range(_OTHER_LOOKUPS))
        others.pop(lookup, None)
        prompt = f"<think> First the {relation}.</think><search> {query}</search>{page}"
        pieces = [(prompt, f"<think>{state(lookup, lookup.read(statements))}")]
        for other in others:
            # The lookup is given; only what the page states about it is trained.
            prefix = fact_prefix(other)
            pieces.append((prefix, state(other, other.read(statements)[:1]).removeprefix(prefix)))
        yield _rollout(policy, nothing, pieces)


def _rollout(policy: Policy, question: Question, pieces: list[tuple[str, str]]) -> Rollout:
    """Make a rollout of pairs: a given text and the text after it that is trained."""
    messages = [given for given, _ in pieces[1:]]
    turns = [
        Turn(learnt, Malformed("no_action"), message=message)
        for (_, learnt), message in zip(pieces, [*messages, ""], strict=True)
    ]
    transcript = Transcript(question=question, prompt=pieces[0][0], turns=tuple(turns))
    return encode_demonstration(policy, transcript)


def _near(statements: list[Statement], rng: random.Random) -> Lookup:
    """Return a lookup that a page answers, or in half of the cases one combined of two facts."""
    one, other = rng.choice(statements), rng.choice(statements)
    inverse = rng.random() < 0.25
    name, another = (s.object if inverse else s.subject for s in (one, other))
    kind = rng.random()
    if kind < 0.2:
        return Lookup(other.relation, name, inverse)
    if kind < 0.5 and " " in name and " " in another:
        return Lookup(one.relation, f"{name.split()[0]} {another.split()[1]}", inverse)
    return Lookup(one.relation, name, inverse)


def comparisons(recipe: Recipe, policy: Policy) -> Iterator[Rollout]:
    """Yield comparisons of two years that are given."""
    rng = random.Random(f"comparisons {recipe.seed}")
    worlds = _worlds(recipe)
    questions = [WorldQuestions(world, ["comparison"], seed=recipe.seed + 1) for world in worlds]
    for index in track(range(recipe.num_comparisons), "years to compare"):
        question = questions[index % len(worlds)][index]
        plan = Plan(question.text)
        parsed = plan.question
        assert isinstance(parsed, Comparison)
        found = [rng.choice(YEARS) for _ in parsed.names]
        if found[0] == found[1]:
            continue
        lookups = [Lookup(parsed.relation, name) for name in parsed.names]
        pairs = list(zip(lookups, found, strict=True))
        plan.read([Statement(lookup.relation, lookup.name, year) for lookup, year in pairs])
        known = "".join(state(lookup, [year]) for lookup, year in pairs)
        prompt = f"{Episode(question, config=_CONFIG).prompt}<think>{known}"
        yield _rollout(policy, question, [(prompt, conclude(plan))])


def endings(recipe: Recipe, policy: Policy) -> Iterator[Rollout]:
    """Yield longer episodes without errors, of which only the parts without decisions are trained.

    These are what a page states, the query of a lookup, and the conclusion about two things.
    The first query, and whether to search again or to answer, are learned from the teacher with
    errors.
    """
    rng = random.Random(f"endings {recipe.seed}")
    sources = _sources(recipe, _LONGER, seed=recipe.seed + 2)
    for index in track(range(recipe.num_endings), "episodes to end"):
        whole = _play(sources, index, NO_ERRORS, rng)
        first, *others = whole.turns
        given, pieces = whole.prompt + first.text + first.message, []
        for turn in others:
            for skipped, learnt in _faultless(turn.text):
                pieces.append((given + skipped, learnt))
                given = ""
            given = turn.message
        yield _rollout(policy, whole.question, pieces)


def _faultless(turn: str) -> list[tuple[str, str]]:
    """Return the parts of a turn without decisions, each with the skipped text before it."""
    if has_conclusion(turn):
        return [("", turn)]
    step = _STEP.search(turn)
    if step is None:
        return [("", turn[: turn.index(" Done.")])]
    query = turn.index("<search>") + len("<search>")
    return [("", turn[: step.start()]), (turn[step.start() : query], turn[query:])]


def demonstrations(recipe: Recipe, policy: Policy) -> Iterator[Rollout]:
    """Yield episodes of the teacher with noise from 0 to 0.5, equally many of every structure."""
    rng = random.Random(f"demonstrations {recipe.seed}")
    sources = _sources(recipe, STRUCTURES)
    for index in track(range(recipe.num_demonstrations), "demonstrations"):
        errors = NO_ERRORS if rng.random() < recipe.faultless else TeacherErrors()
        yield encode_demonstration(policy, _play(sources, index, errors, rng))


def _sources(recipe: Recipe, structures: Any, seed: int = 0) -> list[_Source]:
    return [
        (WorldQuestions(world, structures, seed=seed), WorldEngine(world))
        for world in _worlds(recipe)
    ]


def _play(
    sources: list[_Source], index: int, errors: TeacherErrors, rng: random.Random
) -> Transcript:
    questions, engine = sources[index % len(sources)]
    noise = rng.uniform(0.0, 0.5)
    teacher = WorldTeacher(questions[index], errors, rng)
    return teacher.play(engine, config=_CONFIG, noise_probability=noise)


def make_tiny_policy(recipe: Recipe) -> Policy:
    """Train both stages and return the policy; takes half an hour on two cores.

    The weights of each stage are saved in bfloat16. A stage whose weights exist in the output
    folder is loaded instead.
    """
    tokenizer = build_tokenizer()
    policy = Policy(make_model(recipe, tokenizer), tokenizer, "tiny")
    pages = [*drills(recipe, policy), *comparisons(recipe, policy)]
    random.Random(recipe.seed).shuffle(pages)
    episodes = list(demonstrations(recipe, policy))
    ends = list(endings(recipe, policy))
    # Each stage contains some rollouts of the other, so that neither skill is forgotten.
    some, few = len(pages) // 4, _EARLY_DEMONSTRATIONS
    stages = {
        "reading": pages[some:] + episodes[:few],
        "format": pages[:some] + episodes[few:] + ends,
    }
    for name, rollouts in stages.items():
        weights = recipe.output / name / "model.safetensors"
        if weights.exists():
            load_model(policy.model, weights)
            continue
        _train(policy, rollouts, recipe, name)
        _save_halved(policy.model, recipe.output / name)
    return policy


def _train(policy: Policy, rollouts: list[Rollout], recipe: Recipe, name: str) -> None:
    def report(step: int, loss: float) -> None:
        if step % 50 == 0:
            print(f"{name} step {step}: {loss:.4f} nats per token", flush=True)

    scale = recipe.format_lr_scale if name == "format" else 1.0
    # On short rows plain attention is faster than fused attention.
    short = sum(len(rollout.token_ids) for rollout in rollouts) < 120 * len(rollouts)
    with sdpa_kernel(SDPBackend.MATH if short else SDPBackend.FLASH_ATTENTION):
        steps = plan_steps(rollouts, tokens_per_step=4096, epochs=recipe.epochs, seed=recipe.seed)
        learner = Learner(
            policy.model,
            algorithm=SUPERVISED,
            optimizer=OptimizerConfig(
                learning_rate=scale * recipe.lr,
                warmup_steps=20,
                lr_schedule="cosine",
                tokens_per_micro_batch=2048,
                autocast=True,
            ),
            total_updates=len(steps),
            muon_learning_rate=scale * recipe.muon_lr,
        )
        train_steps(learner, rollouts, steps, on_step=report)


def _save_halved(model: Any, folder: Path) -> None:
    model.to(torch.bfloat16).save_pretrained(folder)
    model.float()


def main(argv: list[str] | None = None) -> None:
    """Make the policy that ships with the package."""
    recipe = tyro.cli(Recipe, args=argv)
    policy = make_tiny_policy(recipe)
    _save_halved(policy.model, recipe.output)
    policy.tokenizer.save_pretrained(recipe.output)


if __name__ == "__main__":
    main()
