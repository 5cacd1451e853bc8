"""The initial weights shift and copy before any training."""

import dataclasses
from pathlib import Path

import torch
from transformers import LlamaForCausalLM

from agents.llm.learner.config import OptimizerConfig
from agents.llm.learner.optimizer import policy_optimizers
from agents.llm.tiny.recipe import Recipe, make_model
from agents.llm.tiny.tokenizer import build_tokenizer

MODEL = make_model(Recipe(output=Path()), build_tokenizer())


def random_ids(length):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(10, len(build_tokenizer()) - 300, (1, length), generator=generator)


def test_head_i_of_the_first_layer_attends_i_plus_one_positions_back():
    eager = LlamaForCausalLM._from_config(MODEL.config, attn_implementation="eager")
    eager.load_state_dict(MODEL.state_dict())
    weights = eager(random_ids(60), output_attentions=True).attentions[0][0]
    for head in range(5):
        assert weights[head].diagonal(-head - 1)[10:].min() > 0.95


def test_a_repeated_sequence_is_predicted_from_its_first_copy_without_training():
    ids = random_ids(40).repeat(1, 2)
    with torch.no_grad():
        predicted = MODEL(ids).logits[0, 42:-1].argmax(-1)
    assert (predicted == ids[0, 43:]).float().mean() > 0.5  # chance is 1 in 1,000


def test_equal_seeds_give_equal_weights_and_other_seeds_do_not():
    recipe = Recipe(output=Path())
    again = make_model(recipe, build_tokenizer())
    other = make_model(dataclasses.replace(recipe, seed=1), build_tokenizer())
    name = "model.layers.1.self_attn.q_proj.weight"
    assert torch.equal(again.state_dict()[name], MODEL.state_dict()[name])
    assert not torch.equal(other.state_dict()[name], MODEL.state_dict()[name])


def test_muon_trains_the_matrices_of_the_layers_and_adamw_all_others():
    optimizers = policy_optimizers(MODEL, OptimizerConfig(learning_rate=1e-3), 0.02)
    muon, adamw = optimizers["muon"], optimizers["policy"]
    names = {id(parameter): name for name, parameter in MODEL.named_parameters()}
    muon_names = {names[id(p)] for group in muon.param_groups for p in group["params"]}
    adamw_names = {names[id(p)] for group in adamw.param_groups for p in group["params"]}
    assert muon_names | adamw_names == set(names.values()) and not muon_names & adamw_names
    assert muon_names == {n for n in names.values() if n.endswith("proj.weight")}
