"""Text generation by a policy in training."""

KINDS = ("transformers", "vllm", "vllm-server")
