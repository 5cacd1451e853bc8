"""Replication of the paper's claims on the embedded world, at a reduced budget."""
