"""Sessions of a real OpenEnv server are the episodes of the Gymnasium environment.

Needs OpenEnv: `test_openenv.py` runs this file in an environment that has it.
"""

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from envs_registry.openenv import ZeroSearchAction, ZeroSearchClient, create_app
from envs_registry.shared_environment import SharedEnvironment
from tests.envs_registry.broken_judge import REWARD
from tests.envs_registry.documented import SERVER, commands
from tests.envs_registry.openenv_server import COMMAND, serve
from tests.paths import ROOT

SPEC = {
    "id": "ZeroSearch-v0",
    "max_turns": 3,
    "noise": {"start": 0.0, "end": 1.0, "total_steps": 10},
}
# No server listens on this port.
BROKEN = {"kind": "http", "url": "http://127.0.0.1:9/retrieve", "max_tries": 1, "timeout_s": 5.0}
TEXTS = ("<search>the rival</search>", "I know nothing.", "<answer>Oslo</answer>")


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    log = tmp_path_factory.mktemp("server") / "log"
    with serve(Path(sys.executable), log, SPEC) as address:
        yield address


def _play(url, barrier=None, texts=TEXTS, **options):
    """Messages, rewards and ends of an episode, and the metadata of its last step."""
    with ZeroSearchClient(base_url=url).sync() as client:
        results = [client.reset(**options)]
        for text in texts:
            if barrier is not None:
                barrier.wait(60)
            results.append(client.step(ZeroSearchAction(text=text)))
        assert client.state().step_count == len(texts)
    steps = [(it.observation.message, it.reward, it.done) for it in results]
    return steps, results[-1].observation


def _expected(texts=TEXTS, seed=None, **options):
    env = SharedEnvironment(SPEC).make()
    observation, _ = env.reset(seed=seed, options=options)
    steps = [(observation["message"], None, False)]
    for text in texts:
        observation, reward, terminated, truncated, info = env.step(text)
        steps.append((observation["message"], reward, terminated or truncated))
    return steps, info


def test_an_episode_is_that_of_the_environment(url):
    options = {"seed": 3, "question_index": 5, "noise_probability": 0.5}
    steps, last = _play(url, **options)
    expected, info = _expected(**options)
    assert steps == expected
    assert last.metadata["scores"] == info["scores"]
    assert last.metadata["question_id"] == info["question_id"]
    assert not last.truncated
    assert last.failure is None


def test_the_right_answer_has_the_reward_1(url):
    env = SharedEnvironment(SPEC).make()
    env.reset(options={"question_index": 5})
    answer = env.transcript().question.answers[0]
    steps, _ = _play(url, texts=[f"<answer>{answer}</answer>"], question_index=5)
    assert steps[-1] == ("", 1.0, True)


def test_two_clients_play_side_by_side(url):
    # Each waits before every step for the other, so both sessions are open at the same time.
    barrier = Barrier(2)
    options = [{"seed": seed, "question_index": 10 + seed} for seed in (1, 2)]
    with ThreadPoolExecutor(2) as threads:
        played = [*threads.map(lambda it: _play(url, barrier, **it), options)]
    assert [steps for steps, _ in played] == [_expected(**it)[0] for it in options]


def test_the_turn_limit_truncates(url):
    steps, last = _play(url, texts=["I know nothing."] * 3)
    assert [done for *_, done in steps] == [False, False, False, True]
    assert last.truncated
    assert last.reward == 0.0
    assert last.failure is None


@pytest.mark.parametrize(("step", "noise"), [(0, 0.0), (10, 1.0)])
def test_the_training_step_sets_the_noise(url, step, noise):
    _, last = _play(url, training_step=step)
    assert last.metadata["noise_probability"] == noise


def test_episodes_of_a_group_seed_get_the_same_pages(url):
    options = {"question_index": 5, "noise_probability": 0.5, "group_seed": 8}
    pages = [_play(url, seed=seed, **options)[0][1] for seed in (1, 2)]
    assert pages[0] == pages[1]


def test_an_unknown_option_is_an_error(url):
    with pytest.raises(RuntimeError, match="unknown reset option 'trainingstep'"):
        _play(url, trainingstep=3)


def test_a_failed_episode_has_no_reward(tmp_path):
    spec = {"id": "ZeroSearch-v0", "engine": BROKEN, "noise": 0.0}
    with serve(Path(sys.executable), tmp_path / "log", spec) as url:
        steps, last = _play(url, texts=["<search>a</search>"])
    assert steps[-1][1:] == (None, True)
    assert last.truncated
    assert last.failure is not None
    assert last.metadata["error"] == last.failure


@pytest.mark.parametrize("page", ["docs/frameworks.md", "examples/openenv/README.md"])
def test_the_documented_client_plays(url, page, capsys):
    text = (ROOT / page).read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(from envs_registry.openenv.*?)```", text, re.S)
    exec(code.replace(SERVER, url), {})
    assert capsys.readouterr().out.endswith((" 0.0 False\n", " 0.0 True\n"))


def test_a_failed_judge_is_named(tmp_path):
    spec = {"id": "ZeroSearch-v0", "reward": REWARD}
    with serve(Path(sys.executable), tmp_path / "log", spec) as url:
        steps, last = _play(url, texts=["<answer>nobody</answer>"])
    assert steps[-1][1:] == (None, True)
    assert last.failure.startswith("judge: ") and "no such model" in last.failure


def test_the_servers_of_these_tests_are_started_as_documented():
    assert commands("OpenEnv") == [COMMAND, COMMAND]


def test_a_wrong_environment_is_an_error():
    with pytest.raises(ValueError, match="expected an 'id'"):
        create_app({"max_turns": 2})


@pytest.mark.parametrize("target", ["package", "server"])
def test_openenv_validates(url, target):
    command = [Path(sys.executable).with_name("openenv"), "validate"]
    if target == "package":
        command += [ROOT / "examples" / "openenv", "--level", "static", "--skip-build"]
    else:
        command += ["--url", url, "--timeout", "60"]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "Verdict: PASS" in finished.stdout
