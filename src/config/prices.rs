//! Price files: the user's TOML, Inspect's model cost file, LiteLLM's JSON.
//!
//! ```toml
//! [[price]]
//! model = "gpt-4o*"          # * stands for any letters
//! from = "2026-01-01"        # in force since; optional
//! input = 2.5                # dollars a million tokens
//! output = 10
//! cache_read = 1.25          # those of input where they are not said
//! cache_write = 2.5
//! tiers = [{ above = 200_000, input = 5, output = 15 }]
//! ```

use std::path::Path;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::ConfigError;
use crate::stats::prices::{Price, Rates};

/// No price file is longer: LiteLLM's has two megabytes.
const MOST_BYTES: u64 = 64 << 20;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    price: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    model: String,
    #[serde(default)]
    from: Option<String>,
    input: f64,
    output: f64,
    #[serde(default)]
    cache_read: Option<f64>,
    #[serde(default)]
    cache_write: Option<f64>,
    #[serde(default)]
    tiers: Vec<Tier>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tier {
    above: u64,
    input: f64,
    output: f64,
    #[serde(default)]
    cache_read: Option<f64>,
    #[serde(default)]
    cache_write: Option<f64>,
}

/// The prices of a file.
pub(super) fn read(path: &Path) -> Result<Vec<Price>, ConfigError> {
    let wrong = |problem: String| ConfigError::Wrong {
        place: path.display().to_string(),
        problem,
    };
    let unread = |source| ConfigError::Read {
        path: path.to_path_buf(),
        source,
    };
    let file = std::fs::File::open(path).map_err(unread)?;
    let mut text = String::new();
    let read = std::io::Read::take(file, MOST_BYTES);
    std::io::Read::read_to_string(&mut { read }, &mut text).map_err(unread)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let extension = path.extension().and_then(|own| own.to_str()).unwrap_or("");
    let prices = match extension.to_ascii_lowercase().as_str() {
        "toml" => toml_prices(&text)
            .map_err(|error| super::load::wrong(path, &text, &error))?
            .map_err(wrong)?,
        "json" => {
            let all: Map<String, Value> = serde_json::from_str(&text)
                .map_err(|error| wrong(format!("this is not a JSON object of models: {error}")))?;
            json_prices(&all).map_err(wrong)?
        }
        "yaml" | "yml" => yaml_prices(&text).map_err(wrong)?,
        _ => {
            return Err(wrong(
                "a price file is TOML, JSON (LiteLLM's or Inspect's) or Inspect's YAML: its name must say which"
                    .to_owned(),
            ));
        }
    };
    let named = |mut price: Price| {
        price.file = name.clone().into_owned();
        price
    };
    let prices: Vec<Price> = prices.into_iter().map(named).collect();
    for price in &prices {
        check(price).map_err(wrong)?;
    }
    Ok(prices)
}

fn check(price: &Price) -> Result<(), String> {
    let tiers = price.tiers.iter().map(|(_, rates)| rates);
    for rates in tiers.chain([&price.rates]) {
        let all = [
            Some(rates.input),
            Some(rates.output),
            rates.cache_read,
            rates.cache_write,
        ];
        if let Some(odd) = all
            .into_iter()
            .flatten()
            .find(|price| !(0.0..=1e6).contains(price))
        {
            return Err(format!(
                "{odd} is not a price of a million tokens of {}: write dollars, 0 or more",
                price.model
            ));
        }
    }
    Ok(())
}

fn toml_prices(text: &str) -> Result<Result<Vec<Price>, String>, toml::de::Error> {
    let file: File = toml::from_str(text)?;
    Ok(file.price.into_iter().map(price).collect())
}

