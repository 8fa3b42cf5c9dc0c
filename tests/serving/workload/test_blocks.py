"""Reading blocks gives what reading rows gives, value for value, and is what really runs."""

from __future__ import annotations

import itertools
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
import pytest

from serving.workload.formats import lines, registry
from serving.workload.formats.cells import Cells
from serving.workload.formats.numerals import Text, Unsure
from serving.workload.formats.rows import BadRow
from serving.workload.samples import SAMPLES, write_sample

UNUSUAL = (  # (kind, what to replace in every fiftieth row, by what)
    ("azure", "+00:00", "Z"),
    ("azure", " ", "T"),
    ("burstgpt", ",ChatGPT", ".25e0,Ünknown"),
    ("burstgpt-3", ",ChatGPT", ",GPT-4"),
    ("mooncake", '"timestamp": ', '"timestamp":'),
    ("mooncake", ", ", ","),
    ("bailian", '"output_length": ', '"output_length":  '),
    ("bailian", '"type": "text"', '"type": "\\u0066ile"'),
    ("requests", "sample,", "sample,0"),
    ("servegen", ",Gamma,", "e0,Gamma,"),
    ("servegen-client", ",Gamma,", "e0,Gamma,"),
    ("servegen-tokens", ",input_tokens,", ",other_tokens,"),
    ("huawei-cold-starts", "pool22", "pool022"),
    ("huawei-requests", "-128-", "-128-00000"),
)


def same(a, b, path="") -> None:
    """Every field equal, NaN equal to NaN, dtypes too."""
    for field in fields(a):
        x, y = getattr(a, field.name), getattr(b, field.name)
        if is_dataclass(x):
            same(x, y, field.name)
        elif isinstance(x, np.ndarray):
            assert x.dtype == y.dtype, field.name
            np.testing.assert_array_equal(x, y, err_msg=field.name)
        else:
            assert x == y, field.name


def outcome(path: Path, *, skip: bool):
    try:
        return registry.read_table(path, skip_bad_rows=skip)
    except registry.TraceFormatError as error:
        return str(error)


def assert_same_outcome(path: Path, by_rows: pytest.MonkeyPatch, *, skip: bool) -> None:
    """By blocks and by rows: the same table and report, or the same complaint."""
    fast = outcome(path, skip=skip)
    with by_rows.context() as patch:
        patch.setattr(registry._Loop, "take", registry._Loop._take_lines)
        slow = outcome(path, skip=skip)
    if isinstance(fast, str) or isinstance(slow, str):
        assert fast == slow
    else:
        assert fast[1] == slow[1]
        same(fast[0], slow[0])


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_plain_file_is_read_by_blocks_alone(tmp_path: Path, monkeypatch, kind: str) -> None:
    write_sample(tmp_path / "sample.txt", kind, rows=400, seed=3)
    assert_same_outcome(tmp_path / "sample.txt", monkeypatch, skip=False)
    monkeypatch.setattr(registry._Loop, "_take_lines", lambda *_: pytest.fail("went by rows"))
    table, report = registry.read_table(tmp_path / "sample.txt")
    table.check()
    assert report.rows_kept == len(table) == 400


@pytest.mark.parametrize(("kind", "old", "new"), UNUSUAL)
def test_unusual_rows_between_plain_ones_change_nothing(
    tmp_path: Path, monkeypatch, kind: str, old: str, new: str
) -> None:
    path = tmp_path / "sample.txt"
    write_sample(path, kind, rows=700, seed=4)
    rows = path.read_text().splitlines(keepends=True)
    for k in range(40, len(rows), 50):
        rows[k] = rows[k].replace(old, new, 1)
    path.write_text("".join(rows), encoding="utf-8")
    assert old in "".join(rows) and new in "".join(rows)
    assert_same_outcome(path, monkeypatch, skip=True)


@pytest.mark.slow
@pytest.mark.parametrize("kind", SAMPLES)
def test_line_ends_and_the_size_of_blocks_change_nothing(
    tmp_path: Path, monkeypatch, kind: str
) -> None:
    path = tmp_path / "sample.txt"
    write_sample(path, kind, rows=60, seed=6)
    plain, _ = registry.read_table(path)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n").removesuffix(b"\r\n"))
    same(registry.read_table(path)[0], plain)
    monkeypatch.setattr(lines, "BLOCK_BYTES", 97)
    same(registry.read_table(path)[0], plain)


