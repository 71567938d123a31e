//! Prices of tokens, and what a test costs by them.
//!
//! A test costs Σ tokens·price over the kinds of its tokens. Reasoning is a part of the output
//! and priced with it. Where a price has tiers, the prompt (input, cache reads and cache writes)
//! decides: the tier with the largest bound below it prices all tokens of the test. Amounts are
//! whole numbers of trillionths of a dollar, so that a price of six decimals a million is exact.

use jiff::Timestamp;

use super::money::Tokens;

/// Trillionths in a billionth.
const THOUSAND: i128 = 1_000;

/// Prices of a million tokens of each kind, in dollars.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rates {
    /// Input that no cache served.
    pub input: f64,
    /// Output.
    pub output: f64,
    /// Input that a cache served; that of input where it is not said.
    pub cache_read: Option<f64>,
    /// Input that a cache took in; that of input where it is not said.
    pub cache_write: Option<f64>,
}

/// A price of a model from a time on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Price {
    /// The model; `*` stands for any letters.
    pub model: String,
    /// Since when; always where it is not said.
    pub from: Option<Timestamp>,
    /// The prices.
    pub rates: Rates,
    /// Prices of prompts with more tokens than this, ascending.
    pub tiers: Vec<(u64, Rates)>,
    /// The file that says so.
    pub file: String,
}

/// All prices that are known.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Prices(Vec<Price>);

impl Prices {
    /// Takes in more; the later one counts where two say the same.
    pub fn extend(&mut self, more: impl IntoIterator<Item = Price>) {
        self.0.extend(more);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every price.
    pub fn iter(&self) -> impl Iterator<Item = &Price> {
        self.0.iter()
    }

    /// The price of a model at a time: of those whose pattern fits most exactly the newest that
    /// was in force. A model's name with a provider before it, `openai/gpt-4o`, fits without it too.
    pub fn of(&self, model: &str, at: Option<Timestamp>) -> Option<&Price> {
        let bare = model.rsplit_once('/').map(|(_, bare)| bare);
        let in_force = |price: &&Price| match (price.from, at) {
            (Some(from), Some(at)) => from <= at,
            _ => true,
        };
        let exactness = |price: &Price| {
            let letters = price.model.len();
            if price.model == model {
                return Some((3, letters));
            }
            if bare == Some(price.model.as_str()) {
                return Some((2, letters));
            }
            let fits = |name: &str| price.model.contains('*') && matches(&price.model, name);
            (fits(model) || bare.is_some_and(fits)).then_some((1, letters))
        };
        self.0
            .iter()
            .filter(in_force)
            .filter_map(|price| Some((exactness(price)?, price.from, price)))
            .max_by_key(|(exactness, from, _)| (*exactness, *from))
            .map(|(_, _, price)| price)
    }
}

impl Price {
    /// What so many tokens of one test cost, in trillionths of a dollar.
    pub fn cost(&self, tokens: &Tokens) -> i128 {
        let prompt = tokens.input + tokens.cache_read + tokens.cache_write;
        let tier = self.tiers.iter().rev().find(|(above, _)| prompt > *above);
        let rates = tier.map_or(self.rates, |(_, rates)| *rates);
        let cost = |tokens: u64, price: f64| i128::from(tokens) * (price * 1e6).round() as i128;
        cost(tokens.input, rates.input)
            + cost(tokens.output, rates.output)
            + cost(tokens.cache_read, rates.cache_read.unwrap_or(rates.input))
            + cost(tokens.cache_write, rates.cache_write.unwrap_or(rates.input))
    }
}

/// Trillionths as billionths, rounded half away from zero.
pub fn in_billionths(trillionths: i128) -> i128 {
    (trillionths + trillionths.signum() * THOUSAND / 2) / THOUSAND
}

/// Whether a name fits a pattern with `*`.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(model: &str, from: Option<&str>, input: f64) -> Price {
        Price {
            model: model.to_owned(),
            from: from.map(|from| from.parse().unwrap()),
            rates: Rates {
                input,
                output: 10.0,
                ..Rates::default()
            },
            ..Price::default()
        }
    }

    #[test]
    fn the_most_exact_price_in_force_counts() {
        let mut prices = Prices::default();
        prices.extend([
            price("gpt-4o*", None, 3.0),
            price("gpt-4o", None, 5.0),
            price("gpt-4o", Some("2026-01-01T00:00:00Z"), 2.5),
            price("azure/gpt-4o", None, 7.0),
            price("*opus*4", None, 15.0),
        ]);
        let of = |model: &str, at: &str| {
            let at = (!at.is_empty()).then(|| at.parse().unwrap());
            prices.of(model, at).map(|price| price.rates.input)
        };
        assert_eq!(of("gpt-4o", "2025-12-31T23:00:00Z"), Some(5.0));
        assert_eq!(of("gpt-4o", "2026-01-01T00:00:00Z"), Some(2.5));
        assert_eq!(of("gpt-4o", ""), Some(2.5), "without a time the newest");
        assert_eq!(of("openai/gpt-4o", ""), Some(2.5));
        assert_eq!(of("azure/gpt-4o", ""), Some(7.0));
        assert_eq!(of("gpt-4o-mini", ""), Some(3.0));
        assert_eq!(of("claude-opus-4", ""), Some(15.0));
        assert_eq!((of("claude-opus-4.1", ""), of("gpt-4", "")), (None, None));
        assert!(matches("a*b*c", "a-b-b-c") && !matches("a*b", "a") && matches("*", ""));
    }

    #[test]
    fn kinds_and_tiers() {
        let mut price = price("m", None, 0.15);
        price.rates.cache_read = Some(0.0375);
        price.tiers = vec![(
            1_000,
            Rates {
                input: 1.0,
                ..price.rates
            },
        )];
        let mut tokens = Tokens {
            n: 1,
            input: 400,
            output: 20,
            reasoning: 15,
            cache_read: 600,
            cache_write: 0,
        };
        // 400·0.15 + 20·10 + 600·0.0375 = 282.5 millionths.
        assert_eq!(price.cost(&tokens), 282_500_000);
        assert_eq!(in_billionths(price.cost(&tokens)), 282_500);
        tokens.cache_write = 1;
        // 1,001 tokens of prompt: 401 at 1, the write at the price of input.
        assert_eq!(price.cost(&tokens), 623_500_000);
        assert_eq!((in_billionths(1_499), in_billionths(-1_500)), (1, -2));
    }
}
