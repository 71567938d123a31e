"""Recomputes with scipy and statsmodels what evaltop says of rows.jsonl; ends with an error
where a figure differs. Arguments: the folder with rows.jsonl and evaltop's answers."""

import itertools
import json
import pathlib
import sys

import numpy
import statsmodels.api
from scipy.special import comb
from scipy.stats import t, ttest_rel
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

folder = pathlib.Path(sys.argv[1])
rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]


def answer(name):
    return json.loads((folder / name).read_text())


def close(name, found, expected, tolerance=1e-9):
    if abs(found - expected) > tolerance * max(1, abs(expected)):
        sys.exit(f"{name}: evaltop says {found}, Python says {expected}")


def of(model):
    return [row for row in rows if row["model"] == model]


# The mean of a metric, its error clustered by task, its t interval.
for group in answer("metric.json"):
    own = of(group["model"])
    scores = numpy.array([row["score"] for row in own])
    tasks = numpy.unique([row["task_id"] for row in own], return_inverse=True)[1]
    fit = statsmodels.api.OLS(scores, numpy.ones(len(scores))).fit(
        cov_type="cluster", cov_kwds={"groups": tasks}, use_t=True
    )
    close("mean", group["mean_score"], fit.params[0])
    close("standard error", group["standard_error_score"], fit.bse[0])
    low, high = fit.conf_int()[0]
    close("low", group["ci_low_score"], low)
    close("high", group["ci_high_score"], high)

# The interval of a success rate: Wilson's at the effective number of tests.
for group in answer("rates.json"):
    own = of(group["model"])
    full = numpy.array([float(row["success"]) for row in own])
    tasks = numpy.unique([row["task_id"] for row in own], return_inverse=True)[1]
    fit = statsmodels.api.OLS(full, numpy.ones(len(full))).fit(
        cov_type="cluster", cov_kwds={"groups": tasks}
    )
    rate = full.mean()
    ratio = max(1.0, fit.bse[0] ** 2 / (rate * (1 - rate) / len(full)))
    effective = len(full) / ratio
    low, high = proportion_confint(rate * effective, effective, method="wilson")
    close("effective low", group["ci_low"], low)
    close("effective high", group["ci_high"], high)

# Percentiles.
for group in answer("percentiles.json"):
    scores = [row["score"] for row in of(group["model"])]
    close("median", group["median_score"], numpy.percentile(scores, 50))
    close("p95", group["p95_score"], numpy.percentile(scores, 95))
    close("stddev", group["stddev_score"], numpy.std(scores, ddof=1))

# pass@k and pass^k over trials.
for group in answer("trials.json"):
    at, hat = [], []
    own = sorted(of(group["model"]), key=lambda row: row["task_id"])
    for _, trials in itertools.groupby(own, key=lambda row: row["task_id"]):
        full = [row["success"] for row in trials]
        n, c = len(full), sum(full)
        at.append(1 - comb(n - c, 2) / comb(n, 2))
        hat.append(comb(c, 2) / comb(n, 2))
    close("pass@2", group["pass@2"], numpy.mean(at))
    close("pass^2", group["pass^2"], numpy.mean(hat))

# Single trials: McNemar exact, adjusted by Holm.
compared = answer("single.json")["comparisons"]
for one in compared:
    first = {row["task_id"]: row["success"] for row in of(one["first"]) if row["trial"] == 0}
    second = {row["task_id"]: row["success"] for row in of(one["second"]) if row["trial"] == 0}
    b = sum(first[task] and not second[task] for task in first)
    c = sum(second[task] and not first[task] for task in first)
    close("McNemar", one["difference"]["p"], mcnemar([[0, b], [c, 0]], exact=True).pvalue)
adjusted = multipletests([one["difference"]["p"] for one in compared], method="holm")[1]
for one, expected in zip(compared, adjusted):
    close("Holm", one["difference"]["p_adjusted"], expected)

# Several trials: the difference of means with its error clustered by task.
for one in answer("several.json")["comparisons"]:
    sides = []
    for model in (one["first"], one["second"]):
        own = sorted(of(model), key=lambda row: row["task_id"])
        grouped = itertools.groupby(own, key=lambda row: row["task_id"])
        sides.append({task: [row["success"] for row in trials] for task, trials in grouped})
    tasks = sorted(sides[0])
    apart = numpy.array([numpy.mean(sides[0][task]) - numpy.mean(sides[1][task]) for task in tasks])
    weights = numpy.array([min(len(side[task]) for side in sides) for task in tasks])
    value = (apart * weights).sum() / weights.sum()
    clusters = len(tasks)
    error = numpy.sqrt(clusters / (clusters - 1) * ((weights * (apart - value)) ** 2).sum()) / weights.sum()
    close("difference", one["difference"]["value"], value)
    close("clustered error", one["difference"]["standard_error"], error)
    close("p", one["difference"]["p"], 2 * t.sf(abs(value / error), clusters - 1))
    half = t.ppf(0.975, clusters - 1) * error
    close("interval", one["difference"]["ci_low"], value - half)

# A metric: with single trials the paired t test, with several its clustered generalisation.
for name in ("metric_single.json", "metric_several.json"):
    for one in answer(name)["comparisons"]:
        sides = []
        for model in (one["first"], one["second"]):
            own = [row for row in of(model) if name == "metric_several.json" or row["trial"] == 0]
            scores = {}
            for row in own:
                scores.setdefault(row["task_id"], []).append(row["score"])
            sides.append(scores)
        tasks = sorted(sides[0])
        if name == "metric_single.json":
            found = ttest_rel([sides[0][task][0] for task in tasks], [sides[1][task][0] for task in tasks])
            interval = found.confidence_interval()
            close("t", one["difference"]["value"] / one["difference"]["standard_error"], found.statistic)
            close("p of t", one["difference"]["p"], found.pvalue)
            close("low of t", one["difference"]["ci_low"], interval.low)
            close("high of t", one["difference"]["ci_high"], interval.high)
            continue
        apart = numpy.array([numpy.mean(sides[0][task]) - numpy.mean(sides[1][task]) for task in tasks])
        weights = numpy.array([min(len(side[task]) for side in sides) for task in tasks])
        value = (apart * weights).sum() / weights.sum()
        clusters = len(tasks)
        error = numpy.sqrt(clusters / (clusters - 1) * ((weights * (apart - value)) ** 2).sum()) / weights.sum()
        close("mean difference", one["difference"]["value"], value)
        close("its error", one["difference"]["standard_error"], error)
        close("its p", one["difference"]["p"], 2 * t.sf(abs(value / error), clusters - 1))

print("agreed")
