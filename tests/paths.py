"""Folders that tests read."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Real questions and passages, beside the checkout where they exist.
SHARED_DATA = ROOT / "../shared/data"
