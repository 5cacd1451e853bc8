"""Memory and throughput of large runs on paper: `python -m benchmarks.scale.estimate`.

Nothing is measured. docs/scaling.md shows what this prints and says what is assumed.
"""

from __future__ import annotations

from dataclasses import dataclass

GB = 1e9


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A decoder's dimensions, as its config.json has them."""

    layers: int
    hidden: int
    mlp: int
    heads: int
    kv_heads: int
    vocabulary: int
    tied: bool
    head_dim: int = 128

    @property
    def layer_parameters(self) -> int:
        """Weights of a layer: attention (with biases on q, k, v), gated MLP, two norms."""
        width, kv_width = self.heads * self.head_dim, self.kv_heads * self.head_dim
        attention = self.hidden * (2 * width + 2 * kv_width) + width + 2 * kv_width
        return attention + 3 * self.hidden * self.mlp + 2 * self.hidden

    @property
    def embedding_parameters(self) -> int:
        """Weights of the embedding, and again of an output layer that is not tied to it."""
        return self.vocabulary * self.hidden

    @property
    def multiplied_parameters(self) -> int:
        """Weights that every token is multiplied with: layers and output layer."""
        return self.layers * self.layer_parameters + self.hidden + self.embedding_parameters

    @property
    def parameters(self) -> int:
        """All weights."""
        return self.multiplied_parameters + (0 if self.tied else self.embedding_parameters)

    @property
    def kv_bytes_per_token(self) -> int:
        """Keys and values in bf16."""
        return 2 * 2 * self.layers * self.kv_heads * self.head_dim

    def forward_flops(self, mean_context: float) -> float:
        """Floating-point operations of a token's forward pass: matrices, and causal attention."""
        attention = 4 * self.layers * self.heads * self.head_dim * mean_context
        return 2 * self.multiplied_parameters + attention


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A GPU: bytes per second, dense bf16 FLOP/s, and the shares of both that are reached."""

    flops: float = 989e12
    bandwidth: float = 3.35e12
    flops_share: float = 0.4
    bandwidth_share: float = 0.6


@dataclass(frozen=True, kw_only=True)
class Step:
    """What a step of training reads and writes; tokens per episode, pages per episode."""

    episodes: int = 320
    context: int = 4096
    written: int = 1000
    searches: int = 3
    page_tokens: int = 400
    page_prompt_tokens: int = 600


SHAPES = {
    "3B": Shape(
        layers=36, hidden=2048, mlp=11008, heads=16, kv_heads=2, vocabulary=151936, tied=True
    ),
    "7B": Shape(
        layers=28, hidden=3584, mlp=18944, heads=28, kv_heads=4, vocabulary=152064, tied=False
    ),
    "14B": Shape(
        layers=48, hidden=5120, mlp=13824, heads=40, kv_heads=8, vocabulary=152064, tied=False
    ),
}
# float32 master weight, gradient and Adam's two moments.
TRAINED_BYTES = 16
MICRO_BATCH_TOKENS = 16384
# Rows of the logits that exist at a time, in float32, and their gradient.
LOGIT_ROWS = 2048


def activation_bytes(shape: Shape) -> float:
    """A micro-batch with every layer checkpointed: the layers' inputs, one layer, some logits."""
    inputs = shape.layers * shape.hidden * 2
    width, kv_width = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    layer = 2 * (4 * shape.hidden + 2 * width + 2 * kv_width + 3 * shape.mlp)
    logits = 2 * 4 * LOGIT_ROWS * shape.vocabulary
    return MICRO_BATCH_TOKENS * (inputs + layer) + logits


def training_bytes(shape: Shape, gpus: int, *, critic: bool) -> dict[str, float]:
    """Bytes per GPU while weights are updated, fully sharded over `gpus`."""
    # A layer and the next one are gathered in bf16 while they are used, and the embedding.
    gathered = 2 * (2 * shape.layer_parameters + shape.embedding_parameters)
    return {
        "policy": TRAINED_BYTES * shape.parameters / gpus,
        "reference": 2 * shape.parameters / gpus,
        "critic": TRAINED_BYTES * shape.multiplied_parameters / gpus if critic else 0.0,
        "gathered": gathered,
        "activations": activation_bytes(shape),
    }


def decode_seconds(shape: Shape, rows: float, context: float, machine: Machine) -> float:
    """Seconds for one more token of each of `rows`: weights and caches are read once."""
    read = 2 * shape.parameters + rows * context * shape.kv_bytes_per_token
    compute = rows * shape.forward_flops(context) / (machine.flops * machine.flops_share)
    return max(read / (machine.bandwidth * machine.bandwidth_share), compute)


