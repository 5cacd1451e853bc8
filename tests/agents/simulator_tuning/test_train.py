"""The loss counts the page only, and an interrupted tuning resumes."""

import shutil
from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM

from agents.llm.tiny.tokenizer import build_tokenizer
from agents.simulator_tuning.pairs import Pair
from agents.simulator_tuning.train import encode_pair, pad_rows, tune
from agents.simulator_tuning.tune_config import TuneConfig
from zs_env.simulator.generators.base import Prompt, TextSampling
from zs_env.simulator.generators.local_transformers import TransformersTextGenerator


def pair(prompt="The author of", completion="residence of the\n"):
    return Pair(
        prompt=prompt,
        completion=completion,
        kind="useful",
        query="q",
        question="Q?",
        answers=("a",),
        question_id="1",
        source="",
    )


PAIRS = [pair(), pair("residence"), pair("the the the", "author\n"), pair("of", "is the author\n")]


@pytest.fixture(scope="module")
def model(make_worded_llama, tmp_path_factory):
    """A folder with a small random model."""
    folder = tmp_path_factory.mktemp("model")
    for part in make_worded_llama():
        part.save_pretrained(folder)
    return folder


def settings(model, **changes):
    values = {"epochs": 30, "learning_rate": 1e-2, "warmup_steps": 0, "bf16": False}
    sizes = {"batch_size": 4, "micro_batch_size": 2, "save_steps": 10}
    return TuneConfig(model=str(model), **{**values, **sizes, **changes})


def weights(folder):
    return AutoModelForCausalLM.from_pretrained(folder).state_dict()


def test_labels_cover_the_page_and_its_end_only():
    tokenizer = build_tokenizer()
    row = encode_pair(tokenizer, pair(), None)
    prompt, page = tokenizer.encode("The author of"), tokenizer.encode("residence of the")
    assert row["input_ids"] == [*prompt, *page, tokenizer.eos_token_id]
    assert row["labels"] == [-100] * len(prompt) + [*page, tokenizer.eos_token_id]


def test_padding_changes_no_loss(model):
    network = AutoModelForCausalLM.from_pretrained(model).double()
    rows = [encode_pair(build_tokenizer(), one, None) for one in PAIRS]
    counts = [sum(label != -100 for label in row["labels"]) for row in rows]
    with torch.no_grad():
        alone = [float(network(**pad_rows([row])).loss) for row in rows]
        together = float(network(**pad_rows(rows)).loss)
    mean = sum(loss * count for loss, count in zip(alone, counts, strict=True)) / sum(counts)
    assert together == pytest.approx(mean, rel=1e-6)


def test_a_tuned_model_generates_its_training_pages(model, tmp_path):
    seen = []
    config = settings(model, epochs=100)
    result = tune(config, PAIRS, tmp_path, on_log=lambda *row: seen.append(row))
    assert (result["pairs"], result["too_long"], result["steps"]) == (4, 0, 100)
    assert result["loss"] < 0.2 < seen[0][2]
    assert seen[-1][:2] == (100, 100)
    generator = TransformersTextGenerator(
        result["model"], sampling=TextSampling(temperature=0, max_tokens=30)
    )
    outputs = generator.generate([Prompt(one.prompt, None, 0) for one in PAIRS])
    assert [one.text.strip() for one in outputs] == [one.completion.strip() for one in PAIRS]
    assert not any(one.cut for one in outputs)


def test_a_resumed_tuning_gives_the_same_model(model, tmp_path):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    tune(settings(model), PAIRS, whole)
    shutil.copytree(whole, stopped)
    shutil.rmtree(stopped / "model")
    shutil.rmtree(stopped / "checkpoints" / "checkpoint-30")
    steps = []
    tune(settings(model), PAIRS, stopped, on_log=lambda step, *_: steps.append(step))
    assert steps[0] == 21
    one, other = weights(whole / "model"), weights(stopped / "model")
    assert all(torch.allclose(one[name], other[name], atol=1e-6) for name in one)


@pytest.mark.parametrize(("incomplete", "first"), [({30: None}, 21), ({30: "{", 20: None}, 1)])
def test_incomplete_checkpoints_are_not_resumed(model, tmp_path, incomplete, first):
    whole, damaged = tmp_path / "whole", tmp_path / "damaged"
    tune(settings(model), PAIRS, whole)
    shutil.copytree(whole, damaged)
    for number, state in incomplete.items():
        path = damaged / "checkpoints" / f"checkpoint-{number}" / "trainer_state.json"
        path.unlink() if state is None else path.write_text(state)
    steps = []
    tune(settings(model), PAIRS, damaged, on_log=lambda step, *_: steps.append(step))
    assert steps[0] == first
    one, other = weights(whole / "model"), weights(damaged / "model")
    assert all(torch.allclose(one[name], other[name], atol=1e-6) for name in one)


@pytest.mark.parametrize(
    ("changes", "pairs", "hint"),
    [
        ({"learning_rate": 1e-3}, PAIRS, "learning_rate was 0.01"),
        ({}, PAIRS[:3], "pairs was"),
        ({"save_steps": 5}, PAIRS, None),
    ],
)
def test_checkpoints_of_another_tuning_are_refused(model, tmp_path, changes, pairs, hint):
    tune(settings(model, epochs=10), PAIRS, tmp_path)
    if hint is None:
        tune(settings(model, epochs=10, **changes), pairs, tmp_path)
        return
    with pytest.raises(ValueError, match=f"another tuning .*{hint}"):
        tune(settings(model, epochs=10, **changes), pairs, tmp_path)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # peft's own
def test_adapters_are_merged(model, tmp_path):
    pytest.importorskip("peft", reason="LoRA needs peft")
    result = tune(settings(model, lora_rank=4, epochs=5), PAIRS, tmp_path)
    one, other = weights(model), weights(result["model"])
    assert one.keys() == other.keys()
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_long_pairs_are_skipped_and_counted(model, tmp_path):
    long = replace(pair(), prompt="the " * 50)
    result = tune(settings(model, epochs=1, max_tokens=40), [*PAIRS, long], tmp_path)
    assert (result["pairs"], result["too_long"]) == (4, 1)
    with pytest.raises(ValueError, match="none of 1 pairs fits into 40 tokens"):
        tune(settings(model, max_tokens=40), [long], tmp_path / "other")


def test_a_loss_that_is_not_finite_stops_the_training(model, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(model, broken)
    network = AutoModelForCausalLM.from_pretrained(broken)
    with torch.no_grad():
        network.model.norm.weight.fill_(float("nan"))
    network.save_pretrained(broken)
    with pytest.raises(FloatingPointError, match="lower learning_rate"):
        tune(settings(broken), PAIRS, tmp_path / "run")


def test_invalid_settings_are_refused():
    with pytest.raises(ValueError, match="not a multiple of micro_batch_size"):
        TuneConfig(batch_size=5, micro_batch_size=2)
    with pytest.raises(ValueError, match="epochs must be positive"):
        TuneConfig(epochs=0)
