"""docs/results.md: that it is up to date, and that its tables say what is stored."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner


@pytest.fixture
def report(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("report")


def test_the_document_is_up_to_date(report: ModuleType) -> None:
    done = CliRunner().invoke(report.main, ["--check"])
    assert done.exit_code == 0, done.output


def test_a_document_that_is_not_up_to_date_is_refused_and_written_anew(
    report: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    document = tmp_path / "docs" / "results.md"
    monkeypatch.setattr(report, "DOCUMENT", document)
    for _ in range(2):  # missing, then changed
        done = CliRunner().invoke(report.main, ["--check"])
        assert done.exit_code == 1
        assert "out of date" in done.output
        document.parent.mkdir(exist_ok=True)
        document.write_text("# Results\n", encoding="utf-8")
    assert CliRunner().invoke(report.main, []).exit_code == 0
    assert CliRunner().invoke(report.main, ["--check"]).exit_code == 0


def test_every_final_run_has_its_row_and_no_leg_has_one(report: ModuleType) -> None:
    stored = report.read(report.RUNS)
    assert set(stored) == set(report.RECIPES)
    rows = [line for domain in ("image", "audio", "music") for line in report.runs(domain).splitlines()[2:]]
    names = [row.split("`")[1] for row in rows]
    assert sorted(names) == sorted(name for name, recipe in report.RECIPES.items() if not recipe.is_leg)
    assert not any("to be reached" in row for row in rows)


def test_a_run_shows_its_legs_their_minutes_and_what_it_was_measured_on(report: ModuleType) -> None:
    (row,) = [line for line in report.runs("music").splitlines() if line.startswith("| `melody-2bar` |")]
    name, after, minutes, updates, _, place, scores = [cell.strip() for cell in row.strip("|").split("|")]
    assert name == "`melody-2bar`"
    legs = {"start": 40, "common": 50, "any": 80, "codes": 18}
    assert after == ", ".join(f"`melody-2bar-{leg}` ({length} min)" for leg, length in legs.items())
    assert minutes == "200"
    assert updates == "not recorded"
    stored = report.read(report.RUNS)["melody-2bar"]
    assert "openewld" in place and str(stored["examples"]) in place
    assert f"kl_bits {stored['kl_bits']:.4g}" in scores


def test_recorded_minutes_and_updates_are_shown_where_there_are_some(
    report: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = report.read(report.RUNS)
    stored["melody-2bar"] |= {"minutes_in_all": 71.2, "updates_in_all": 33_000}
    monkeypatch.setattr(report, "read", lambda name: stored)
    (row,) = [line for line in report.runs("music").splitlines() if line.startswith("| `melody-2bar` |")]
    assert [cell.strip() for cell in row.split("|")][3:5] == ["71", "33000"]


def test_what_linear_codes_reach_is_stored_in_one_place(report: ModuleType) -> None:
    pca = report.read("image-pca")
    assert pca["2"]["knn_accuracy"] == pytest.approx(0.4157, abs=1e-4)
    assert not [key for row in report.read(report.RUNS).values() for key in row if key.startswith("pca_")]
    assert report.codes_of_digits().count("0.416") == 1


def test_a_table_is_markdown(report: ModuleType) -> None:
    assert report.table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"
