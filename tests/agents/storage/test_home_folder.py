"""`~` in flags, in TOML files, and in the arguments of functions that read or write folders."""

from pathlib import Path

import pytest

from agents.agent_registry import build_agent, check_agent_name
from agents.baselines import SearchOnce
from agents.cli.main import main
from agents.evaluation.evaluate import evaluate
from agents.evaluation.evaluation_folder import EvaluationFolder
from agents.evaluation.report.html import write_report
from agents.storage.config_file import read_toml

pytestmark = pytest.mark.usefixtures("home")

PLAY = ["--questions=~/q.jsonl", "--engine=~/p.jsonl", "--episodes", "1"]


def _run(*words):
    assert main(words) == 0


def test_flags_of_commands(home):
    _run("evaluate", "--agent", "search-once", *PLAY, "--output=~/runs/evaluation")
    _run("report", "~/runs/evaluation", "--output=~/page.html")
    noise = ["--engine=none", "--noise", "0", "1", "--output=~/sweep"]
    _run("sweep-noise", "--agents", "search-once", *PLAY[::2], "1", *noise)
    _run("index", "--passages=~/p.jsonl", "--output=~/index")
    _run("verl-rows", "--questions=~/q.jsonl", "--output=~/rows.jsonl")
    names = {path.name for path in home.iterdir()}
    assert names >= {"runs", "page.html", "sweep", "index", "rows.jsonl"}


def test_files_of_asked_questions(home):
    (home / "asked.txt").write_text("What is the capital?\n")
    asked = ["--file=~/asked.txt", "--policy", "search-once", "--engine=~/p.jsonl"]
    _run("ask", *asked)
    assert (home / "asked.txt.replies.jsonl").exists()


def test_settings_of_toml_files(home):
    from agents.cli.training.train import parse_arguments

    (home / "run.toml").write_text('output = "~/runs/first"\n')
    assert read_toml(Path("~/run.toml")) == {"output": "~/runs/first"}
    config = parse_arguments(["--config=~/run.toml"])
    assert config.run.output == home / "runs/first"
    assert parse_arguments(["--output=~/other"]).run.output == home / "other"


def test_settings_of_other_commands(home):
    from agents.llm.sft.config import WarmStartConfig
    from agents.sb3.train_config import TrainSB3Config
    from agents.simulator_tuning.tune_config import TuneConfig
    from agents.studies.benchmark.config import BenchmarkConfig

    output = Path("~/out")
    assert WarmStartConfig.of(output=output).run.output == home / "out"
    assert TrainSB3Config(output=output).output == home / "out"
    tune = TuneConfig(output=output, exclude=(Path("~/a"), Path("b")), model="~/model")
    assert tune.output == home / "out" and tune.exclude == (home / "a", Path("b"))
    assert tune.base_model() == str(home / "model")
    (home / "s").touch()
    benchmark = BenchmarkConfig(agents=("random",), engine="none", sample=Path("~/s"))
    assert benchmark.sample == home / "s"


def test_arguments_of_functions(home):
    report = evaluate(SearchOnce(), "ZeroSearch-v0", episodes=1, output="~/evaluation")
    assert report.folder == str(home / "evaluation")
    assert len(EvaluationFolder.read("~/evaluation").results) == 1
    write_report(["~/evaluation"], "~/page.html")
    assert (home / "page.html").exists()


def test_folders_of_agents(home):
    check_agent_name("~/policy")
    with pytest.raises(ValueError, match=rf"no folder '{home}/policy'"):
        build_agent("~/policy")
    with pytest.raises(ValueError, match="no GGUF file"):
        build_agent("~/policy.gguf")
