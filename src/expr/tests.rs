use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, DictionaryArray, Float64Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::Int32Type;
use proptest::prelude::*;

use super::*;

fn batch() -> RecordBatch {
    let models: DictionaryArray<Int32Type> =
        [Some("gpt-4o"), Some("opal"), None].into_iter().collect();
    let times = [1_767_225_600_000_000, 1_769_904_000_000_000, 0].to_vec(); // 2026-01-01, 2026-02-01
    RecordBatch::try_from_iter([
        ("model", Arc::new(models) as ArrayRef),
        (
            "score",
            Arc::new(Float64Array::from(vec![
                Some(0.3),
                Some(1.0),
                Some(f64::NAN),
            ])),
        ),
        (
            "turns",
            Arc::new(Int64Array::from(vec![
                Some(9_007_199_254_740_993),
                Some(2),
                None,
            ])),
        ),
        (
            "success",
            Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])),
        ),
        (
            "pred",
            Arc::new(StringArray::from(vec![Some("1.0"), Some("B"), Some("n/a")])),
        ),
        (
            "answer",
            Arc::new(StringArray::from(vec![Some("1"), Some("B"), Some("n/a")])),
        ),
        (
            "my score",
            Arc::new(Float64Array::from(vec![0.1, 0.2, 0.3])),
        ),
        (
            "exact-match",
            Arc::new(Float64Array::from(vec![1.0, 0.0, 1.0])),
        ),
        (
            "timestamp",
            Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC")),
        ),
    ])
    .unwrap()
}

fn bound(text: &str) -> Result<Bound, Error> {
    text.parse::<Expr>()?
        .bind(&batch().schema(), &Context::utc())
}

/// The truth of each row: 1, 0 or - for null.
fn truths(text: &str) -> String {
    let truths = bound(text)
        .unwrap_or_else(|e| panic!("{text}: {e}"))
        .truths(&batch())
        .unwrap();
    truths
        .iter()
        .map(|truth| truth.map_or('-', |truth| if truth { '1' } else { '0' }))
        .collect()
}

#[test]
fn conditions() {
    for (text, expected) in [
        ("score >= 0.3", "11-"),
        ("score == 1", "01-"),
        ("score<>1", "10-"),
        ("not score > 0.5", "10-"),
        ("score is null", "001"),
        ("score is not null", "110"),
        ("success", "10-"),
        ("success = false", "01-"),
        ("success = 1", "10-"),
        ("model = 'opal'", "01-"),
        ("model = \"opal\"", "01-"),
        ("'opal' = model", "01-"),
        ("model = opal", "01-"),
        ("model = gpt-4o", "10-"),
        ("model in (opal, 'x', gpt-4o)", "11-"),
        ("model not in ('opal')", "10-"),
        ("model like 'gp%4_'", "10-"),
        ("model not like '%p%a%'", "10-"),
        ("turns = 9007199254740993", "10-"),
        ("turns = 9007199254740992", "00-"),
        ("turns between 1 and 2", "01-"),
        ("pred = 1", "10-"),
        ("pred == answer", "011"),
        ("pred != 1", "01-"),
        ("my score < 0.15", "100"),
        ("`my score` >= 0.15", "011"),
        ("exact-match = 1 and exact - 1 = 0 or true", ""),
        ("exact-match = 1", "101"),
        ("score * 2 - 0.6 < 0.1 and turns % 2 = 1", "10-"),
        ("-score < -0.5", "01-"),
        ("score / 0 > 1", "---"),
        ("timestamp >= '2026-01-15'", "010"),
        ("timestamp < '2026-01-01T01:00:00+01:00'", "001"),
        ("timestamp - '2026-01-01' > 1", ""),
        ("timestamp + 31d >= '2026-02-01'", "110"),
        ("execution > 5m", ""),
        ("score > 1h", "00-"),
        (
            "hour(timestamp) = 0 and date(timestamp) = '2026-02-01'",
            "010",
        ),
        // Kleene: what is known decides.
        ("success or model is null", "101"),
        ("success and model is null", "00-"),
        ("(success or turns = 2) and not (score is null)", "110"),
        ("coalesce(score, 0) = 0", "001"),
        ("length(pred) = 3 AND lower(pred) = 'n/a'", "001"),
    ] {
        if expected.is_empty() {
            assert!(bound(text).is_err(), "{text}");
        } else {
            assert_eq!(truths(text), expected, "{text}");
        }
    }
    let matches = bound("score >= 0.3").unwrap().matches(&batch()).unwrap();
    assert_eq!((matches.true_count(), matches.null_count()), (2, 0));
}

