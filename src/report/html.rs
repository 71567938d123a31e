//! The report as one HTML file: no network, no script, safe against hostile names.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::data::{Model, Report};
use super::words::{date, dollars, heading, interval, name, prose, snippet, value};
use crate::config::{show_count, show_counted, show_duration};
use crate::stats::ErrorCategory;
use crate::stats::metric::Metric;
use crate::stats::money::Money;
use crate::stats::paired::Comparison;
use crate::store::aggregate::category;

/// The style; [`STYLE_HASH`] admits it and no other.
pub(super) const STYLE: &str = include_str!("style.css");
/// SHA-256 of [`STYLE`] in base64.
pub(super) const STYLE_HASH: &str = "eLIWswT7NSlQkTEuwZmCW93a0T9ZfNFYLfJNGPuYMx4=";

/// Models of the pairwise matrix.
const MATRIX: usize = 20;
/// Changed tests that are listed.
const FLIPS: usize = 100;

/// The whole file.
pub(super) fn page(report: &Report) -> String {
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{STYLE_HASH}'; base-uri 'none'; form-action 'none'"
    );
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "evaltop: " (name(&report.name)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    (masthead(report))
                    (answer(report))
                    (leaderboard(report))
                    (not_counted(report))
                    (against(report))
                    (heat(report))
                    (matrix(report))
                    (errors(report))
                    (cost(report))
                    (over_time(report))
                    (methods(report))
                }
            }
        }
    }
    .into_string()
}

fn masthead(report: &Report) -> Markup {
    html! {
        header {
            h1 { "Evaluation report: " bdi { (name(&report.name)) } }
            p.dim {
                @if let Some(session) = &report.request.session { "session " bdi { (name(session)) } " · " }
                @if let Some(baseline) = &report.request.baseline { "baseline " bdi { (name(baseline)) } " · " }
                (show_counted(report.tests(), "test")) " of " (show_counted(report.models.len() as u64, "model"))
                @for (what, value) in &report.request.metadata { " · " (name(what)) " " bdi { (name(value)) } }
                @if let Some((from, to)) = report.window { " · " (date(from, report)) " to " (date(to, report)) " (" (report.zone) ")" }
            }
            @if let Some(planned) = report.request.planned {
                @if report.tests() < planned {
                    p.band { "Incomplete: " (show_count(report.tests())) " of " (show_count(planned)) " planned tests." }
                }
            }
        }
    }
}

fn answer(report: &Report) -> Markup {
    html! {
        section { h2 { "In short" }
            @for sentence in super::words::sentences(report) { p.answer { (sentence) } }
        }
    }
}

/// The ends of the scale on which the metric is drawn.
fn scale(report: &Report) -> String {
    let (metric, (low, high)) = (&report.request.metric, report.scale);
    if metric.is_success() {
        return "0 – 100 %".to_owned();
    }
    format!("{} – {}", metric.brief(low), metric.brief(high))
}

/// A value with its interval on that scale.
fn bar(report: &Report, model: &Model) -> Markup {
    let x = |value: f64| format!("{:.1}", 4.0 + report.share(value) * 152.0);
    let shown = value(&report.request.metric, model.rate);
    html! {
        svg viewBox="0 0 160 16" width="160" height="16" role="img" aria-label=(shown) {
            line.axis x1="4" y1="8" x2="156" y2="8" {}
            @if let Some(range) = model.interval { line.bar x1=(x(range.low)) y1="8" x2=(x(range.high)) y2="8" {} }
            @if let Some(rate) = model.rate { circle.dot cx=(x(rate)) cy="8" r="4" {} }
        }
    }
}

