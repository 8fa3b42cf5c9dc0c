"""The tables that README shows of bench results: one declarative list.

To add a figure, add a `Row`: its words and where it stands in the bench's JSON. To add a table, add
a `Table` and a pair of markers `<!-- bench:NAME -->`, `<!-- /bench:NAME -->` in README. Then run
`make readme-tables`. `tables.py` does the rest; nothing here holds a figure.

A path leads through the JSON by keys between slashes. `*` stands for every key or list item: one
row for each, whose words may name the key as `{key}` and fields of the item by their names.
"""

from __future__ import annotations

from dataclasses import dataclass

THREE = "min / median / max"
WORKLOAD = "rows/*/ours_mean rows/*/ours_worst rows/*/baseline_mean rows/*/training"
WORKLOAD_SHOWN = (  # of the errors without a target: trace, figure
    ("azure-code", "Fano 1 s, relative"),
    ("azure-code", "Fano 10 s, relative"),
    ("azure-code", "Fano 60 s, relative"),
    ("azure-code", "CV of gaps in a window, relative"),
    ("azure-conv", "Fano 60 s, relative"),
    ("azure-conv", "prompt, KS"),
    ("azure-conv", "output, KS"),
    ("mooncake-conv", "Fano 60 s, relative"),
    ("mooncake-conv", "prefix hits, endless cache"),
    ("mooncake-conv", "prefix hits, cache of 5 % of the blocks"),
    ("azure-conv", "two-sample classifier, |AUC - 0.5|"),
    ("azure-code", "two-sample classifier, |AUC - 0.5|"),
    ("mooncake-conv", "two-sample classifier, |AUC - 0.5|"),
)

