"""Damaged and odd inputs of `midwatch rca rank`: one line that helps, or a repair that is told."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import random
import sys
import zipfile
from io import BytesIO

import numpy as np
import pytest
from typer.testing import CliRunner

from ops.cli import app
from ops.commands.rca_inputs import read_incidents
from ops.commands.rca_options import Source
from ops.errors import OpsError
from rca.errors import RcaError
from rca.localise import localise

ROWS, FAULT = 40, 30
OWNERS = ("cart", "pay", "shop")
SPANS = "t_ms,trace,span,parent,service,op,dur_us\n"
LOGS = "t_ms,service,trace,message\n"
META = {"inject_time": 1000 + 10 * FAULT, "sampling_s": 10}


def rows():
    """Header and rows of a table in which pay's CPU triples."""
    rng = np.random.default_rng(5)
    values = rng.normal(1.0, 0.05, (ROWS, 6))
    values[FAULT:, 2] *= 3.0
    header = ["time", *(f"{owner}_{metric}" for owner in OWNERS for metric in ("cpu", "mem"))]
    return [header, *([str(1000 + 10 * n), *map(repr, v)] for n, v in enumerate(values.tolist()))]


def table(change=lambda lines: lines, *, joined="\n", end="\n"):
    """The table as text after a change of its rows."""
    lines = change([list(row) for row in rows()])
    return joined.join(",".join(row) for row in lines) + end


def put(line, column, text):
    def change(lines):
        lines[line][column] = text
        return lines

    return change


def spans(*more, start=-8000):
    """Two hundred traces of two calls each, and some lines more."""
    lines = []
    for n in range(200):
        at = start + 60 * n
        lines += [f"{at},t{n},1,-1,shop,GET,9000", f"{at + 1},t{n},2,1,pay,charge,4000"]
    return SPANS + "\n".join([*lines, *more]) + "\n"


def rank(path, *more, **kwargs):
    arguments = ["rca", "rank", str(path), "--granger", "off", "--json", *map(str, more)]
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "4000"}, **kwargs)


def told(done):
    return " ".join(done.stderr.replace("│", " ").split())


def refused(done, *said):
    assert done.exit_code == 2, done.output
    assert not done.stdout and "Traceback" not in done.output
    message = told(done).partition("Invalid value: ")[2]
    for words in said:
        assert words in message
    assert ";" in message, f"no next step in {message}"


def not_read(path, *said):
    """As `refused`, without the command around: it catches these two sorts and no other."""
    with pytest.raises((RcaError, OpsError)) as error:
        read_incidents(Source(path=path))
    message = str(error.value)
    for words in said:
        assert words in message
    assert ";" in message and "\n" not in message, f"no next step in {message}"


def mended(done, note):
    assert done.exit_code in (0, 1), done.output
    found = json.loads(done.stdout)
    assert any(note in one for one in found["notes"]), found["notes"]
    assert found["services"][0]["name"] == "pay"
    return found


def archive_of(text):
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("metrics.csv", text)
    return out.getvalue()