fn leaderboard(report: &Report) -> Markup {
    let metric = &report.request.metric;
    let against = |model: &Model| {
        let found = report.against.get(&model.contender.value);
        found.map_or_else(
            || "–".to_owned(),
            |own| super::words::difference(metric, own),
        )
    };
    let money = report
        .models
        .iter()
        .any(|model| model.spent.total().is_some());
    html! {
        section { h2 { "Leaderboard" }
            div.wide tabindex="0" role="region" aria-label="leaderboard" { table {
                thead { tr {
                    th scope="col" { "Model" } th scope="col" { (scale(report)) } th.n scope="col" { bdi { (heading(metric)) } } th scope="col" { "95 % interval" }
                    th scope="col" { "Rank" } th.n scope="col" { "Tests" } th.n scope="col" { "Unscored" } th.n scope="col" { "Infra" }
                    @if !report.against.is_empty() { th.n scope="col" { "Against baseline" } }
                    @if money { th.n scope="col" { "Cost" } }
                } }
                tbody { @for model in report.ranked() { tr {
                    td.name { bdi { (name(&model.contender.value)) } }
                    td { (bar(report, model)) }
                    td.n { (value(metric, model.rate)) }
                    td { (interval(metric, model.interval)) }
                    td { (super::words::rank(model)) }
                    td.n { (show_count(model.contender.tally.tests)) }
                    td.n { (show_count(model.contender.tally.unscored)) }
                    td.n { (show_count(model.contender.tally.infrastructure())) }
                    @if !report.against.is_empty() { td.n { (against(model)) } }
                    @if money { td.n { (dollars(model.spent.dollars())) } }
                } } }
            } }
        }
    }
}

fn not_counted(report: &Report) -> Markup {
    html! {
        section { h2 { "Not counted" }
            @if report.left_out.is_empty() { p { "Nothing was left out." } }
            @else { ul { @for line in &report.left_out { li { (prose(line)) } } } }
        }
    }
}

fn difference(metric: &Metric, found: &Comparison) -> Markup {
    let gain = metric.gain(found.difference.map_or(0.0, |own| own.value));
    let apart = super::words::is_apart(found);
    let shown = super::words::difference(metric, found);
    html! {
        @if apart && gain > 0.0 { span.yes { (shown) } }
        @else if apart { span.no { (shown) } }
        @else { (shown) }
    }
}

fn against(report: &Report) -> Markup {
    if report.overall.is_none() {
        return html! {};
    }
    let metric = &report.request.metric;
    let (flips, count) = (&report.flips.0, report.flips.1);
    let [points, more, fewer] = if metric.is_success() {
        ["Points", "Fixed", "Broken"]
    } else {
        ["Difference", "Higher in", "Lower in"]
    };
    html! {
        section { h2 { "Against the baseline" }
            div.wide tabindex="0" role="region" aria-label="models against the baseline" { table {
                thead { tr { th scope="col" { "Model" } th.n scope="col" { (points) } th scope="col" { "95 % interval" } th.n scope="col" { "p" } th.n scope="col" { (more) } th.n scope="col" { (fewer) } th.n scope="col" { "Pairs" } } }
                tbody { @for (model, found) in &report.against { tr {
                    td.name { bdi { (name(model)) } }
                    td.n { (difference(metric, found)) }
                    td { (super::words::range(metric, found)) }
                    td.n { (super::words::p(found.difference.and_then(|own| own.p))) }
                    td.n { (format!("{:.0}", found.only_first)) }
                    td.n { (format!("{:.0}", found.only_second)) }
                    td.n { (show_count(found.pairs)) }
                } } }
            } }
            @if count > 0 {
                p { (show_counted(count, "test")) " ended otherwise than in the baseline." }
                div.wide tabindex="0" role="region" aria-label="changed tests" { table {
                    thead { tr { th scope="col" { "Test" } th scope="col" { "Of" } th scope="col" { "Now" } @if report.request.with_texts { th scope="col" { "What the failure says" } th scope="col" { "Logs" } } } }
                    tbody { @for flip in flips.iter().take(FLIPS) { @let fixed = flip.rates.first() > flip.rates.last(); tr {
                        td.name { bdi { (name(&flip.test)) } }
                        td { bdi { (name(&flip.cell)) } }
                        td { @if fixed { span.yes { "fixed" } } @else { span.no { "broken" } } }
                        @if report.request.with_texts {
                            td.text { (snippet(if fixed { flip.notes.last() } else { flip.notes.first() }.map_or("", String::as_str))) }
                            td { @for log in flip.logs.iter().filter(|log| !log.is_empty()) { (link(log)) " " } }
                        }
                    } } }
                } }
                @if count > FLIPS as u64 { p.dim { "and " (show_count(count - FLIPS as u64)) " more" } }
            }
        }
    }
}

