"""README's tables out of the benches' results. Run: make readme-tables.

`python tests/bench/tables.py` says which tables differ, exit code 1; `--write` renews them. What is
shown stands in `readme_tables` and `readme_grids`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

sys.path.insert(0, str(Path(__file__).parent))
from readme_grids import GRIDS, Cell, Grid
from readme_tables import TABLES, Row, Table

REPO = Path(__file__).resolve().parents[2]
README = REPO / "README.md"
RESULTS = Path(__file__).parent / "results"
BLOCK = re.compile(r"<!-- bench:(\w+) -->\n.*?<!-- /bench:\1 -->", re.DOTALL)
MARK = re.compile(r"<!-- /?bench:\w+ -->")
SPREAD = ("min", "median", "max")
Found = tuple[dict[str, Any], list[Any]]  # fields for the words, what each `*` stood for


class TableError(Exception):
    """A table cannot be made; the message names it and the next step."""


def rewrite(
    readme: str,
    *,
    results: Path = RESULTS,
    tables: tuple[Table | Grid, ...] = (*TABLES, *GRIDS),
) -> str:
    """README with every table renewed.

    Raises:
        TableError: markers without a table, a table without markers, or a figure that is missing.
    """
    known = {table.name: table for table in tables}
    seen = [match[1] for match in BLOCK.finditer(readme)]
    if len(MARK.findall(readme)) != 2 * len(seen) or sorted(seen) != sorted(known):
        raise TableError(
            f"README has the blocks {sorted(seen)}, readme_tables has {sorted(known)}; "
            "give each table one pair of markers"
        )
    return BLOCK.sub(lambda match: block(known[match[1]], results), readme)


def block(table: Table | Grid, results: Path) -> str:
    """Markers and what stands between them."""
    source = table.source if isinstance(table, Grid) else ""
    path = results / f"{source or table.name}.json"
    if not path.is_file():
        raise TableError(f"{path} is missing; run {table.run}")
    data = orjson.loads(path.read_bytes())
    lines = [
        f"<!-- bench:{table.name} -->",
        f"`{table.run}`, {told_of(data, path)}; {table.spread}",
        "",
        *(
            grid_lines(table, data, path)
            if isinstance(table, Grid)
            else (
                "| figure | target | measured |",
                "|---|---|---|",
                *(line for row in table.rows for line in row_lines(row, data, path)),
            )
        ),
        f"<!-- /bench:{table.name} -->",
    ]
    return "\n".join(lines)


def grid_lines(grid: Grid, data: Any, path: Path) -> Iterator[str]:
    """Head and one line an item."""
    yield "| " + " | ".join(cell.head for cell in grid.cells) + " |"
    yield "|---|" + "---:|" * (len(grid.cells) - 1)
    for item in at(data, grid.items, [], path):
        yield "| " + " | ".join(formed(cell, item, path) for cell in grid.cells) + " |"


def formed(cell: Cell, item: Any, path: Path) -> str:
    """What an item shows in this column."""
    value = at(item, cell.figure, [], path)
    if value is None:
        return "-"
    return value.replace("|", "\\|") if isinstance(value, str) else format(value, cell.shape)


def told_of(data: dict[str, Any], path: Path) -> str:
    """Machine class and seed, which every result has to tell."""
    if "machine" not in data or not {"seed", "seeds"} & set(data):
        raise TableError(f"{path.name} tells no machine or no seed; let its bench write both")
    seeds = data.get("seeds")
    if seeds:
        return f"{data['machine']}, seeds {seeds[0]} to {seeds[-1]}"
    if data.get("seed") is None:
        return f"{data['machine']}, nothing is drawn"
    return f"{data['machine']}, seed {data['seed']}"


def row_lines(row: Row, data: Any, path: Path) -> list[str]:
    """The row, or one for each match of `*`."""
    figures = row.figure.split()
    conditions = [condition.split("=", 1) for condition in row.where]
    lines = []
    for fields, stars in matches(data, figures[0].split("/"), path):
        target = at(data, row.target, stars, path) if row.target else None
        if (target is None and row.targets_only) or any(fields.get(k) != v for k, v in conditions):
            continue
        wanted = "" if target is None else f"{row.bound} {shown(target, row.null)}".strip()
        measured = " / ".join(shown(at(data, f, stars, path), row.null) for f in figures)
        cells = (row.words.format(**fields), wanted, measured)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    if not lines:
        raise TableError(f"{path.name}: {row.figure} matches nothing; mend the row or the bench")
    return lines


def matches(data: Any, keys: list[str], path: Path) -> Iterator[Found]:
    """What the stars of a path may stand for."""
    if "*" not in keys:
        yield {}, []
        return
    star = keys.index("*")
    inside = at(data, "/".join(keys[:star]), [], path)
    pairs = inside.items() if isinstance(inside, dict) else enumerate(inside)
    for key, item in pairs:
        own = {"key": key} if isinstance(key, str) else {}
        if isinstance(item, dict):
            own |= item
        for fields, stars in matches(item, keys[star + 1 :], path):
            yield own | fields, [key, *stars]


def at(data: Any, where: str, stars: list[Any], path: Path) -> Any:
    """The value at a path; its stars are what they are given for."""
    left = iter(stars)
    for key in filter(None, where.split("/")):
        step = next(left, None) if key == "*" else key
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            raise TableError(
                f"{path.name} has no {where!r} (stopped at {step!r}); mend the row in "
                "readme_tables.py or run the bench again"
            ) from None
    return data


def shown(value: Any, null: str) -> str:
    """A figure as a table shows it: three digits, or whole from a thousand on; like ones once."""
    if isinstance(value, dict):
        missing = [name for name in SPREAD if name not in value]
        if missing:
            raise TableError(f"a spread without {missing}: {value}; let the bench write all three")
        three = [shown(value[name], null) for name in SPREAD]
        return " / ".join(three) if len(set(three)) > 1 else three[0]
    if value is None:
        return null
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--write"]):
        print("usage: python tests/bench/tables.py [--write]", file=sys.stderr)
        return 2
    try:
        before = README.read_text(encoding="utf-8")
        after = rewrite(before)
    except TableError as error:
        print(error, file=sys.stderr)
        return 2
    old, new = ({m[1]: m[0] for m in BLOCK.finditer(text)} for text in (before, after))
    changed = [name for name in new if new[name] != old[name]]
    if arguments:
        README.write_text(after, encoding="utf-8")
        print(f"README: {len(changed)} of {len(new)} tables changed {changed}")
        return 0
    for name in changed:
        print(f"README: the table {name!r} differs from its results; run make readme-tables")
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
