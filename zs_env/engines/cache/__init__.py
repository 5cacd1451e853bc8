"""A cache around any engine, in memory and in a SQLite file."""
