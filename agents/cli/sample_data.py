"""`zerosearch sample-data`: writes small data files of every accepted form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from agents.storage.output_folder import create_folder
from zs_env.world.sample_files import write_sample_files


@dataclass(frozen=True, kw_only=True)
class SampleDataConfig:
    """Write small files of questions and passages about the fictional world.

    There is a file of each form that questions and passages may have; docs/data.md describes them.

    Attributes:
        output: folder for the files. Files in it are not replaced by others.
    """

    output: Path = Path("data")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    config = tyro.cli(SampleDataConfig, prog="zerosearch sample-data", args=argv)
    create_folder(config.output)
    written = write_sample_files(config.output)
    for name, about in written.items():
        print(f"{config.output / name}: {about}")
    return 0