fn heat(report: &Report) -> Markup {
    if report.tasks.is_empty() {
        return html! {};
    }
    let metric = &report.request.metric;
    let what = if metric.is_success() {
        "Success in per cent".to_owned()
    } else {
        format!("Mean {}", heading(metric))
    };
    // The better, the bluer.
    let shade = |mean: f64| {
        let share = report.share(mean);
        let share = if metric.gain(1.0) > 0.0 {
            share
        } else {
            1.0 - share
        };
        (share * 10.0).round()
    };
    let cell = |mean: f64| {
        if metric.is_success() {
            format!("{:.0}", mean * 100.0)
        } else {
            metric.brief(mean)
        }
    };
    html! {
        section { h2 { "Models by task" }
            p.dim { (what) "; hatched, in print italic, where a cell has fewer than 10 tests. Point at a cell for its tests." }
            div.wide tabindex="0" role="region" aria-label="models by task" { table.heat {
                thead { tr { td {} @for task in &report.tasks { th scope="col" { bdi { (name(task)) } } } } }
                tbody { @for (at, model) in report.models.iter().enumerate() { tr {
                    td.name { bdi { (name(&model.contender.value)) } }
                    @for task in 0..report.tasks.len() {
                        @match report.heat.get(&(at, task)) {
                            Some((tests, Some(rate))) => td class=(format!("h{}{}", shade(*rate), if *tests < 10 { " few" } else { "" })) title=(format!("n {tests}")) { (cell(*rate)) },
                            Some((tests, None)) => td title=(format!("n {tests}, without a value")) { "–" },
                            None => td {},
                        }
                    }
                } } }
            } }
        }
    }
}

fn matrix(report: &Report) -> Markup {
    let best: Vec<usize> = report.order().into_iter().take(MATRIX).collect();
    if best.len() < 2 {
        return html! {};
    }
    let metric = &report.request.metric;
    let what = if metric.is_success() {
        "Difference in points".to_owned()
    } else {
        format!("Difference in {}", heading(metric))
    };
    html! {
        section { h2 { "Pairs" }
            p.dim { (what) ", row less column, on the tests that both had; marked where it is significant at 5 % (Holm)." }
            div.wide tabindex="0" role="region" aria-label="pairs of models" { table.pairs {
                thead { tr { td {} @for at in &best { th scope="col" { bdi { (name(report.model_name(*at))) } } } } }
                tbody { @for row in &best { tr {
                    td.name { bdi { (name(report.model_name(*row))) } }
                    @for column in &best {
                        td.n { @if let Some((value, significant)) = report.pair(*row, *column) {
                            @let shown = metric.signed(value);
                            @if significant && metric.gain(value) > 0.0 { span.yes { (shown) "*" } }
                            @else if significant { span.no { (shown) "*" } }
                            @else { (shown) }
                        } }
                    }
                } } }
            } }
        }
    }
}

/// Whether an error is none of the model's.
fn is_infrastructure(kind: &str) -> bool {
    category(Some(kind), None) == Some(ErrorCategory::Infrastructure)
}

fn errors(report: &Report) -> Markup {
    if report.errors.is_empty() {
        return html! {};
    }
    html! {
        section { h2 { "Errors" }
            div.wide tabindex="0" role="region" aria-label="errors by model" { table {
                thead { tr { th scope="col" { "Model" } @for kind in &report.errors { th.n scope="col" { bdi { (name(kind)) } @if is_infrastructure(kind) { " (infra)" } } } } }
                tbody { @for (at, model) in report.models.iter().enumerate() { tr {
                    td.name { bdi { (name(&model.contender.value)) } }
                    @for kind in 0..report.errors.len() { td.n { (report.errors_of.get(&(at, kind)).map_or_else(String::new, i64::to_string)) } }
                } } }
            } }
            @if report.more_errors > 0 { p.dim { (show_counted(report.more_errors as u64, "rarer kind")) " not shown" } }
            @if !report.examples.is_empty() {
                h3 { "One of each kind" }
                div.wide tabindex="0" role="region" aria-label="examples of errors" { table {
                    thead { tr { th scope="col" { "Error" } th scope="col" { "Model" } th scope="col" { "Test" } th scope="col" { "What it says" } th scope="col" { "Log" } } }
                    tbody { @for own in &report.examples { tr {
                        td { bdi { (name(&own.what)) } @if is_infrastructure(&own.what) { " " span.dim { "(infra)" } } }
                        td.name { bdi { (name(&own.model)) } }
                        td.name { bdi { (name(&own.test)) } }
                        td.text { (snippet(&own.message)) }
                        td { (link(&own.log)) }
                    } } }
                } }
            }
        }
    }
}