def generation_seconds(shape: Shape, gpus: int, step: Step, machine: Machine) -> float:
    """Seconds in which all episodes are written and all else is read; searches not counted."""
    rows, mean = step.episodes / gpus, step.context / 2
    read = rows * (step.context - step.written) * shape.forward_flops(mean)
    prefill = read / (machine.flops * machine.flops_share)
    return step.written * decode_seconds(shape, rows, mean, machine) + prefill


def update_seconds(shape: Shape, gpus: int, step: Step, machine: Machine) -> float:
    """Seconds of old logprobs, reference and update: 1 + 1 + (1 + 1 again + 2) forward passes."""
    tokens = step.episodes * step.context
    flops = 6 * tokens * shape.forward_flops(step.context / 2)
    return flops / (gpus * machine.flops * machine.flops_share)


def page_seconds(shape: Shape, gpus: int, step: Step, machine: Machine) -> float:
    """Seconds that a step's pages take: every episode waits for each of its pages in turn."""
    rows = step.episodes / gpus
    context = step.page_prompt_tokens + step.page_tokens / 2
    read = rows * step.page_prompt_tokens * shape.forward_flops(context / 2)
    prefill = read / (machine.flops * machine.flops_share)
    one = step.page_tokens * decode_seconds(shape, rows, context, machine) + prefill
    return step.searches * one


def _memory_rows() -> list[str]:
    rows = []
    for name, shape in SHAPES.items():
        for gpus in (8, 16, 32):
            parts = training_bytes(shape, gpus, critic=True)
            total = sum(parts.values())
            cells = [f"{value / GB:.1f}" for value in parts.values()]
            without = (total - parts["critic"]) / GB
            cells += [f"{without:.0f}", f"{total / GB:.0f}"]
            rows.append(f"| {name} | {gpus} | {' | '.join(cells)} |")
    return rows


def _serving_rows(step: Step) -> list[str]:
    rows = []
    for name, shape in SHAPES.items():
        episode = step.context * shape.kv_bytes_per_token
        # Nine tenths of 80 GB, less weights and 4 GB of the server's own.
        room = 0.9 * 80 * GB - 2 * shape.parameters - 4 * GB
        page = (step.page_prompt_tokens + step.page_tokens) * shape.kv_bytes_per_token
        rows.append(
            f"| {name} | {2 * shape.parameters / GB:.1f} | {shape.kv_bytes_per_token / 1e3:.0f} | "
            f"{episode / GB:.2f} | {room / episode:.0f} | {room / page:.0f} |"
        )
    return rows


def _time_rows(step: Step, machine: Machine) -> list[str]:
    rows = []
    for name, gpus, simulator, simulator_gpus in (
        ("3B", 8, "3B", 2),
        ("7B", 8, "14B", 4),
        ("7B", 16, "14B", 8),
        ("14B", 16, "14B", 4),
        ("14B", 32, "14B", 8),
    ):
        shape = SHAPES[name]
        write = generation_seconds(shape, gpus, step, machine)
        pages = page_seconds(SHAPES[simulator], simulator_gpus, step, machine)
        update = update_seconds(shape, gpus, step, machine)
        total = write + pages + update
        rate = step.episodes * step.context / total / (gpus + simulator_gpus)
        rows.append(
            f"| {name} on {gpus} | {simulator} on {simulator_gpus} | {write:.0f} | {pages:.0f} | "
            f"{update:.0f} | {total:.0f} | {rate:,.0f} | {200 * total / 3600:.1f} |"
        )
    return rows


def main() -> None:
    """Print the tables."""
    step, machine = Step(), Machine()
    print(
        "| size | GPUs | policy | reference | critic | gathered | activations | GRPO | PPO |\n"
        "|---|---|---|---|---|---|---|---|---|",
        *_memory_rows(),
        sep="\n",
    )
    print(
        "\n| size | weights | KV kB/token | KV GB/episode | episodes | pages |\n"
        "|---|---|---|---|---|---|",
        *_serving_rows(step),
        sep="\n",
    )
    print(
        "\n| policy | simulator | write | pages | update | step | tokens/s/GPU | 200 steps, h |\n"
        "|---|---|---|---|---|---|---|---|",
        *_time_rows(step, machine),
        sep="\n",
    )


if __name__ == "__main__":
    main()
