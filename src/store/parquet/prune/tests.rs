use std::fs::File;

use arrow::array::{ArrayRef, Float32Array, RecordBatch};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use proptest::prelude::*;
use std::sync::Arc;

use super::*;
use crate::stats::Rate;
use crate::store::aggregate::Columns;
use crate::store::disk::RealDisk;
use crate::store::testing::fixture::{batch, record};
use crate::store::{Record, Store};

fn made(rows: &[(u8, u8, i64)]) -> RecordBatch {
    let record = |(at, (model, rate, time)): (usize, &(u8, u8, i64))| Record {
        model: if *model == 0 {
            String::new()
        } else {
            format!("m{model}")
        },
        prompt_type: (*model != 2).then(|| format!("p{}", at % 3)),
        tool_success_rate: (*rate > 0).then(|| f64::from(*rate) / 10.0),
        ..record(&format!("t{at}"), true, *time)
    };
    batch(&rows.iter().enumerate().map(record).collect::<Vec<_>>())
}

/// Rates as legacy code stores them.
fn narrow(rows: &RecordBatch) -> RecordBatch {
    let schema = rows.schema();
    let columns = schema
        .fields()
        .iter()
        .zip(rows.columns())
        .map(|(field, column)| {
            let rate = column
                .as_primitive_opt::<Float64Type>()
                .filter(|_| field.name() == "tool_success_rate");
            let narrow = rate.map(|rate| {
                rate.iter()
                    .map(|v| v.map(|v| v as f32))
                    .collect::<Float32Array>()
            });
            (
                field.name().clone(),
                narrow.map_or_else(|| column.clone(), |narrow| Arc::new(narrow) as ArrayRef),
            )
        });
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
        .unwrap()
}

proptest! {
    // Each case writes a file.
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// What is found is what matches, however the file is laid out.
    #[test]
    fn finds_what_matches(
        rows in prop::collection::vec((0_u8..4, 0_u8..4, 0_i64..20), 1..90),
        sorted: bool, indexed: bool, legacy: bool, group in 5_usize..40,
        models in prop::collection::vec(0_u8..4, 0..3), rate in prop::option::of(1_u8..4),
        since in prop::option::of(0_i64..20), skip in 0_u64..10, every in 2_u64..9,
    ) {
        let mut rows = rows;
        if sorted {
            rows.sort_unstable();
        }
        let mut all = made(&rows);
        if legacy {
            all = narrow(&all);
        }
        let statistics = if indexed { EnabledStatistics::Page } else { EnabledStatistics::None };
        let properties = WriterProperties::builder()
            .set_max_row_group_row_count(Some(group))
            .set_data_page_row_count_limit(4)
            .set_write_batch_size(4)
            .set_offset_index_disabled(!indexed)
            .set_statistics_enabled(statistics)
            .build();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.parquet");
        let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), all.schema(), Some(properties)).unwrap();
        writer.write(&all).unwrap();
        writer.close().unwrap();
        let file = ParquetFile::open(&RealDisk, &path).unwrap();
        let filter = Filter {
            models: models.iter().map(|model| format!("m{model}")).collect(),
            prompt_types: if every == 3 { vec!["p1".into(), UNKNOWN.into()] } else { Vec::new() },
            tool_success_rates: rate.into_iter().map(|rate| Rate::from(f64::from(rate) / 10.0)).collect(),
            since: since.map(|since| Timestamp::from_microsecond(since).unwrap()),
            ..Filter::default()
        };
        let lost: Vec<u64> = (0..rows.len() as u64).filter(|at| at.is_multiple_of(every)).collect();
        let search = Search::new(&file, &filter);
        let (mut found, mut models_found) = (Vec::new(), Vec::new());
        for piece in search.pieces() {
            let Some(piece) = search.find(&piece, skip, &lost).unwrap() else { continue };
            found.extend(piece.positions());
            for batch in search.read(Some(&["model"]), &piece).unwrap() {
                models_found.extend(batch.unwrap()["model"].as_string::<i32>().iter().map(|m| m.unwrap_or_default().to_owned()));
            }
        }
        let all = made(&rows);
        let columns = Columns::new(&all).unwrap();
        let counts = |at: &u64| *at >= skip && !at.is_multiple_of(every);
        let matching: Vec<u64> = (0..rows.len() as u64)
            .filter(counts)
            .filter(|at| filter.matches(&columns, *at as usize))
            .collect();
        // A prompt type that may be missing is left to whoever reads the rows.
        if every == 3 || rows.len() < 2 {
            prop_assert!(matching.iter().all(|at| found.contains(at)), "{matching:?} in {found:?}");
            prop_assert!(found.iter().all(counts));
        } else {
            prop_assert_eq!(&found, &matching);
        }
        let models: Vec<_> = found.iter().map(|at| all["model"].as_string::<i32>().value(*at as usize).to_owned()).collect();
        prop_assert_eq!(models_found, models);
        let keyed: Vec<u64> = Search::new(&file, &Filter::default())
            .keys(&all.schema(), &Store::new("/").zone, &crate::store::Control::default(), |at, _| Some(at))
            .unwrap();
        prop_assert_eq!(keyed, (0..rows.len() as u64).collect::<Vec<_>>());
    }
}
