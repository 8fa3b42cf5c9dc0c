"""README shows what the benches' results hold, and a bench that fails stops no other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import orjson
import pytest

sys.path.insert(0, str(Path(__file__).parent / "bench"))  # scripts, not a package
import run_all
import tables
from readme_grids import GRIDS, Cell, Grid
from readme_tables import TABLES, Row, Table

BENCH = Path(__file__).parent / "bench"
RESULT = {
    "machine": "2 cores",
    "seed": 7,
    "limit": 10,
    "speed": {"min": 1234.5, "median": 2000, "max": 2500.2},
    "still": {"min": None, "median": None, "max": None},
    "by_name": {"a": {"ms": 0.012345, "limit": 3}, "b|c": {"ms": 4, "limit": None}},
    "runs": [{"load": 0.5, "s": 7.25}, {"load": 0.9, "s": None}],
    "sorted": [
        {"kind": "a", "at": "x=1", "n": 1},
        {"kind": "b", "at": "x=1", "n": 2},
        {"kind": "b", "at": "y", "n": 3},
    ],
}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    (tmp_path / "toy.json").write_bytes(orjson.dumps(RESULT))
    return tmp_path


def rows_of(results: Path, *rows: Row) -> list[str]:
    text = tables.block(Table(name="toy", rows=rows), results)
    return text.splitlines()[5:-1]


def test_readme_and_results_agree() -> None:
    readme = tables.README.read_text(encoding="utf-8")
    assert tables.rewrite(readme) == readme, "run make readme-tables"


@pytest.mark.parametrize("path", sorted(tables.RESULTS.glob("*.json")), ids=lambda p: p.stem)
def test_every_result_tells_machine_and_seed_and_has_its_bench(path: Path) -> None:
    assert tables.told_of(orjson.loads(path.read_bytes()), path)
    assert has_bench(path.stem)


def test_every_table_has_a_bench_and_a_name_of_its_own() -> None:
    names = [table.name for table in (*TABLES, *GRIDS)]
    assert len(set(names)) == len(names)
    assert all(has_bench(table.name) for table in TABLES)
    assert all(has_bench(grid.source or grid.name) for grid in GRIDS)


def has_bench(name: str) -> bool:
    """A script of its own or that writes it, or a folder with an environment of its own."""
    folder, _, script = name.partition("_")
    own = BENCH / folder / f"{script or 'run'}.py"
    written = any(f'"{name}.json"' in path.read_text("utf-8") for path in BENCH.glob("*.py"))
    return (BENCH / f"bench_{name}.py").is_file() or own.is_file() or written


def test_a_bench_that_draws_nothing_says_so() -> None:
    assert tables.told_of({"machine": "m", "seed": None}, Path("x")) == "m, nothing is drawn"
    with pytest.raises(tables.TableError, match="let its bench write both"):
        tables.told_of({"machine": "m"}, Path("x"))


def test_figures_are_shown_with_three_digits_or_whole(results: Path) -> None:
    assert rows_of(
        results,
        Row(words="speed", figure="speed", target="limit", bound="at least"),
        Row(words="never", figure="still", null="never"),
        Row(words="both", figure="limit seed"),
    ) == [
        "| speed | at least 10 | 1,234 / 2,000 / 2,500 |",
        "| never |  | never |",
        "| both |  | 10 / 7 |",
    ]


def test_a_star_makes_a_row_for_each_match(results: Path) -> None:
    named = Row(words="{key}", figure="by_name/*/ms", target="by_name/*/limit", bound="at most")
    assert rows_of(results, named) == ["| a | at most 3 | 0.0123 |", "| b\\|c |  | 4 |"]
    only = Row(words="{key}", figure="by_name/*/ms", target="by_name/*/limit", targets_only=True)
    assert rows_of(results, only) == ["| a | 3 | 0.0123 |"]
    listed = Row(words="load {load}", figure="runs/*/s")
    assert rows_of(results, listed) == ["| load 0.5 |  | 7.25 |", "| load 0.9 |  | - |"]


def test_of_several_conditions_a_match_meets_all(results: Path) -> None:
    chosen = Row(words="{kind}", figure="sorted/*/n", where=("kind=b", "at=x=1"))
    assert rows_of(results, chosen) == ["| b |  | 2 |"]
    with pytest.raises(tables.TableError, match="matches nothing"):
        rows_of(results, Row(words="{kind}", figure="sorted/*/n", where=("kind=a", "at=y")))


@pytest.mark.parametrize("path", ["speeed", "by_name/*/s", "runs/5", "speed/min/x"])
def test_a_figure_that_no_result_has_is_named(results: Path, path: str) -> None:
    with pytest.raises(tables.TableError, match=r"toy.json has no .*stopped at"):
        rows_of(results, Row(words="x", figure=path))


def test_markers_and_tables_must_belong_together(results: Path) -> None:
    toy = Table(name="toy", rows=(Row(words="x", figure="limit"),))
    whole = "a\n<!-- bench:toy -->\nold\n<!-- /bench:toy -->\nz"
    made = tables.rewrite(whole, results=results, tables=(toy,))
    assert made.startswith("a\n<!-- bench:toy -->\n`python tests/bench/bench_toy.py`, 2 cores, ")
    assert "| x |  | 10 |\n<!-- /bench:toy -->\nz" in made
    assert tables.rewrite(made, results=results, tables=(toy,)) == made
    for broken in ("a", whole + whole, whole + "<!-- bench:toy -->", whole.replace("toy", "tay")):
        with pytest.raises(tables.TableError, match="one pair of markers"):
            tables.rewrite(broken, results=results, tables=(toy,))


def test_a_grid_has_a_line_for_each_item_and_a_column_for_each_figure(results: Path) -> None:
    cells = (
        Cell(head="kind", figure="kind"),
        Cell(head="at", figure="at"),
        Cell(head="n", figure="n", shape="+.1f"),
    )
    grid = Grid(name="g", source="toy", spread="s", command="make g", items="sorted", cells=cells)
    assert tables.block(grid, results).splitlines()[1:] == [
        "`make g`, 2 cores, seed 7; s",
        "",
        "| kind | at | n |",
        "|---|---:|---:|",
        "| a | x=1 | +1.0 |",
        "| b | x=1 | +2.0 |",
        "| b | y | +3.0 |",
        "<!-- /bench:g -->",
    ]
    empty = Grid(
        name="toy", spread="", command="c", items="runs", cells=(Cell(head="", figure="s"),)
    )
    assert tables.block(empty, results).splitlines()[-2] == "| - |"
    with pytest.raises(tables.TableError, match="has no 'm'"):
        wrong = Grid(name="toy", spread="", command="", items="runs",
                     cells=(Cell(head="", figure="m"),))  # fmt: skip
        tables.block(wrong, results)


def test_a_bench_that_fails_stops_no_other(tmp_path: Path, capfd) -> None:
    codes = {"a": 0, "b": 3, "c": run_all.LEFT_OUT, "d": 0}
    for name, code in codes.items():
        (tmp_path / f"bench_{name}.py").write_text(f"print('ran {name}')\nraise SystemExit({code})")
    assert run_all.run(run_all.find([], tmp_path)) == 1
    said = capfd.readouterr().out
    assert [line for line in said.splitlines() if line.startswith("ran")] == [
        "ran a", "ran b", "ran c", "ran d",
    ]  # fmt: skip
    assert "[2/4] bench_b: FAILED with code 3, " in said  # seconds depend on the machine's load
    assert "[3/4] bench_c: left out" in said
    assert said.endswith("1 of 4 failed: bench_b\n")
    assert run_all.run(run_all.find(["a", "c"], tmp_path)) == 0
    with pytest.raises(SystemExit, match="no bench 'x'; take some of a, b, c, d"):
        run_all.find(["x"], tmp_path)


def test_the_command_refuses_other_words() -> None:
    done = subprocess.run(
        [sys.executable, str(BENCH / "tables.py"), "--force"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "usage" in done.stderr