#[test]
fn errors_say_what_was_meant() {
    for (text, expected) in [
        ("scroe >= 1", "no column 'scroe' (did you mean 'score'?)"),
        ("modle = opal", "no column 'modle' (did you mean 'model'?)"),
        (
            "score = high",
            "no column 'high' (text is written in quotes): the columns are model, score, turns, success, pred, answer, my score, exact-match, timestamp",
        ),
        ("score = '1'", "score is a number, but '1' is text"),
        (
            "score = null",
            "nothing equals null: write 'is null' or 'is not null'",
        ),
        (
            "timestamp > 'yesterday'",
            "'yesterday' is not a time: write '2026-01-31', '2026-01-31T12:00:00Z' or now() - 2h",
        ),
        ("timestamp > 5", "timestamp is a time, but 5 is a number"),
        (
            "score and success",
            "score is a number, but and, or and not join conditions",
        ),
        (
            "model + 1 > 2",
            "model is text, but only numbers can be computed with",
        ),
        (
            "score >= ",
            "the expression ends where a column, number or text is expected",
        ),
        (
            "score >= 1 score",
            "expected an operator (and, or, =, <, in, like, is null, + - * /) at 'score'",
        ),
        (
            "1 < turns < 3",
            "write a < b and b < c instead of a < b < c",
        ),
        ("model = 'opal", "a ' without its end"),
        (
            "score ~ 1",
            "unexpected '~' (text is written in quotes, a column with other letters in backticks)",
        ),
        (
            "houre(timestamp) = 1",
            "no function 'houre' (did you mean 'hour'?): there are abs, bucket, coalesce, date, hour, length, lower, round, upper, now",
        ),
        ("hour(score) = 1", "hour is called as hour(time)"),
        (
            "score, turns",
            "expected one expression, not several with commas between them",
        ),
        (
            "",
            "the expression ends where a column, number or text is expected",
        ),
    ] {
        assert_eq!(bound(text).unwrap_err().to_string(), expected, "{text}");
    }
    let deep = "(".repeat(100_000);
    assert!(bound(&deep).unwrap_err().to_string().contains("levels"));
    let long = "1+".repeat(100_000);
    assert!(bound(&long).is_err());
}

#[test]
fn bare_words_are_distinguished_from_columns() {
    let words = |text: &str| {
        let words = bound(text).unwrap().words().to_vec();
        words
            .into_iter()
            .map(|word| format!("{}={}", word.column, word.text))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        words("model in (opal, gpt-4o, 'quoted')"),
        ["model=opal", "model=gpt-4o"]
    );
    assert_eq!(
        words("model = org/name-7b:free and pred = answer"),
        ["model=org/name-7b:free"]
    );
    assert_eq!(
        words("model = 70b or model = very hard"),
        ["model=70b", "model=very hard"]
    );
    assert!(words("score > 1").is_empty());
    assert_eq!(
        bound("model = opal and score > 1").unwrap().columns(),
        ["model", "score"]
    );
}

#[test]
fn strict_refuses_text_that_is_no_number() {
    let strict = bound("pred >= 1").unwrap().strict();
    assert_eq!(
        strict.truths(&batch()).unwrap_err().to_string(),
        "'B' is not a number"
    );
    assert_eq!(truths("pred >= 1"), "1--");
    let equal = bound("pred == 1").unwrap().strict();
    assert!(equal.truths(&batch()).unwrap().value(0));
    let own = bound("pred").unwrap().strict();
    assert_eq!(
        own.truths(&batch()).unwrap_err().to_string(),
        "'B' is neither true nor false"
    );
}