RUN_FIGURES = (
    ("ttft_mean", "mean TTFT"),
    ("ttft_p90", "TTFT p90"),
    ("tpot_mean", "mean TPOT"),
    ("tpot_p90", "TPOT p90"),
)
PREDICTED = (
    ("e2e_workload_rtx4090_llama31_8b_tp1.csv", "one RTX 4090"),
    ("e2e_workload_rtxpro6000_qwen3_32b_tp2.csv", "two RTX PRO 6000, all-reduce unfitted"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure, or one for each match of `*`."""

    words: str
    figure: str  # path, or several between blanks that are shown with slashes
    target: str = ""  # path, its `*` as in the figure; none = no target
    bound: str = ""  # how the target is meant: "at least", "at most"
    null: str = "-"  # what a null figure means
    targets_only: bool = False  # leave out what has no target
    where: tuple[
        str, ...
    ] = ()  # of the matches of `*` only those with these fields, "model=replay"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of one bench's result."""

    name: str  # of the markers, of results/NAME.json and, without a command, of bench_NAME.py
    spread: str = THREE
    command: str = ""
    rows: tuple[Row, ...]

    @property
    def run(self) -> str:
        """What makes the figures."""
        return self.command or f"python tests/bench/bench_{self.name}.py"


TABLES = (
    Table(
        name="cost_model",
        spread="mean absolute error of kernel times, relative error of whole runs",
        rows=(
            Row(
                words="{part} on {key}",
                figure="fits/*/*/mape",
                target="fits/*/*/limit",
                bound="at most",
                targets_only=True,
            ),
            *(
                Row(
                    words=f"a vLLM run on an RTX PRO 6000, known before: {words}",
                    figure=f"real_run/error/{name}",
                    target=f"real_run/limit/{name}",
                    bound="at most",
                )
                for name, words in RUN_FIGURES
            ),
            *(
                Row(
                    words=f"a vLLM run predicted blind, {engine}: {words}",
                    figure=f"predictions/{workload}/error/{name}",
                )
                for workload, engine in PREDICTED
                for name, words in RUN_FIGURES
            ),
        ),
    ),
    Table(
        name="simulator",
        rows=(
            Row(
                words="simulated requests per CPU second, whole graph", figure="requests_per_cpu_s"
            ),
            Row(
                words="the same with telemetry and the loop",
                figure="requests_per_cpu_s_with_telemetry_and_loop",
            ),
            Row(words="one diagnosis, CPU seconds", figure="diagnosis_cpu_s"),
            Row(words="of so many series × rows", figure="series rows"),
            Row(words="memory, MiB", figure="memory_mib_max"),
        ),
    ),
    Table(
        name="graph",
        rows=(
            Row(
                words="simulated requests per CPU second, 16 instances behind 3 services",
                figure="graph_16/requests_per_cpu_s",
                target="graph_16/wanted_requests_per_cpu_s",
                bound="at least",
            ),
            Row(words="the same without scrapes", figure="unscraped/requests_per_cpu_s"),
            Row(
                words="its 16 instances alone, same events",
                figure="engines_alone/requests_per_cpu_s",
            ),
        ),
    ),
    Table(
        name="serving",
        rows=(
            Row(
                words="requests per CPU second, 16 instances",
                figure="express_16/requests_per_cpu_s",
                target="express_16/wanted_requests_per_cpu_s",
                bound="at least",
            ),
            Row(
                words="1,000 instances",
                figure="express_1000/requests_per_cpu_s",
                target="express_1000/wanted_requests_per_cpu_s",
                bound="at least",
            ),
            Row(words="16 instances, `fcfs`", figure="express_16_fcfs/requests_per_cpu_s"),
            Row(
                words="16, one event per change of batch (`SimInstance`: any policy, faults)",
                figure="segments_16/requests_per_cpu_s",
            ),
            Row(words="the same, `fcfs`", figure="segments_16_fcfs/requests_per_cpu_s"),
            Row(
                words="16, one event per iteration (the reference)",
                figure="iterations_16/requests_per_cpu_s",
            ),
            Row(
                words="16 × A100, Llama-3.1-8B, Mooncake's conversation trace",
                figure="mooncake_16/requests_per_cpu_s",
            ),
            Row(
                words="memory of {requests:,} requests, MB",
                figure="memory/*/peak_mb",
                target="memory/*/limit_mb",
                bound="at most",
            ),
            Row(
                words="a turn of a plain Python loop beside the first row, ns",
                figure="express_16/loop_ns",
            ),
        ),
    ),
    Table(
        name="readers",
        rows=(
            Row(
                words="{key}, rows per CPU second",
                figure="readers/*/rows_per_cpu_s",
                target="wanted/rows_per_cpu_s",
                bound="at least",
            ),
            Row(
                words="{key} in tables of 20,000 rows, MB at {rows:,} rows",
                figure="chunked/*/*/memory_mb_peak",
                target="wanted/memory_mb_max",
                bound="at most",
            ),
        ),
    ),
    Table(
        name="closed_loop",
        rows=(
            Row(
                words="load {load}, {model}: goodput 60 to 420 s after the cut, 1/s",
                figure="rows/*/goodput_after_rps",
                target="rows/*/wanted/goodput_after_rps",
                targets_only=True,
            ),
            Row(
                words="load {load}, {model}: recovery (a minute at 90 %), s",
                figure="rows/*/recovery_s_one_minute_at_90",
                target="rows/*/wanted/recovery_s",
                null="never",
                targets_only=True,
            ),
            Row(
                words="load {load}, {model}: recovery (two minutes at 95 %), s",
                figure="rows/*/recovery_s_two_minutes_at_95",
                target="rows/*/wanted/recovery_s",
                null="never",
                where=("model=closed-loop users",),
            ),
        ),
    ),
    Table(
        name="prefix_cache",
        spread="worst of five seeds, medians in the JSON",
        rows=(
            Row(
                words="{trace}, load {load}, {dispatch}, {caches} caches: TTFT p50 / p90 / p99, s",
                figure="rows/*/ttft_s_p50/worst rows/*/ttft_s_p90/worst rows/*/ttft_s_p99/worst",
            ),
            Row(
                words="{trace}, load {load}, {dispatch}: prompt tokens found / busiest instance's "
                "prefill over the mean",
                figure="rows/*/hit_ratio/worst rows/*/prefill_imbalance_ratio/worst",
                where=("caches=with",),
            ),
        ),
    ),
    Table(
        name="workload",
        spread="ours, mean / worst seed / Poisson + Zipf / training part itself",
        rows=(
            Row(
                words="{data}: {figure}",
                figure=WORKLOAD,
                target="rows/*/wanted_max",
                bound="at most",
                targets_only=True,
            ),
            *(
                Row(
                    words="{data}: {figure}",
                    figure=WORKLOAD,
                    where=(f"data={data}", f"figure={figure}"),
                )
                for data, figure in WORKLOAD_SHOWN
            ),
        ),
    ),
    Table(
        name="rca_robust",
        spread="AC@1 of services as the mean over sets; random damage drawn once",
        command="python tests/bench/bench_rca_robust.py --draws 1",
        rows=(
            Row(
                words="{channels}: settings chosen without the set scored, AC@1 / Avg@5",
                figure="rows/*/settings/set/ac_at_1 rows/*/settings/set/avg_at_5",
            ),
            Row(
                words="{channels}: settings chosen without the system scored",
                figure="rows/*/settings/system/ac_at_1 rows/*/settings/system/avg_at_5",
            ),
            Row(
                words="{channels}: shipped settings",
                figure="rows/*/shipped/ac_at_1 rows/*/shipped/avg_at_5",
            ),
            Row(
                words="{channels}: settings chosen with all sets in sight",
                figure="rows/*/settings/in_sample/ac_at_1 rows/*/settings/in_sample/avg_at_5",
            ),
            Row(
                words="{channels}: loss of AC@1, --leave-out {key}",
                figure="rows/*/loss/*/loss",
                target="rows/*/loss/*/target",
                bound="at most",
            ),
            Row(
                words="{channels}: settings within .01 of the best, of all",
                figure="rows/*/settings/nearly_best rows/*/settings/num_settings",
            ),
            Row(
                words="{channels}: AC@1 kept: {words}",
                figure="rows/*/damage/*/ratio",
                target="rows/*/damage/*/target",
                bound="at least",
            ),
        ),
    ),
    Table(
        name="rca_ablation",
        spread="each row leaves out the part it names; mean over sets of AC@1 / Avg@5 / what "
        "the part adds to AC@1 / to Avg@5, with 95 % of a paired bootstrap; the seed of least gain",
        rows=tuple(
            Row(
                words="{of} incidents, {level}: {part}",
                figure="rows/*/ac_at_1 rows/*/avg_at_5 rows/*/ac_at_1_worth_told "
                "rows/*/avg_at_5_worth_told",
                where=(f"of={of}", f"level={level}"),
            )
            for of in ("public", "own")
            for level in ("service", "metric")
        ),
    ),
    Table(
        name="granger",
        spread="graphs: mean of AUROC / worst / arcs found / precision of arcs / arcs into a "
        "shuffled target; incidents: AC@1 of services / of metrics / of services with .1 or 1 "
        "times the exogenous score added / by it alone / by the walk alone",
        rows=(
            Row(
                words="planted graph, effects {key}",
                figure="arcs/*/auroc_mean arcs/*/auroc_worst arcs/*/found_of_arcs "
                "arcs/*/precision_of_arcs arcs/*/permuted_target_arcs",
            ),
            Row(
                words="{key}",
                figure="incidents/*/service/ac1 incidents/*/metric/ac1 "
                "incidents/*/service_plus_0.1/ac1 incidents/*/service_plus_1/ac1 "
                "incidents/*/service_exogenous_alone/ac1 incidents/*/service_walk/ac1",
            ),
            Row(
                words="arcs between services of own incidents, {key}: a case / along calls / "
                "against calls / calls of all pairs",
                figure="calls/*/arcs_per_case calls/*/along_calls calls/*/against_calls "
                "calls/*/calls_of_pairs",
            ),
            Row(
                words="{metrics} metrics, {answer}: CPU s, first / MB above the import",
                figure="speed/*/cpu_s/median speed/*/cpu_s_first speed/*/mb_above_import",
            ),
        ),
    ),
)
