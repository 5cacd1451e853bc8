"""CSV files of figures."""

from dataclasses import asdict

from agents.evaluation.statistics import Interval
from agents.studies.tables import write_csv


def test_an_interval_becomes_three_columns(tmp_path):
    path = tmp_path / "figures.csv"
    rows = [{"agent": "a, b", "f1": asdict(Interval(0.5, 0.25, 0.75)), "n": 3}]
    write_csv(path, rows)
    assert path.read_text().splitlines() == ["agent,f1,f1_low,f1_high,n", '"a, b",0.5,0.25,0.75,3']


def test_without_rows_the_file_is_deleted(tmp_path):
    path = tmp_path / "figures.csv"
    write_csv(path, [{"n": 1}])
    write_csv(path, [])
    write_csv(path, [])
    assert not any(tmp_path.iterdir())
