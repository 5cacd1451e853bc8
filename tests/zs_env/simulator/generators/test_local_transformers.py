"""A completion depends on its prompt and seed, not on the rest of the batch."""

from dataclasses import replace

import pytest
import torch

from zs_env.config import build_engine
from zs_env.search.types import SearchPage, SearchRequest
from zs_env.simulator.generators.base import Completion, Prompt, PromptRejected, TextSampling
from zs_env.simulator.generators.local_transformers import TransformersTextGenerator, _nucleus

SAMPLING = TextSampling(temperature=1.0, top_p=1.0, max_tokens=12)
PROMPTS = [
    Prompt("The author of", None, 1),
    Prompt("residence", "", 2),
    Prompt("a the is", None, 3),
]


@pytest.fixture(scope="module")
def model(make_worded_llama):
    return make_worded_llama(num_hidden_layers=2, initializer_range=0.5)


def generator(model, **settings):
    return TransformersTextGenerator(*model, **{"sampling": SAMPLING, **settings})


def texts(outputs):
    return [one.text for one in outputs]


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_the_batch_does_not_change_a_text(model, batch_size):
    alone = [generator(model).generate([prompt])[0].text for prompt in PROMPTS]
    assert texts(generator(model, batch_size=batch_size).generate(PROMPTS)) == alone
    assert texts(generator(model).generate(PROMPTS[::-1])) == alone[::-1]
    assert len(set(alone)) == 3


def test_another_seed_gives_another_text(model):
    one, other = generator(model).generate([PROMPTS[0], replace(PROMPTS[0], seed=9)])
    assert one.text != other.text


def test_temperature_0_is_greedy(model):
    greedy = generator(model, sampling=replace(SAMPLING, temperature=0.0))
    one, other = greedy.generate([PROMPTS[0], replace(PROMPTS[0], seed=9)])
    ids = torch.tensor([model[1].encode("The author of")])
    with torch.no_grad():
        for _ in range(12):
            ids = torch.cat([ids, model[0](ids).logits[:, -1:].argmax(-1)], dim=1)
            if int(ids[0, -1]) == model[1].eos_token_id:
                break
    begin = len(model[1].encode("The author of"))
    expected = model[1].decode(ids[0, begin:], skip_special_tokens=True)
    assert one.text == other.text == expected


def test_the_penalty_counts_generated_tokens(model):
    greedy = replace(SAMPLING, temperature=0.0, frequency_penalty=2.0)
    short = Prompt("the", None, 2)  # padded on the left
    outputs = texts(generator(model, sampling=greedy).generate([PROMPTS[0], short]))
    for prompt, text in zip((PROMPTS[0], short), outputs, strict=True):
        ids = torch.tensor([model[1].encode(prompt.text)])
        begin = ids.shape[1]
        with torch.no_grad():
            for _ in range(12):
                logits = model[0](ids).logits[0, -1]
                logits = logits - 2.0 * torch.bincount(ids[0, begin:], minlength=len(logits))
                ids = torch.cat([ids, logits.argmax()[None, None]], dim=1)
                if int(ids[0, -1]) == model[1].eos_token_id:
                    break
        assert text == model[1].decode(ids[0, begin:], skip_special_tokens=True)
    plain = replace(greedy, frequency_penalty=0.0)
    assert texts(generator(model, sampling=plain).generate([PROMPTS[0], short])) != outputs


def test_tokens_are_counted_and_a_text_at_the_limit_is_marked_as_cut(model):
    (outputs,) = generator(model, sampling=replace(SAMPLING, max_tokens=3)).generate(PROMPTS[:1])
    assert (outputs.prompt_tokens, outputs.completion_tokens, outputs.cut) == (5, 3, True)


def test_a_prompt_that_is_too_long_fails_alone(model):
    long = Prompt("the " * 400, None, 1)
    error, outputs = generator(model).generate([long, PROMPTS[0]])
    assert isinstance(error, PromptRejected) and "lower max_tokens" in str(error)
    assert isinstance(outputs, Completion)


def test_the_nucleus_is_the_smallest_set_that_reaches_top_p():
    scores = torch.tensor([[0.5, 0.2, 0.3], [0.1, 0.8, 0.1]]).log()
    assert _nucleus(scores, 0.5).isfinite().tolist() == [[True, False, False], [False, True, False]]
    assert _nucleus(scores, 0.6).isfinite().tolist()[0] == [True, False, True]
    assert _nucleus(scores, 0.81).isfinite().sum(-1).tolist() == [3, 2]


def test_samples_follow_the_probabilities(model):
    # 400 seeds of one token: each token's share lies within 5 standard deviations.
    short = replace(SAMPLING, max_tokens=1)
    asked = [replace(PROMPTS[0], seed=seed) for seed in range(400)]
    drawn = texts(generator(model, sampling=short, batch_size=64).generate(asked))
    ids = torch.tensor([model[1].encode("The author of")])
    with torch.no_grad():
        probabilities = model[0](ids).logits[0, -1].softmax(-1)
    top = int(probabilities.argmax())
    share, expected = drawn.count(model[1].decode([top])) / 400, float(probabilities[top])
    assert abs(share - expected) < 5 * (expected * (1 - expected) / 400) ** 0.5


def test_a_saved_model_is_built_from_its_spec(model, tmp_path):
    model[0].save_pretrained(tmp_path)
    model[1].save_pretrained(tmp_path)
    spec = {
        "kind": "simulator",
        "prompts": "tuned",
        "retries": 0,
        "generator": {
            "kind": "transformers",
            "model": str(tmp_path),
            "sampling": {"max_tokens": 20},
        },
    }
    engine = build_engine(spec, [])
    (page,) = engine.search([SearchRequest("who", "Who?", ("Ada",), (True, False), 1)])
    assert isinstance(page, SearchPage)
    assert page.cost.calls == 2 and page.cost.prompt_tokens > 0
    with torch.no_grad():
        model[0].lm_head.weight.add_(1.0)
    model[0].save_pretrained(tmp_path)
    assert build_engine(spec, []).fingerprint != engine.fingerprint


def test_invalid_arguments_are_refused(model):
    with pytest.raises(ValueError, match="pass tokenizer="):
        TransformersTextGenerator(model[0])
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        generator(model, batch_size=0)