#[test]
fn values_and_buckets() {
    let value = |text: &str| bound(text).unwrap().evaluate(&batch()).unwrap();
    let floats = |text: &str| {
        value(text)
            .as_primitive::<arrow::datatypes::Float64Type>()
            .values()
            .to_vec()
    };
    assert_eq!(floats("bucket(`my score`, 0.1)"), [0.1, 0.2, 0.3]);
    assert_eq!(floats("bucket(exact-match, 0.25)"), [1.0, 0.0, 1.0]);
    let times = value("bucket(timestamp, 7d)");
    assert_eq!(
        times
            .as_primitive::<arrow::datatypes::TimestampMicrosecondType>()
            .value(2),
        0
    );
    assert_eq!(value("model").as_string::<i32>().value(1), "opal");
    let list = Expr::list("model, bucket(score, 0.1) , hour(timestamp)").unwrap();
    assert_eq!(
        list.iter().map(Expr::text).collect::<Vec<_>>(),
        ["model", "bucket(score, 0.1)", "hour(timestamp)"]
    );
    let call: Expr = "p95( `my score` )".parse().unwrap();
    let (name, arguments) = call.call().unwrap();
    assert_eq!((name, arguments[0].text()), ("p95", "my score"));
}

#[test]
fn whole_numbers_beyond_64_bits_with_a_sign_are_never_left_out() {
    let numbers = arrow::array::UInt64Array::from(vec![Some(1), Some(1 << 63), None]);
    let batch = RecordBatch::try_from_iter([("big", Arc::new(numbers) as ArrayRef)]).unwrap();
    let evaluate = |text: &str| {
        let expr: Expr = text.parse().unwrap();
        let bound = expr.bind(&batch.schema(), &Context::utc()).unwrap();
        bound.evaluate(&batch)
    };
    let error = evaluate("big").unwrap_err().to_string();
    assert!(error.contains("multiply by 1.0"), "{error}");
    for text in [
        "big + 1",
        "-big - 1",
        "abs(big)",
        "round(big)",
        "abs(-9223372036854775807 - 1)",
        "bucket(-9223372036854775807, 10)",
        "coalesce(big, 1)",
        "big * big * big",
        "9223372036854775807 + 1",
    ] {
        let error = evaluate(text).map(|_| text).unwrap_err().to_string();
        assert!(error.contains("multiply by 1.0"), "{text}: {error}");
    }
    for (text, second) in [
        ("big - 1", Some(i64::MAX)),
        ("big % 10", Some(8)),
        ("-big", Some(i64::MIN)),
        ("bucket(big, 10)", Some(9_223_372_036_854_775_800)),
        ("big % 0", None),
    ] {
        let found = evaluate(text).unwrap();
        let found = found.as_primitive::<arrow::datatypes::Int64Type>();
        assert_eq!(found.iter().nth(1), Some(second), "{text}");
    }
    let doubles = evaluate("big * 1.0").unwrap();
    let doubles = doubles.as_primitive::<arrow::datatypes::Float64Type>();
    assert_eq!(
        doubles.iter().collect::<Vec<_>>(),
        [Some(1.0), Some(9_223_372_036_854_775_808.0), None]
    );
}

/// Plain backtracking, to compare with.
fn slow_like(text: &[char], pattern: &[char]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some(('%', rest)) => (0..=text.len()).any(|at| slow_like(&text[at..], rest)),
        Some(('_', rest)) => !text.is_empty() && slow_like(&text[1..], rest),
        Some((letter, rest)) => text.first() == Some(letter) && slow_like(&text[1..], rest),
    }
}

proptest! {
    #[test]
    fn like_is_like(text in "[abä]{0,8}", pattern in "[abä%_]{0,6}") {
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        prop_assert_eq!(like::like(&text, &pattern), slow_like(&chars(&text), &chars(&pattern)));
    }

    #[test]
    fn nothing_typed_panics(text in "[a-z0-9 '\"`().,<>=!+*/%-]{0,40}") {
        if let Ok(bound) = bound(&text) {
            let _ = bound.truths(&batch());
        }
    }
}
