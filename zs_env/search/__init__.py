"""The contract between episodes and search engines: types, base classes, client, retries."""
