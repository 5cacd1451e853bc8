"""Inference: questions whose answers nobody knows, one while you watch or a file of them."""