fn price(entry: Entry) -> Result<Price, String> {
    let from = entry.from.as_deref().map(since).transpose()?;
    let mut tiers: Vec<(u64, Rates)> = entry
        .tiers
        .into_iter()
        .map(|tier| {
            let rates = Rates {
                input: tier.input,
                output: tier.output,
                cache_read: tier.cache_read,
                cache_write: tier.cache_write,
            };
            (tier.above, rates)
        })
        .collect();
    tiers.sort_by_key(|(above, _)| *above);
    Ok(Price {
        model: entry.model,
        from,
        rates: Rates {
            input: entry.input,
            output: entry.output,
            cache_read: entry.cache_read,
            cache_write: entry.cache_write,
        },
        tiers,
        file: String::new(),
    })
}

fn since(text: &str) -> Result<Timestamp, String> {
    let day = |text: &str| {
        let day = text.parse::<Date>().ok()?;
        Some(day.to_zoned(TimeZone::UTC).ok()?.timestamp())
    };
    text.parse()
        .ok()
        .or_else(|| day(text))
        .ok_or_else(|| format!("'{text}' is not a date: write 2026-01-31"))
}

/// LiteLLM's list has prices of one token, Inspect's of a million.
fn json_prices(all: &Map<String, Value>) -> Result<Vec<Price>, String> {
    let mut prices = Vec::new();
    for (model, value) in all {
        let Some(value) = value.as_object() else {
            continue;
        };
        let number = |name: &str| value.get(name).and_then(Value::as_f64);
        if let (Some(input), Some(output)) = (number("input"), number("output")) {
            prices.push(Price {
                model: model.clone(),
                rates: Rates {
                    input,
                    output,
                    cache_read: number("input_cache_read"),
                    cache_write: number("input_cache_write"),
                },
                ..Price::default()
            });
            continue;
        }
        // The list also has models that are paid by the image or the second.
        let million = |name: &str| number(name).map(|price| price * 1e6);
        let (Some(input), Some(output)) = (
            million("input_cost_per_token"),
            million("output_cost_per_token"),
        ) else {
            continue;
        };
        if model == "sample_spec" {
            continue;
        }
        let rates = Rates {
            input,
            output,
            cache_read: million("cache_read_input_token_cost"),
            cache_write: million("cache_creation_input_token_cost"),
        };
        let mut tiers = Vec::new();
        for (name, price) in value {
            let Some(above) = name
                .strip_prefix("input_cost_per_token_above_")
                .and_then(|rest| rest.strip_suffix("k_tokens"))
            else {
                continue;
            };
            let (Ok(thousands), Some(price)) = (above.parse::<u64>(), price.as_f64()) else {
                continue;
            };
            let tier = |name: &str| million(&format!("{name}_above_{above}k_tokens"));
            tiers.push((
                thousands * 1_000,
                Rates {
                    input: price * 1e6,
                    output: tier("output_cost_per_token").unwrap_or(output),
                    cache_read: tier("cache_read_input_token_cost").or(rates.cache_read),
                    cache_write: tier("cache_creation_input_token_cost").or(rates.cache_write),
                },
            ));
        }
        tiers.sort_by_key(|(above, _)| *above);
        prices.push(Price {
            model: model.clone(),
            rates,
            tiers,
            ..Price::default()
        });
    }
    if prices.is_empty() {
        return Err(
            "no price in it: models have input_cost_per_token (LiteLLM) or input and output a million (Inspect)"
                .to_owned(),
        );
    }
    Ok(prices)
}

