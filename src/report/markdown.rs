//! The report for chats and pull requests.

use std::fmt::Write as _;

use super::data::Report;
use super::words::{difference, dollars, heading, interval, name, prose, rank, sentences, value};
use crate::config::show_count;
use crate::formats::markdown::escape;

pub(super) fn page(report: &Report) -> String {
    let metric = &report.request.metric;
    let mut text = String::new();
    // Writing to a string can't fail.
    let _ = writeln!(
        text,
        "## Evaluation report: {}\n",
        escape(&name(&report.name))
    );
    for sentence in sentences(report) {
        let _ = writeln!(text, "{}", escape(&sentence));
    }
    let _ = writeln!(
        text,
        "\n| model | {} | 95 % interval | rank | tests | unscored | against baseline | cost |\n| --- | ---: | --- | --- | ---: | ---: | ---: | ---: |",
        escape(&if metric.is_success() {
            "success".to_owned()
        } else {
            heading(metric)
        })
    );
    for model in report.ranked() {
        let against = report.against.get(&model.contender.value);
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            escape(&name(&model.contender.value)),
            value(metric, model.rate),
            interval(metric, model.interval),
            rank(model),
            show_count(model.contender.tally.tests),
            show_count(model.contender.tally.unscored),
            against.map_or_else(|| "–".to_owned(), |own| difference(metric, own)),
            dollars(model.spent.dollars())
        );
    }
    if !report.left_out.is_empty() {
        let _ = writeln!(text, "\nNot counted:\n");
        for line in &report.left_out {
            let _ = writeln!(text, "- {}", escape(&prose(line)));
        }
    }
    text
}
