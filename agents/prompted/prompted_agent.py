"""The agent that runs a method with a language model, and its construction from a JSON spec.

If a prompt is rejected (too long or refused), the agent answers "unknown" and its thought contains
the reason. If the model returns no text besides thinking, the episode ends as failed. If the model
fails for another reason, the run stops, because such failures say nothing about the method.
Finished episodes are kept, and the same command resumes the run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from agents.agent import AgentFailure
from agents.prompted.methods import METHODS, Ask, Instruct, Method, Step
from agents.prompted.turns import STOP_SEQUENCES, answer_turn
from zs_env.config import build_generator
from zs_env.simulator.generators.base import (
    Completion,
    NoResponse,
    Prompt,
    PromptRejected,
    TextGenerator,
    as_generator,
    generate_checked,
)
from zs_env.text.hashing import derive_seed
from zs_env.text.suggestions import check_names, keywords
from zs_env.text.thinking import has_response

EXAMPLE = '{"kind": "rag", "generator": {"kind": "server", "servers": "http://127.0.0.1:8000/v1"}}'
# Agents with equal generator specs share a generator while one of them holds it.
_generators: WeakValueDictionary[str, Any] = WeakValueDictionary()


class PromptedAgent:
    """Runs a method with the completions of a generator.

    Its actions depend only on the observation and on the `seed` of the sampling. `prompt` is the
    name of the environment's prompt. It is short, unless the method reads the environment's own.
    """

    def __init__(self, method: Method, generator: TextGenerator, *, seed: int = 0) -> None:
        self.method, self.seed = method, seed
        self.generator = as_generator(generator)
        self.prompt: str | None = getattr(method, "prompt", "bare")

    @property
    def fingerprint(self) -> str:
        """Changes with method, settings, prompts, model, sampling and seed.

        Raises:
            ConnectionError: see `served_models`.
        """
        models = self.served_models()
        parts = (repr(self.method), self.seed, self.generator.fingerprint, models, _source_digest())
        return blake2b("\0".join(map(str, parts)).encode(), digest_size=8).hexdigest()

    def served_models(self) -> list[str]:
        """Return the identities of the models of the generator's servers; [] without servers.

        Raises:
            ConnectionError: if there are servers, and none answers within 8 s.
        """
        return getattr(self.generator, "served_models", list)()

    def act(self, observation: Mapping[str, Any]) -> str:
        """Return the next turn's text."""
        (text,) = self.act_batch([observation])
        if isinstance(text, AgentFailure):
            raise text
        return text

    def act_batch(
        self, observations: Sequence[Mapping[str, Any]], infos: Sequence[Mapping[str, Any]] = ()
    ) -> list[str | AgentFailure]:
        """Return the next turn's text of each of several episodes, or an AgentFailure.

        Raises:
            ConnectionError: if the model fails, except for a rejected prompt.
        """
        steps: list[Step | AgentFailure] = [self.method.step(one) for one in observations]
        num_asked = 0
        while asks := [(index, step) for index, step in enumerate(steps) if isinstance(step, Ask)]:
            seeds = [f"{self.seed}\0{observations[i]['transcript']}\0{num_asked}" for i, _ in asks]
            prompts = [
                Prompt(ask.prompt, None, derive_seed(seed))
                for (_, ask), seed in zip(asks, seeds, strict=True)
            ]
            outputs = generate_checked(self.generator, prompts)
            for (index, ask), output in zip(asks, outputs, strict=True):
                if isinstance(output, Completion) and has_response(output.text):
                    steps[index] = ask.then(output.text)
                elif isinstance(output, Completion | NoResponse):
                    reason = str(output) if isinstance(output, NoResponse) else "only thinking"
                    steps[index] = AgentFailure(
                        f"the agent's language model gave no response: {reason}"
                    )
                elif isinstance(output, PromptRejected):
                    reason = f"The language model generated no text: {output}"
                    steps[index] = answer_turn(None, reason)
                else:
                    raise ConnectionError(
                        f"the language model generated no text: {output}; check that it runs, then "
                        "run the same command again to resume"
                    ) from output
            num_asked += 1
        return [step for step in steps if not isinstance(step, Ask)]


def build_prompted_agent(spec: Mapping[str, Any], *, seed: int = 0) -> PromptedAgent:
    """Build a prompted agent.

    Args:
        spec: `kind`, a key of `METHODS`; `generator`, a spec of `zs_env.config.GENERATOR_KINDS`,
            with temperature 0 unless `sampling` sets it; `seed` of the sampling, 0 by default; and
            the method's settings. Agents with equal generator specs share one generator, so that a
            model is loaded once.
        seed: added to the seed of the spec; differs between the repeats of a benchmark.

    Raises:
        ValueError: if a kind or a field is invalid; the message names the valid ones.
    """
    kind: Any = spec.get("kind")
    own_seed, generator = spec.get("seed", 0), spec.get("generator")
    check_names("agent kind", [kind], METHODS)
    settings = {name: spec[name] for name in spec if name not in ("kind", "seed", "generator")}
    known = ["seed", "generator", *keywords(METHODS[kind])]
    check_names(f"field of agent kind {kind!r}", settings, known)
    if not isinstance(own_seed, int) or isinstance(own_seed, bool):
        raise ValueError(f"the seed of an agent must be a whole number, got {own_seed!r}")
    if not isinstance(generator, Mapping):
        raise ValueError(
            f"agent kind {kind!r} needs 'generator', the spec of a language model, got "
            f"{generator!r}; an example: {EXAMPLE}"
        )
    method = METHODS[kind](**settings)
    if isinstance(method, Instruct) and generator.get("kind") == "server":
        stop = {"stop": list(STOP_SEQUENCES)}
        generator = {**generator, "extra": {**stop, **(generator.get("extra") or {})}}
    return PromptedAgent(method, _shared_generator(generator), seed=own_seed + seed)


def _shared_generator(spec: Mapping[str, Any]) -> Any:
    # Answers are compared between agents, so generation is greedy by default.
    sampling = spec.get("sampling") or {}
    if not isinstance(sampling, Mapping):
        raise ValueError(f"the sampling of a generator must be an object, got {sampling!r}")
    spec = {**spec, "sampling": {"temperature": 0.0, **sampling}}
    key = json.dumps(spec, sort_keys=True)
    generator = _generators.get(key)
    if generator is None:
        generator = _generators[key] = build_generator(spec)
    return generator


def _source_digest() -> str:
    """Return a digest of this package, whose source contains the prompts and the parsing."""
    paths = sorted(Path(__file__).parent.glob("*.py"))
    return blake2b(b"".join(path.read_bytes() for path in paths), digest_size=8).hexdigest()
