"""The policy writes the pages that it reads, with the weights that it has at that moment."""

import json
from dataclasses import replace

import pytest
import torch

from agents.cli.training.train import main
from agents.llm.trainer.environments import uses_policy, with_policy_as_generator
from agents.llm.trainer.metrics import read_metrics
from zs_env.config import build_engine
from zs_env.search.types import SearchPage, SearchRequest

GENERATOR = {"kind": "policy", "sampling": {"max_tokens": 12, "temperature": 0.0}}
SPEC = {"kind": "simulator", "generator": GENERATOR, "retries": 0}
REQUEST = SearchRequest("author", "Who is the author?", ("Ada",), (True, True), 3)


def texts(engine):
    # Random weights may end a page before its first word, which is an error in its place.
    pages = engine.search([replace(REQUEST, query=f"author {n}") for n in range(16)])
    found = [page.documents for page in pages if isinstance(page, SearchPage)]
    assert found
    return [document.text for documents in found for document in documents]


def test_pages_follow_the_weights(make_worded_policy):
    policy = make_worded_policy()
    sampled = {**GENERATOR, "sampling": {"max_tokens": 12, "temperature": 1.0}}
    engine = build_engine(with_policy_as_generator({**SPEC, "generator": sampled}, policy), [])
    assert engine.generator.model is policy.model
    before = texts(engine)
    assert texts(engine) == before
    with torch.no_grad():
        for weight in policy.model.parameters():
            weight.add_(torch.randn(weight.shape, generator=torch.manual_seed(1)))
    assert texts(engine) != before


def test_the_policy_is_found_wherever_it_stands(make_worded_policy):
    policy = make_worded_policy()
    mixture = {"kind": "mixture", "engines": [{"kind": "world"}, SPEC], "weights": [1, 1]}
    assert uses_policy(mixture) and not uses_policy({"kind": "world"})
    made = with_policy_as_generator(mixture, policy)
    assert made["engines"][1]["generator"].model is policy.model
    assert mixture["engines"][1] == SPEC  # the spec itself stays what the run records
    assert with_policy_as_generator(None, policy) is None


def test_old_weights_are_not_kept_and_typos_are_said(make_worded_policy):
    policy = make_worded_policy()
    with pytest.raises(ValueError, match="remove the cache"):
        with_policy_as_generator({"kind": "cache", "engine": SPEC}, policy)
    wrong = {**SPEC, "generator": {"kind": "policy", "samplng": {}}}
    with pytest.raises(ValueError, match="Did you mean 'sampling'"):
        with_policy_as_generator(wrong, policy)


def test_a_run_searches_itself(make_worded_policy, tmp_path):
    make_worded_policy().save(tmp_path / "policy")
    flags = ["--policy", str(tmp_path / "policy"), "--output", str(tmp_path / "run")]
    flags += ["--engine", json.dumps(SPEC), "--eval-engine", "world", "--prompt", "bare"]
    flags += ["--steps", "1", "--questions-per-step", "2", "--group-size", "2"]
    flags += ["--max-turns", "2", "--num-documents", "2", "--max-new-tokens", "12"]
    flags += ["--final-episodes", "2", "--eval-noise", "0", "--no-tensorboard"]
    threads = torch.get_num_threads()
    try:
        main([*flags, "--threads", "1"])
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(False)
    (row,) = read_metrics(tmp_path / "run", "train")
    assert row["step"] == 1
    assert json.loads((tmp_path / "run" / "config.json").read_text())["engine"] == json.dumps(SPEC)
