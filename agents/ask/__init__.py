"""Inference: answers questions without known gold answers, one live or a file of them."""