/// Inspect's file as YAML: a block a model, a line a price.
fn yaml_prices(text: &str) -> Result<Vec<Price>, String> {
    let mut all: Map<String, Value> = Map::new();
    let mut model = None;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split(" #").next().unwrap_or_default().trim_end();
        if line.trim().is_empty() || line.starts_with('#') || line == "---" {
            continue;
        }
        let odd = || {
            format!(
                "line {number}: write a model and a colon, and under it, indented, input: 2.5 and so on"
            )
        };
        let (name, value) = line.rsplit_once(':').ok_or_else(odd)?;
        let (inside, name) = (
            name.starts_with([' ', '\t']),
            name.trim().trim_matches(['"', '\'']),
        );
        let value = value.trim();
        match (inside, &model) {
            (false, _) if value.is_empty() => {
                all.insert(name.to_owned(), Value::Object(Map::new()));
                model = Some(name.to_owned());
            }
            (true, Some(model)) => {
                let price: f64 = value.parse().map_err(|_| odd())?;
                if let Some(Value::Object(of)) = all.get_mut(model) {
                    of.insert(name.to_owned(), price.into());
                }
            }
            _ => return Err(odd()),
        }
    }
    json_prices(&all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(name: &str, text: &str) -> Result<Vec<Price>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        read(&path).map_err(|error| {
            let said = error.to_string();
            let folder = folder.path().display().to_string();
            said.replace(&format!("{folder}/"), "")
        })
    }

    #[test]
    fn the_three_forms_say_the_same() {
        let own = "[[price]]\nmodel = 'm'\ninput = 2.5\noutput = 10\ncache_read = 1.25\ncache_write = 3\n\
                   tiers = [{ above = 200_000, input = 5, output = 15, cache_read = 1.25, cache_write = 3 }]\n";
        let lite = r#"{"sample_spec": {"input_cost_per_token": 0.0, "output_cost_per_token": 0.0},
            "image": {"output_cost_per_image": 0.04},
            "m": {"input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05, "litellm_provider": "x",
                  "cache_read_input_token_cost": 1.25e-06, "cache_creation_input_token_cost": 3e-06,
                  "input_cost_per_token_above_200k_tokens": 5e-06, "output_cost_per_token_above_200k_tokens": 1.5e-05}}"#;
        let inspect = r#"{"m": {"input": 2.5, "output": 10, "input_cache_write": 3, "input_cache_read": 1.25}}"#;
        let yaml = "# ours\n\"m\":\n  input: 2.5\n  output: 10.0 # dollars\n  input_cache_write: 3\n  input_cache_read: 1.25\n";
        let tokens = crate::stats::money::Tokens {
            n: 1,
            input: 100,
            output: 10,
            reasoning: 0,
            cache_read: 40,
            cache_write: 8,
        };
        let cost = |name: &str, text: &str, tokens| {
            let prices = from(name, text).unwrap();
            assert_eq!(prices.len(), 1, "{prices:?}");
            prices[0].cost(tokens)
        };
        for (name, text) in [
            ("p.toml", own),
            ("p.json", lite),
            ("i.json", inspect),
            ("i.yaml", yaml),
        ] {
            // 100·2.5 + 10·10 + 40·1.25 + 8·3 = 424 millionths.
            assert_eq!(cost(name, text, &tokens), 424_000_000, "{name}");
        }
        let large = crate::stats::money::Tokens {
            input: 300_000,
            ..tokens
        };
        assert_eq!(cost("p.toml", own, &large), cost("p.json", lite, &large));
    }

    #[test]
    fn a_wrong_price_file_is_named_with_what_is_wrong() {
        for (name, text, said) in [
            (
                "p.toml",
                "[[price]]\nmodel = 'm'\ninput = -1\noutput = 2\n",
                "p.toml: -1 is not a price of a million tokens of m",
            ),
            (
                "p.toml",
                "[[price]]\nmodel = 'm'\ninput = 1\n",
                "p.toml line 1: missing field 'output'",
            ),
            (
                "p.toml",
                "[[price]]\nmodel = 'm'\nfrom = 'soon'\ninput = 1\noutput = 2\n",
                "'soon' is not a date",
            ),
            (
                "p.json",
                "[1]",
                "p.json: this is not a JSON object of models",
            ),
            ("p.json", "{\"m\": {\"price\": 3}}", "no price in it"),
            (
                "p.yaml",
                "m:\n  input: [1]\n",
                "p.yaml: line 2: write a model and a colon",
            ),
            ("p.csv", "m,1,2", "its name must say which"),
        ] {
            let error = from(name, text).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
