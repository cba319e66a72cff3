"""Writes the tables of docs/performance.md from the results, between `<!-- name -->` and `<!-- /name -->`."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

Row = dict[str, Any]
SMALL = (
    ("adoption, CPU s", "adoption_cpu_s"),
    ("… wall s", "adoption_wall_s"),
    ("… API writes", "adoption_writes"),
    ("… highest memory, MB", "adoption_peak_mb"),
    ("restart to quiet, CPU s", "restart_cpu_s"),
    ("… API writes", "restart_writes"),
    ("… memory, MB", "restart_rss_mb"),
    ("one change, CPU ms", "change_cpu_ms"),
    ("… API writes", "change_writes"),
    ("memory after 1 000 changes, MB", "rss_mb"),
)
PRODUCT = (
    ("objects behind each Matrix", "objects_each"),
    ("to settle: CPU s", "settle_cpu_s"),
    ("… wall s", "settle_wall_s"),
    ("… API writes for each Matrix", "settle_writes_each"),
    ("memory with no Matrix, MB", "empty_rss_mb"),
    ("memory when settled, MB", "settle_rss_mb"),
    ("restart to quiet: CPU s", "restart_cpu_s"),
    ("… wall s", "restart_wall_s"),
    ("… API writes", "restart_writes"),
    ("… memory, MB", "restart_rss_mb"),
    ("one setting changed: CPU ms", "change_cpu_ms"),
    ("… API writes", "change_writes"),
    ("changes per second, all at once", "changes_per_s"),
    ("settled minutes watched", "stay_minutes"),
    ("… API writes", "stay_writes"),
    ("… CPU, % of a core", "stay_cpu_percent"),
    ("foreign Secrets of 4 KB", "secrets"),
    ("… memory after a restart beside them, MB", "restart_rss_mb_beside_secrets"),
)


def write(results: Path, document: Path) -> None:
    """Puts every table in its place."""
    text = document.read_text()
    for path in sorted(results.glob("*.json")):
        table = TABLES[path.stem](json.loads(path.read_text()))
        place = re.compile(rf"(<!-- {path.stem} -->\n).*?(<!-- /{path.stem} -->)", re.DOTALL)
        if not place.search(text):
            raise RuntimeError(f"{document} has no place for {path.stem}: add <!-- {path.stem} --> and its end")
        text = place.sub(partial(put, table), text)
    document.write_text(text)


def put(table: str, found: re.Match[str]) -> str:
    return f"{found[1]}{table}\n{found[2]}"


def small(result: Row) -> str:
    """A table for each server and size: what each contender took, and libre.sh in parts of the others."""
    parts = []
    for server, objects in dict.fromkeys((row["server"], row["objects"]) for row in result["rows"]):
        rows = {r["contender"]: r for r in result["rows"] if (r["server"], r["objects"]) == (server, objects)}
        ours = rows["libre.sh"]
        others = [name for name in rows if name != "libre.sh"]
        rounds = ", ".join(f"{name} {row['rounds']}" for name, row in rows.items())
        parts.append(f"**{number(objects)} objects, {server}** (median of runs: {rounds})\n")
        heads = ["", *rows, *(f"libre.sh / {name}" for name in others)]
        lines = []
        for title, key in SMALL:
            ratios = [ratio(ours[key], rows[name][key]) for name in others]
            lines.append([title, *(number(row[key]) for row in rows.values()), *ratios])
        parts.append(table(heads, lines) + "\n")
    versions = "; ".join(f"{name} ({version})" for name, version in result["versions"].items())
    return "\n".join([*parts, f"{versions}. {machine(result)}"])


def product(result: Row) -> str:
    rows = result["rows"]
    for row in rows:
        if "stay_s" in row:
            row["stay_minutes"] = row["stay_s"] / 60
    heads = ["", *(f"{number(row['matrices'])} Matrix, {row['server']}" for row in rows)]
    lines = [[title, *(number(row.get(key)) for row in rows)] for title, key in PRODUCT]
    return f"{table(heads, lines)}\n\n{machine(result)}"


def claims(result: Row) -> str:
    row = result["rows"][0]
    rows = [
        ["all ready, s", number(row["all_ready_s"])],
        ["operator: CPU s", number(row["cpu_s"])],
        ["… requests to the API server for each claim", number(row["requests_each"])],
        ["… memory before and after, MB", f"{number(row['empty_rss_mb'])}, {number(row['rss_mb'])}"],
        ["API server and etcd: CPU s", number(row.get("api_cpu_s"))],
        ["contract stub: CPU s", number(row.get("stub_cpu_s"))],
        ["one more claim beside them, s", listed(row["one_more_s"])],
        [f"settled for {number(row['stay_s'])} s: API writes", number(row["stay_writes"])],
        ["… CPU, % of a core", number(row["stay_cpu_percent"])],
    ]
    return f"{table(['', number(row['claims']) + ' claims'], rows)}\n\n{machine(result)}"


def ready(result: Row) -> str:
    rows = [
        ["by the operator", listed(result["operator_s"]), number(median(result["operator_s"]))],
        ["`kubectl apply` of the same objects", listed(result["by_hand_s"]), number(median(result["by_hand_s"]))],
        ["ratio", "", number(result["ratio"])],
    ]
    found = table(["", "runs, s", "median, s"], rows)
    return f"{found}\n\n{result['objects']} objects. {machine(result)}"


def up(result: Row) -> str:
    titles = {
        "cold_s": "first `make up`, nothing compiled or built",
        "built_s": "a new cluster, everything built before",
        "again_s": "second `make up`, all running",
    }
    rows = [[title, number(result[key])] for key, title in titles.items() if key in result]
    steps = ", ".join(f"{step} {took}" for step, took in result["steps"].items())
    return f"{table(['', 'wall s'], rows)}\n\nSteps of the first (some overlap): {steps}. {machine(result)}"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---", *("---:" for _ in heads[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machine(result: Row) -> str:
    found = result["machine"]
    return (
        f"{found['cores']} cores ({found['processor']}), {found['memory_gib']} GiB, Linux {found['kernel']}, "
        f"Python {found['python']}; load: {found['load']:.1f}."
    )


def listed(values: Iterable[float]) -> str:
    return ", ".join(map(number, values))


def number(value: float | None) -> str:
    """Three figures that matter; – where nothing was measured."""
    if value is None:
        return "–"
    if abs(value) >= 100 or value == int(value):
        return f"{round(value):,}".replace(",", " ")
    return f"{value:.3g}"


def ratio(ours: float, theirs: float) -> str:
    return f"{ours / theirs:.2f}" if theirs else "–"


TABLES: dict[str, Callable[[Row], str]] = {
    "small": small,
    "product": product,
    "claims": claims,
    "ready": ready,
    "up-cold": up,
    "up-warm": up,
}
