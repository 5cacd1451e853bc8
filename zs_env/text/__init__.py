"""Text functions without dependencies: hashing, sanitizing, content words, suggestions."""