def test_a_bad_row_is_named_by_its_line_wherever_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "sample.csv"
    write_sample(path, "azure", rows=7_000, seed=2)
    rows = path.read_text().splitlines(keepends=True)
    for at in (1, 6_500, 7_000):
        bad = rows[at].rsplit(",", 1)[0] + ",-5\n"
        path.write_text("".join([*rows[:at], bad, *rows[at + 1 :]]))
        message = outcome(path, skip=False)
        assert isinstance(message, str)
        assert message.startswith(f"sample.csv:{at + 1}: column 'GeneratedTokens' is '-5'")


def test_ids_with_and_without_a_blank_between_them_are_not_misread(tmp_path: Path) -> None:
    row = '{{"timestamp": 0, "input_length": 1500, "output_length": 5, "hash_ids": [{}]}}\n'
    lists = ("10, 20, 30", "10,20, 30", "10, 20,30", "10,20,30", "10,  20, 30")
    for first, second in itertools.product(lists, lists):
        path = tmp_path / "ids.jsonl"
        path.write_text(row.format(first) + row.format(second))
        assert registry.read_table(path)[0].prefix_ids.tolist() == [10, 20, 30] * 2


def test_numbers_of_one_to_sixteen_digits_are_exact() -> None:
    values = [int("9876543210123456"[:n]) for n in range(1, 17)] + [0, 10**15, 12345678, 123456789]
    cells = Cells((",".join(map(str, values)) + "\n").encode())
    assert cells.counts(cells.starts, cells.ends, 10**16).tolist() == values


@pytest.mark.parametrize("bad", ["", "12a", "/1", ":1", "1 ", "-1", "12345678901234567", "1\x00"])
def test_what_is_no_number_is_left_to_the_rows(bad: str) -> None:
    cells = Cells(f"1,{bad},22\n".encode())
    with pytest.raises(Unsure):
        cells.counts(cells.starts, cells.ends, 10**18)


def test_decimals_are_the_doubles_that_python_reads() -> None:
    rng = np.random.default_rng(11)
    texts = [repr(x) for x in rng.lognormal(0, 8, 300).tolist()]
    texts += [f"{x:.{k % 9}f}" for k, x in enumerate(rng.uniform(0, 1e6, 300).tolist())]
    texts += ["0", "0.0", "5.", ".5", "1e-05", "123456789012345", "0.000000000000001"]
    cells = Cells((",".join(texts) + "\n").encode())
    read = cells.decimals(cells.starts, cells.ends, cells.dots, limit=1e300)
    assert read.tolist() == [float(text) for text in texts]


def test_codes_follow_first_sight_and_tell_all_texts_apart() -> None:
    words = ["b", "a", "ab", "abcdefgh", "abcdefghi", "abcdefghijklmnopqrstuvwx", ""]
    row = ",".join(itertools.islice(itertools.cycle(words), 40))
    text = Text((row + "\n").encode())
    cells = Cells(text.raw)
    seen: list[str] = []

    def code_of(word: str) -> int:
        seen.append(word)
        return len(seen) - 1

    codes = cells.text.codes(cells.starts, cells.ends, code_of)
    assert seen == words
    assert [words[code] for code in codes] == row.split(",")
    with pytest.raises(Unsure):
        cells.text.codes(np.array([0]), np.array([25]), code_of)


def test_hexadecimal_keys_are_exact_and_strict() -> None:
    words = ["0123456789abcdef", "FEDCBA9876543210", "0123456789abcdeg", "0123456789abcde`"]
    words += ["0123456789abcde/", "0123456789abcde:", "@123456789abcdef"]
    text = Text("".join(words).encode())
    keys, good = text.hex_keys(np.arange(len(words)) * 16)
    assert good.tolist() == [True, True] + [False] * 5
    assert keys[:2].tolist() == [0x0123456789ABCDEF, 0xFEDCBA9876543210]


def test_a_refused_block_leaves_no_trace_in_its_reader(tmp_path: Path) -> None:
    path = tmp_path / "sample.csv"
    write_sample(path, "burstgpt-3", rows=50, seed=8)
    head, *rows = path.read_text().splitlines(keepends=True)
    reader = registry.FORMATS["burstgpt"].reader("x.csv", head.strip())
    bad = rows[-1].replace("ChatGPT", "\x07").replace("GPT-4", "\x07")
    with pytest.raises((Unsure, BadRow)):
        reader.block("".join([*rows[:-1], bad]).encode())
    assert len(reader.table("x")) == 0
