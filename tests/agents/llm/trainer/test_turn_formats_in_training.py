"""A warm start, a training run and an evaluation keep the turn format of the policy."""

import json

import pytest

from agents.cli.main import main
from agents.llm.policy.policy import load_policy
from agents.llm.trainer.metrics import read_metrics
from tests.agents.llm.policy.chat_templates import make_chat_policy
from zs_env.transcripts.storage import load_transcripts


@pytest.mark.parametrize(
    ("name", "turn_format", "prompt"), [("SmolLM 2", "chat", "bare"), ("Llama 3", "tools", "tools")]
)
def test_the_turn_format_is_saved_and_adopted(
    name, turn_format, prompt, tmp_path, torch_settings, capsys
):
    model, warm, run = (str(tmp_path / one) for one in ("model", "warm", "run"))
    make_chat_policy(name, "inline").save(model)
    rules = ["--max-turns", "2", "--num-documents", "1", "--max-document-chars", "100"]
    rules += ["--threads", "1"]
    chosen = ["--turn-format", turn_format, "--prompt", prompt, "--max-noise", "0"]
    sizes = ["--episodes", "3", "--held-out", "1", "--steps", "1", "--max-new-tokens", "300"]
    assert not main(["warm-start", "--policy", model, "--output", warm, *rules, *chosen, *sizes])
    policy = load_policy(warm)
    assert (policy.turn_format, policy.prompt) == (turn_format, prompt)
    shown = load_transcripts(tmp_path / "warm/demonstrations.jsonl")
    assert any("<search>" in transcript.text for transcript in shown)
    sizes = ["--steps", "1", "--questions-per-step", "1", "--group-size", "2"]
    sizes += ["--max-new-tokens", "8", "--eval-episodes", "1", "--final-episodes", "1"]
    others = ["--eval-noise", "0", "--no-tensorboard", "--real-engine", "world"]
    assert not main(["train", "--policy", warm, "--output", run, *rules, *sizes, *others])
    trained = load_policy(run)
    assert (trained.turn_format, trained.prompt) == (turn_format, prompt)
    rows = read_metrics(tmp_path / "run", "train")
    assert [row["token_mismatch"] for row in rows] == [0.0]
    folder = str(tmp_path / "evaluation")
    capsys.readouterr()
    assert not main(["evaluate", "--agent", run, "--episodes", "2", "--json", "--output", folder])
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    # The turn format is no argument of the environment.
    assert report["env_kwargs"]["prompt"] == prompt and "turn_format" not in report["env_kwargs"]


def test_a_prompt_that_asks_for_search_tags_is_refused_with_tools(tmp_path, capsys, torch_settings):
    make_chat_policy("Qwen 3", "tools").save(tmp_path / "model")
    flags = ["--policy", str(tmp_path / "model"), "--prompt", "instruct"]
    assert main(["train", *flags, "--output", str(tmp_path / "run")]) == 2
    assert "choose --prompt tools" in capsys.readouterr().err


def test_a_prompt_that_asks_for_an_answer_by_a_tool_call_is_refused(tmp_path, capsys):
    flags = ["--policy", "tiny", "--prompt", "tool_calls", "--output", str(tmp_path / "run")]
    assert main(["train", *flags]) == 2
    assert "choose --prompt tools" in capsys.readouterr().err
