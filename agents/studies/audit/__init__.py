"""Audits of question files: answerable from a passage file, suspicious, repeated, overlapping."""