BAD_TABLES = {
    "empty": ("", "m.csv is empty"),
    "blank lines": ("\n\n \n", "is empty"),
    "header only": (table(lambda t: t[:1]), "a header and no rows"),
    "binary": (bytes(range(256)), "byte 0x80 is no UTF-8"),
    "zero bytes": (table(put(3, 1, "\x00")), "line 4: a zero byte"),
    "latin-1": (table(put(2, 1, "é")).encode("latin-1"), "line 3: byte 0xe9"),
    "utf-16": (table().encode("utf-16"), "UTF-16"),
    "no time": (table(put(0, 0, "when")), "no column 'time' in 'when, cart_cpu"),
    "semicolons": (table().replace(",", ";"), "not by semicolons"),
    "tabs": (table().replace(",", "\t"), "not by tabs"),
    "time alone": (table(lambda t: [r[:1] for r in t]), "no column beside the time"),
    "column twice": (table(put(0, 2, "cart_cpu")), "'cart_cpu' appears twice"),
    "text": (table(put(4, 3, "high")), "line 5, column 'pay_cpu': 'high' is no number"),
    "unit": (table(put(4, 3, "12%")), "'12%' is no number"),
    "long text": (table(put(4, 3, "x" * 500)), "'..."),
    "decimal comma": (table(put(4, 3, "1,5")), "line 5: 8 cells beginning '1030,"),
    "short row": (table(lambda t: [*t[:9], t[9][:3], *t[10:]]), "line 10: 3 cells"),
    "two headers": (table(lambda t: [*t, t[0]]), "'cart_cpu' is no number"),
    "time of day": (table(put(7, 0, "soon")), "line 8: time is 'soon'"),
    "no time at all": (table(lambda t: [t[0], *(["", *r[1:]] for r in t[1:])]), "none of 40 rows"),
    "open quote": (table(put(5, 2, '"1')), "line 6: 3 cells beginning"),
    "a line of 16 MiB": ("time,a_x\n1," + "9" * 2**24 + "\n", "larger than field limit"),
    "JSON": ('{"a": 1}', "no column 'time'"),
    "HTML": ("<html><body>login</body></html>", "no column 'time'"),
    "zip": (archive_of(table()), "packed as zip"),
    "xz": (lzma.compress(table().encode()), "packed as xz"),
    "bzip2": (bz2.compress(table().encode()), "packed as bzip2"),
    "zstd": (b"\x28\xb5\x2f\xfd rest", "packed as zstd"),
    "cut archive": (gzip.compress(table().encode())[:-20], "the archive is damaged"),
    "broken archive": (b"\x1f\x8bno archive at all", "the archive is damaged"),
    "archive of nothing": (gzip.compress(b""), "is empty"),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_a_table_that_is_none_is_named_with_the_next_step(tmp_path, name):
    content, said = BAD_TABLES[name]
    path = tmp_path / "m.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    not_read(path, str(path), said)


@pytest.mark.parametrize("header", ["time,cpu,mem", "time,sli_latency,sli_rate"])
def test_a_table_of_no_service_is_named(tmp_path, header):
    (tmp_path / "m.csv").write_text(f"{header}\n1,1,1\n2,1,1\n")
    refused(rank(tmp_path / "m.csv"), "m.csv", "no column names a service")


ODD_TABLES = {
    "unsorted": (table(lambda t: [t[0], *t[:0:-1]]), "sorted"),
    "a time twice": (table(lambda t: [*t, t[9]]), "1 rows repeat a time"),
    "a row without a time": (table(put(7, 0, "")), "1 of 40 rows have no time"),
    "time NaN": (table(put(7, 0, "NaN")), "1 of 40 rows have no time"),
    "infinite": (table(put(7, 1, "inf")), "1 cells are infinite"),
    "as good as infinite": (table(put(7, 1, "1.797e308")), "1 cells are infinite or as good as"),
    "last line cut": (table(end="\n1400,1.0"), "the last line ends after '1400,1.0'"),
    "timestamp": (table(put(0, 0, "Timestamp")), "column 'Timestamp' is taken as 'time'"),
    "milliseconds": (
        table(lambda t: [t[0], *([str(1_700_000_000_000 + 1000 * int(r[0])), *r[1:]]
                                 for r in t[1:])]), "times are milliseconds"),
    "a column of nobody": (
        table(lambda t: [[*r, "x" if n == 0 else "1"] for n, r in enumerate(t)]),
        "1 columns name no service (x)"),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD_TABLES)
def test_what_can_be_mended_is_mended_and_told(tmp_path, name):
    content, note = ODD_TABLES[name]
    (tmp_path / "m.csv").write_text(content, encoding="utf-8")
    mended(rank(tmp_path / "m.csv"), note)


PLAIN_TABLES = {
    "words for missing": table(lambda t: put(4, 3, "null")(put(5, 1, "N/A")(put(6, 2, "-")(t)))),
    "mark of UTF-8": "\ufeff" + table(),
    "lines of Windows": table(joined="\r\n"),
    "blank lines": table().replace("\n", "\n\n"),
    "quotes": table(lambda t: [[f'"{cell}"' for cell in row] for row in t]),
    "row numbers": table(lambda t: [[str(n) if n else "", *row] for n, row in enumerate(t)]),
    "dates": table(
        lambda t: [t[0], *([f"2026-01-02T03:{n // 60:02}:{n % 60:02}Z", *r[1:]]
                           for n, r in enumerate(t[1:]))]
    ),
    "packed under a plain name": gzip.compress(table().encode()),
}  # fmt: skip


@pytest.mark.parametrize("name", PLAIN_TABLES)
def test_other_spellings_of_the_same_table_need_no_note(tmp_path, name):
    content = PLAIN_TABLES[name]
    path = tmp_path / "m.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    found = mended(rank(path), "own change point used")
    assert len(found["notes"]) == 1


def test_a_missing_cell_is_no_zero(tmp_path):
    empty = table(lambda t: [t[0], *([*r[:2], "", *r[3:]] if n % 2 else r
                                     for n, r in enumerate(t[1:]))])  # fmt: skip
    (tmp_path / "m.csv").write_text(empty)
    done = rank(tmp_path / "m.csv")
    assert json.loads(done.stdout)["services"][0]["name"] == "pay"
    evidence = [m["evidence"] for m in json.loads(done.stdout)["metrics"]]
    assert len(evidence) == 6 and min(e["after"] for e in evidence) > 0.9


@pytest.fixture
def case(tmp_path):
    """Writes a case folder; the keywords are its files, `_` for `.`."""

    def write(**files):
        folder = tmp_path / "set" / "one"
        folder.mkdir(parents=True)
        content = {"metrics_csv": table(), "case_json": json.dumps(META)} | files
        for name, text in content.items():
            where = folder.parent if name == "graph_json" else folder
            path = where / name.replace("_", ".")
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return folder

    return write


BAD_CASES = {
    "case.json empty": ({"case_json": ""}, "case.json is empty"),
    "case.json no JSON": ({"case_json": "{'a': 1}"}, "case.json is no JSON"),
    "case.json cut": ({"case_json": json.dumps(META)[:-3]}, "is no JSON"),
    "case.json a list": ({"case_json": "[]"}, "holds a list, expected an object"),
    "case.json null": ({"case_json": "null"}, "holds null"),
    "case.json too deep": ({"case_json": "[" * 100_000}, "is no JSON"),
    "case.json not UTF-8": ({"case_json": b'{"a": "\xe9"}'}, "no UTF-8"),
    "time a text": ({"case_json": '{"inject_time": "soon"}'}, "inject_time is 'soon'"),
    "time NaN": ({"case_json": '{"inject_time": NaN}'}, "inject_time is NaN"),
    "time true": ({"case_json": '{"inject_time": true}'}, "inject_time is true"),
    "time huge": ({"case_json": '{"inject_time": 1e300}'}, "inject_time is 1e+300"),
    "step 0": ({"case_json": '{"sampling_s": 0}'}, "sampling_s is 0"),
    "step negative": ({"case_json": '{"sampling_s": -5}'}, "sampling_s is -5"),
    "instances a list": ({"case_json": '{"instances": ["a"]}'}, "instances is ["),
    "instances to null": ({"case_json": '{"instances": {"cart": null}}'}, "'cart' to null"),
    "instances of others": ({"case_json": '{"instances": {"x": "y"}}'}, "none of 1 instances"),
    "runs_on a text": ({"case_json": '{"runs_on": "node1"}'}, "runs_on is 'node1'"),
    "entry a list": ({"case_json": '{"entry": ["shop"]}'}, "entry is ["),
    "changes a text": ({"case_json": '{"changes": "deploy"}'}, "changes is 'deploy'"),
    "change of no kind": (
        {"case_json": '{"changes": [{"at_s": 1, "kind": "wish", "service": "pay"}]}'},
        "deploy, config"),
    "change of nobody": ({"case_json": '{"changes": [{"at_s": 1, "kind": "flag"}]}'}, "service"),
    "change without time": (
        {"case_json": '{"changes": [{"at_s": NaN, "kind": "flag", "service": "pay"}]}'}, "at_s"),
    "graph a list": ({"graph_json": "[]"}, "graph.json holds a list"),
    "graph of triples": ({"graph_json": '{"calls": [["a", "b", "c"]]}'}, "expected pairs"),
    "graph of numbers": ({"graph_json": '{"calls": [[1, 2]]}'}, "expected pairs"),
    "graph of a map": ({"graph_json": '{"calls": {"a": "b"}}'}, "expected pairs"),
    "spans without span": ({"spans_csv": "t_ms,trace\n1,1\n"}, "no column 'span'"),
    "spans of text": ({"spans_csv": spans("1,a,1,-1,shop,GET,slow")}, "dur_us is 'slow'"),
    "spans short": ({"spans_csv": spans("1,a,1")}, "3 cells"),
    "spans empty": ({"spans_csv": ""}, "spans.csv is empty"),
    "spans binary": ({"spans_csv": b"\x00\xff"}, "spans.csv"),
    "spans cut": ({"spans_csv_gz": gzip.compress(spans().encode())[:-9]}, "damaged"),
    "logs without time": ({"logs_csv": LOGS + "now,shop,a,x\n"}, "row 2: t_ms is 'now'"),
    "logs without message": ({"logs_csv": "t_ms,service,trace\n1,shop,a\n"}, "'message'"),
    "logs of 1 MiB a line": ({"logs_csv": LOGS + f"1,shop,a,{'x' * 2**20}\n"}, "field limit"),
    "metrics cut": ({"metrics_csv": table(end="\nx,1,1,1,1,1,1\n")}, "time is 'x'"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_CASES)
def test_a_damaged_case_is_named_with_file_value_and_next_step(case, name):
    files, said = BAD_CASES[name]
    folder = case(**files)
    not_read(folder, str(folder.parent), said)


ODD_CASES = {
    "unknown parents": ({"spans_csv": spans("5,t1,7,99,pay,x,100")}, "1 of 201 spans name a"),
    "its own parent": ({"spans_csv": spans("5,t1,7,7,pay,x,100")}, "taken as roots"),
    "parent elsewhere": ({"spans_csv": spans("5,t1,77,1,pay,x,1", "6,u,8,77,pay,x,1")}, "as roots"),
    "negative duration": ({"spans_csv": spans("5,t1,7,1,pay,x,-9")}, "3 of 401 spans left out"),
    "no duration": ({"spans_csv": spans("5,t1,7,1,pay,x,")}, "1 traces hold a span without"),
    "no start": ({"spans_csv": spans(",t1,7,1,pay,x,5")}, "1 traces hold a span without"),
    "no trace": ({"spans_csv": spans("5,,7,-1,pay,x,5")}, "1 of 401 spans left out"),
    "logs of nobody": ({"logs_csv": LOGS + "1,,a,x\n1,shop,a,y\n"}, "1 of 2 lines have no time"),
    "logs of another time": ({"logs_csv": LOGS + "1e300,shop,a,x\n1,shop,a,y\n"}, "1 of 2 lines"),
    "a span for ever": ({"spans_csv": spans("5,t1,7,1,pay,x,1e300")}, "3 of 401 spans left out"),
    "logs without time": ({"logs_csv": LOGS + ",shop,a,x\n1,shop,a,y\n"}, "no time or no service"),
    "graph of others": (
        {"graph_json": '{"calls": [["a", "b"], ["b", "c"], ["shop", "pay"]]}'},
        "3 of 5 services have no column, such as a, b, c"),
    "late time": ({"case_json": '{"inject_time": 99999}'}, "the given time leaves 40 normal rows"),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD_CASES)
def test_an_odd_case_is_mended_and_told(case, name):
    files, note = ODD_CASES[name]
    mended(rank(case(**files)), note)


@pytest.mark.parametrize(
    "files",
    [
        {"spans_csv": SPANS}, {"logs_csv": LOGS}, {"case_json": "{}"}, {"graph_json": "{}"},
        {"spans_csv": spans(), "logs_csv": LOGS + "1,shop,t1,x\n"},
        {"spans_csv": SPANS + "1,a,1,2,pay,x,5\n2,a,2,1,pay,x,5\n"},
        {"case_json": '{"root_cause_service": 5, "root_cause_metrics": {}, "fault_type": []}'},
        {"case_json": '{"instances": {}, "runs_on": null, "entry": null, "changes": null}'},
    ],
    ids=["no spans", "no lines", "nothing known", "no graph", "everything", "cycle", "bad labels",
         "nulls"],
)  # fmt: skip
def test_extras_may_be_empty_and_labels_anything(case, files):
    done = rank(case(**files))
    assert done.exit_code in (0, 1), done.output
    assert json.loads(done.stdout)["services"][0]["name"] == "pay"


@pytest.mark.parametrize(
    "more",
    [("--fault-at-s", "nan"), ("--fault-at-s", "-5"), ("--fault-at-s", 1e30),
     ("--fault-at", "2026-01-02T03:04:05Z"), ("--fault-at", "now-5m")],
)  # fmt: skip
def test_a_fault_time_outside_the_rows_is_named(tmp_path, more):
    (tmp_path / "m.csv").write_text(table())
    refused(rank(tmp_path / "m.csv", *more), "is not within the rows, 1000 s to 1390 s")


def test_a_fault_time_that_is_none_is_named(tmp_path):
    (tmp_path / "m.csv").write_text(table())
    done = rank(tmp_path / "m.csv", "--fault-at", "soon")
    assert done.exit_code == 2
    assert "--fault-at: time is 'soon', expected 2026-01-02T03:04:05Z" in told(done)


def test_a_folder_without_extras_is_read(tmp_path):
    (tmp_path / "metrics.csv").write_text(table())
    assert json.loads(rank(tmp_path).stdout)["services"][0]["name"] == "pay"


def test_folders_that_hold_no_case_are_named(tmp_path):
    refused(rank(tmp_path), "holds no case")
    refused(rank(tmp_path / "nowhere"), "nowhere does not exist")
    (tmp_path / "metrics.csv").mkdir()
    refused(rank(tmp_path), "holds no case")
    for name in ("a", "b"):
        (tmp_path / "set" / name).mkdir(parents=True)
        (tmp_path / "set" / name / "metrics.csv").write_text(table())
    refused(rank(tmp_path / "set"), "holds 2 cases", "give one, such as")


def test_a_broken_bundle_is_named(tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    refused(rank(tmp_path), "manifest.json", "write the bundle again")


@pytest.mark.parametrize("where", ["m.csv", "set", "set/one", "set/one/case.json"])
def test_what_may_not_be_read_is_named(tmp_path, case, monkeypatch, where):
    folder = case()
    (tmp_path / "m.csv").write_text(table())
    path = tmp_path / where
    path.chmod(0)
    if os.geteuid() == 0:  # nothing is closed to root, so the refusal is made by hand
        deny(monkeypatch, path)
    try:
        target = tmp_path / "m.csv" if where == "m.csv" else folder
        refused(rank(tmp_path / "set" if where == "set" else target), str(path), "check its rights")
    finally:
        path.chmod(0o755)


def deny(monkeypatch, path):
    def refusing(real):
        def call(self, *arguments, **kwargs):
            if self == path or (path.is_dir() and path in self.parents):
                raise PermissionError(13, "Permission denied", str(path))
            return real(self, *arguments, **kwargs)

        return call

    kind = type(path)
    names = ("iterdir", "is_file") if path.is_dir() else ("open",)
    for name in names:
        monkeypatch.setattr(kind, name, refusing(getattr(kind, name)))


def test_a_table_comes_from_stdin(tmp_path):
    found = json.loads(rank("-", input=table()).stdout)
    assert (found["incident_id"], found["services"][0]["name"]) == ("stdin", "pay")
    packed = gzip.compress(table().encode())
    assert json.loads(rank("-", input=packed).stdout)["services"][0]["name"] == "pay"
    refused(rank("-", input=""), "stdin is empty")


def test_parquet_without_its_package_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "m.parquet").write_bytes(b"PAR1")
    refused(rank(tmp_path / "m.parquet"), "Parquet needs pyarrow", "'.[parquet]'")


def test_parquet_is_read_as_the_same_table(tmp_path):
    pa = pytest.importorskip("pyarrow", reason="pyarrow, the extra 'parquet', is absent")
    import pyarrow.parquet as pq

    header, *lines = rows()
    columns = {h: pa.array([float(r[n]) for r in lines]) for n, h in enumerate(header)}
    (tmp_path / "m.csv").write_text(table())
    expected = json.loads(rank(tmp_path / "m.csv").stdout) | {"incident_id": "m.parquet"}
    seconds = columns["time"]
    for time in (seconds, seconds.cast("int64"), seconds.cast("int64").cast("timestamp[s]")):
        pq.write_table(pa.table(columns | {"time": time}), tmp_path / "m.parquet")
        assert json.loads(rank(tmp_path / "m.parquet").stdout) == expected
    content = (tmp_path / "m.parquet").read_bytes()
    for name, cells, said in (
        ("cart_cpu", pa.array(["high"] * ROWS), "column 'cart_cpu' has type string"),
        ("cart_cpu", pa.array([[1.0]] * ROWS), "column 'cart_cpu' has type list"),
    ):
        pq.write_table(pa.table(columns | {name: cells}), tmp_path / "m.parquet")
        refused(rank(tmp_path / "m.parquet"), said)
    (tmp_path / "m.parquet").write_bytes(content[:-40])
    refused(rank(tmp_path / "m.parquet"), "the file is damaged")


def test_changes_of_a_file_are_candidates_or_named(tmp_path):
    (tmp_path / "m.csv").write_text(table())
    changes = tmp_path / "changes.jsonl"
    changes.write_text(json.dumps({"at_s": 1290, "kind": "deploy", "service": "pay"}))
    found = json.loads(rank(tmp_path / "m.csv", "--changes", changes).stdout)
    assert "change" in found["services"][0]["channels"]
    changes.write_text('{"at_s": 1290, "kind": "deploy"}')
    refused(rank(tmp_path / "m.csv", "--changes", changes), str(changes), "needs at_s")


WORDS = ("", "NaN", "inf", "-1", "1e308", "null", ",", "\n", '"', "\r", "\x00", "é", "9" * 40, "{",
         "]", "true", "1700000000000", "pay", "cart_cpu", "time")  # fmt: skip


def damage(rng, text):
    """A cell or a place gets another word, a piece is lost, two lines are swapped, one repeated."""
    for _ in range(rng.choice((1, 1, 2, 5))):
        kind, place = rng.randrange(5), rng.randrange(len(text) + 1)
        lines = text.split("\n")
        one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
        if kind == 0:
            cells = text.split(",")
            cells[rng.randrange(len(cells))] = rng.choice(WORDS)
            text = ",".join(cells)
        elif kind == 1:
            text = text[:place] + rng.choice(WORDS) + text[place:]
        elif kind == 2:
            text = text[:place] + text[place + rng.randrange(60) :]
        elif kind == 3:
            lines[one], lines[other] = lines[other], lines[one]
            text = "\n".join(lines)
        else:
            text = "\n".join(
                [*lines[:one], *[lines[one]] * rng.choice((0, 2, 3)), *lines[one + 1 :]]
            )
    return text


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["metrics_csv", "case_json", "spans_csv", "logs_csv", "graph_json"]
)
def test_whatever_happens_to_a_file_it_is_read_or_named(tmp_path, case, name):
    meta = META | {"instances": {o: o for o in OWNERS}, "runs_on": {"cart": "n1"}, "entry": "shop",
                   "changes": [{"at_s": 1290, "kind": "deploy", "service": "pay"}]}  # fmt: skip
    logs = LOGS + "".join(f"{50 * n - 5000},pay,t{n % 200},line {n}\n" for n in range(200))
    files = {"metrics_csv": table(), "case_json": json.dumps(meta, indent=1),
             "graph_json": '{"calls": [["shop", "pay"]], "runs_on": [["pay", "n1"]]}'}  # fmt: skip
    if name in ("spans_csv", "logs_csv"):
        files |= {"spans_csv": spans(), "logs_csv": logs}
    folder = case(**files)
    where = (folder.parent if name == "graph_json" else folder) / name.replace("_", ".")
    rng = random.Random(name)
    for _ in range(15):
        where.write_text(damage(rng, files[name]), encoding="utf-8")
        try:
            localise(read_incidents(Source(path=folder))[0], granger=None)
        except (RcaError, OpsError) as error:
            assert "\n" not in str(error)


def test_at_least_sixty_distinct_files_are_tried():
    assert len(BAD_TABLES) + len(BAD_CASES) >= 60
