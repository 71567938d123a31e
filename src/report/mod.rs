//! The report that is sent to others: what a store says, in one HTML or Markdown file.

mod data;
mod html;
mod markdown;
mod words;

pub use data::{Report, Request};

use data::Model;

impl Report {
    /// One HTML file that needs nothing else.
    pub fn html(&self) -> String {
        html::page(self)
    }

    /// The same for chats and pull requests: the sentences and the leaderboard.
    pub fn markdown(&self) -> String {
        markdown::page(self)
    }

    /// Models, the best first; those of which nothing is known stand last.
    fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.models.len()).collect();
        let rate = |at: &usize| {
            let rate = self.models.get(*at).and_then(|model| model.rate);
            rate.map_or(f64::NEG_INFINITY, |rate| self.request.metric.gain(rate))
        };
        order.sort_by(|one, other| rate(other).total_cmp(&rate(one)));
        order
    }

    fn ranked(&self) -> Vec<&Model> {
        self.order()
            .into_iter()
            .filter_map(|at| self.models.get(at))
            .collect()
    }

    fn model_name(&self, at: usize) -> &str {
        self.models
            .get(at)
            .map_or("", |model| &model.contender.value)
    }

    /// The difference of two models, and whether it is significant.
    fn pair(&self, row: usize, column: usize) -> Option<(f64, bool)> {
        let mut pairs = self.contrasts.iter().zip(&self.significant);
        let (contrast, (_, significant)) = pairs.find(|(own, _)| {
            (own.first, own.second) == (row, column) || (own.second, own.first) == (row, column)
        })?;
        let value = contrast.found.difference?.value;
        Some((
            if contrast.first == row { value } else { -value },
            *significant,
        ))
    }
}

#[cfg(test)]
mod tests;