fn cost(report: &Report) -> Markup {
    let any = |of: fn(&Model) -> bool| report.models.iter().any(of);
    if !any(|model| model.spent.total().is_some() || model.seconds.is_some()) {
        return html! {};
    }
    html! {
        section { h2 { "Cost and time" }
            div.wide tabindex="0" role="region" aria-label="cost and time" { table {
                thead { tr { th scope="col" { "Model" } th.n scope="col" { "Cost" } th.n scope="col" { "A pass" } th.n scope="col" { "Billed" } th.n scope="col" { "Judge" } th.n scope="col" { "Derived" } th.n scope="col" { "Tests without cost" } th.n scope="col" { "Tokens" } th.n scope="col" { "Mean time" } th.n scope="col" { "p95" } } }
                tbody { @for model in &report.models { @let spent = &model.spent; tr {
                    td.name { bdi { (name(&model.contender.value)) } }
                    td.n { (dollars(spent.dollars())) }
                    td.n { (dollars(spent.per_pass())) }
                    td.n { (part(spent.billed)) }
                    td.n { (part(spent.judge)) }
                    td.n { (part(spent.derived)) }
                    td.n { (show_count(spent.unknown())) }
                    td.n { @if spent.tokens > 0 { (show_count(spent.tokens)) } @else { "–" } }
                    td.n { (model.seconds.map_or_else(|| "–".to_owned(), show_duration)) }
                    td.n { (model.p95.map_or_else(|| "–".to_owned(), show_duration)) }
                } } }
            } }
            @if !report.slowest.is_empty() {
                h3 { "Slowest tests" }
                div.wide tabindex="0" role="region" aria-label="slowest tests" { table {
                    thead { tr { th.n scope="col" { "Time" } th scope="col" { "Model" } th scope="col" { "Test" } @if report.request.with_texts { th scope="col" { "Log" } } } }
                    tbody { @for own in &report.slowest { tr {
                        td.n { (own.what.parse().map_or_else(|_| own.what.clone(), show_duration)) }
                        td.name { bdi { (name(&own.model)) } }
                        td.name { bdi { (name(&own.test)) } }
                        @if report.request.with_texts { td { (link(&own.log)) } }
                    } } }
                } }
            }
        }
    }
}

fn part(own: Money) -> String {
    if own.n == 0 {
        return "–".to_owned();
    }
    dollars(Some(crate::stats::money::dollars(own.billionths)))
}

/// Where a log is: a link where that is an address or a path that stays below the report.
fn link(log: &str) -> Markup {
    let shown = name(log);
    let target = super::words::target(log);
    html! {
        @if let Some(target) = target { a href=(target) rel="noreferrer" { bdi { (shown) } } }
        @else { bdi { (shown) } }
    }
}

