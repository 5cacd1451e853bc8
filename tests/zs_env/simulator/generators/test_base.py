"""The base class of text generators, and the adapter of plain objects."""

import pytest

from zs_env.simulator.generators.base import (
    Completion,
    GenerationError,
    Prompt,
    TextGenerator,
    as_generator,
    generate_checked,
)

PROMPTS = [Prompt("one", None, 1), Prompt("two", None, 2)]


class Echo:
    """A plain object with a method `generate`."""

    def generate(self, prompts):
        return [Completion(prompt.text) for prompt in prompts]


def test_a_subclass_needs_only_generate():
    class Subclass(Echo, TextGenerator):
        pass

    generator = Subclass()
    assert as_generator(generator) is generator
    assert not generator.in_process and generator.deadline_s is None
    assert generator.fingerprint is None and not generator.thread_safe
    streamed = {}
    generator.generate_stream(PROMPTS, streamed.__setitem__)
    assert {index: one.text for index, one in streamed.items()} == {0: "one", 1: "two"}
    generator.close()


def test_a_plain_object_is_adapted_with_its_attributes():
    class Plain(Echo):
        fingerprint, in_process, deadline_s, closed = "plain", True, 3.0, False

        def generate_stream(self, prompts, callback):
            callback(0, Completion("streamed"))

        def close(self):
            self.closed = True

    plain = Plain()
    generator = as_generator(plain)
    assert (generator.fingerprint, generator.in_process, generator.deadline_s) == ("plain", True, 3)
    assert generator.generate(PROMPTS) == plain.generate(PROMPTS)
    streamed = {}
    generator.generate_stream(PROMPTS, streamed.__setitem__)
    assert streamed[0].text == "streamed"
    generator.close()
    assert plain.closed
    assert as_generator(Echo()).fingerprint is None


def test_an_object_without_generate_is_refused():
    with pytest.raises(TypeError, match=r"a method generate\(prompts\)"):
        as_generator(object())


def test_a_generator_must_return_one_output_per_prompt():
    class Short(TextGenerator):
        def generate(self, prompts):
            return [Completion("one")]

    with pytest.raises(GenerationError, match="1 texts for 2 prompts"):
        generate_checked(Short(), PROMPTS)
    with pytest.raises(GenerationError, match="1 texts for 2 prompts"):
        Short().generate_stream(PROMPTS, lambda index, output: None)