fn over_time(report: &Report) -> Markup {
    let most = report
        .moments
        .iter()
        .map(|own| own.tests)
        .max()
        .unwrap_or(0);
    if report.moments.len() < 2 || most == 0 {
        return html! {};
    }
    let (first, last) = report
        .moments
        .iter()
        .fold((i64::MAX, i64::MIN), |(low, high), own| {
            (low.min(own.at), high.max(own.at))
        });
    let width = report.width * 1_000_000;
    let span = (last + width - first) as f64;
    let x = |at: i64| 40.0 + (at - first) as f64 / span * 740.0;
    let y = |share: f64| 140.0 - share * 120.0;
    let metric = &report.request.metric;
    let (low, high) = report.scale;
    let label = |share: f64| {
        if metric.is_success() {
            format!("{:.0}%", share * 100.0)
        } else {
            metric.brief(low + share * (high - low))
        }
    };
    let line: Vec<String> = report
        .moments
        .iter()
        .filter_map(|own| {
            Some(format!(
                "{:.1},{:.1}",
                x(own.at + width / 2),
                y(report.share(own.rate?))
            ))
        })
        .collect();
    let marks: Vec<&(i64, String)> = report
        .request
        .marks
        .iter()
        .filter(|(at, _)| (first..=last + width).contains(at))
        .collect();
    html! {
        section { h2 { "Over time" }
            p.dim { "Bars: tests in " (show_duration(report.width as f64)) ", at most " (show_count(most)) ". Line: " (if metric.is_success() { "success".to_owned() } else { format!("mean {}", heading(metric)) }) ", " (scale(report)) "." }
            svg viewBox="0 0 800 170" width="800" height="170" role="img" aria-label="Tests and what they came to over time" {
                @for share in [0.0, 0.5, 1.0] { line.axis x1="40" x2="780" y1=(y(share)) y2=(y(share)) {} text x="34" y=(y(share) + 4.0) text-anchor="end" { (label(share)) } }
                @for own in &report.moments { @let high = own.tests as f64 / most as f64 * 120.0;
                    rect.area x=(format!("{:.1}", x(own.at))) y=(format!("{:.1}", 140.0 - high)) width=(format!("{:.1}", (x(own.at + width) - x(own.at) - 1.0).max(0.5))) height=(format!("{high:.1}")) {}
                }
                polyline.curve points=(line.join(" ")) {}
                @for (at, what) in &marks { line.mark x1=(format!("{:.1}", x(*at))) x2=(format!("{:.1}", x(*at))) y1="14" y2="140" { title { (name(what)) } } }
                text x="40" y="160" { (date(first, report)) }
                text x="780" y="160" text-anchor="end" { (date(last + width, report)) }
            }
            @if !marks.is_empty() {
                ul { @for (at, what) in marks.iter().take(20) { li { (date(*at, report)) ": " (prose(what)) } } }
            }
        }
    }
}

fn methods(report: &Report) -> Markup {
    let store = name(&report.name);
    let metric = &report.request.metric;
    let own = name(&metric.name);
    let chosen = if metric.is_success() {
        String::new()
    } else {
        format!(" --metric '{own}'")
    };
    html! {
        section { h2 { "Methods" }
            ul {
                li { "Success rate: full successes over tests with a verdict, each test once; of several attempts at one test the newest counts. Interval: Wilson, 95 %." }
                @if !metric.is_success() {
                    li { "Mean " bdi { (own) } ": over the tests with a value. Interval: t at 95 %, standard error clustered by task; " (if metric.gain(1.0) > 0.0 { "higher" } else { "lower" }) " is better. Differences: each test by its mean on either side, clustered by task, t." }
                }
                li { "Pairs: the tests that both had, by task_id or test_id within one prompt type, difficulty, task type and tool success rate. Single trials: McNemar, exact where few differ or where the two disagree. Several trials: t, standard error clustered by task. p-values of all pairs are adjusted by Holm." }
                li { "Rank: from one more than the models significantly better, to all less those significantly worse." }
                li { "Cost: as billed in the rows, else derived from tokens and prices; the sums are exact. The judge's cost is counted apart." }
                @for price in &report.prices { li { "Price of " bdi { (name(&price.model)) } @if let Some(from) = price.from { " since " (date(from.as_microsecond(), report)) } ": $" (price.rates.input) " in, $" (price.rates.output) " out a million tokens (" bdi { (name(&price.file)) } ")" } }
            }
            pre tabindex="0" { "evaltop compare " (store) (chosen) " --format json\nevaltop query " (store) " --group-by model" (chosen) "\nevaltop query " (store) " --group-by model,task_id --agg 'count(),mean(" (own) ")'\nevaltop query " (store) " --group-by model,error_type --agg 'count()'\nevaltop cost " (store) }
            p { a download="models.csv" href=(super::words::csv(report)) { "The figures by model as CSV" } " · " a download="cells.csv" href=(super::words::cells(report)) { "All cells as CSV" } @if report.more_cells > 0 { " (without the last " (show_count(report.more_cells as u64)) ")" } }
            p.dim { "evaltop " (env!("CARGO_PKG_VERSION")) ", " (date(report.made.as_microsecond(), report)) }
        }
    }
}
