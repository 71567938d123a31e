use std::path::Path;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Int64Type};
use proptest::prelude::*;

use super::*;
use crate::store::disk::{Disk, RealDisk};
use crate::store::parquet::table::{TableWriter, with_group_rows};
use crate::store::testing::fixture::{batch, record};

/// Writes a file: batches, and row groups of another file.
enum Step<'a> {
    Rows(RecordBatch),
    Graft(&'a ParquetFile, Range<usize>),
}

fn write(path: &Path, schema: &SchemaRef, steps: Vec<Step<'_>>) -> ParquetFile {
    let mut table = TableWriter::new(RealDisk.create(path).unwrap(), path, schema).unwrap();
    for step in steps {
        match step {
            Step::Rows(rows) => table.write(&rows).unwrap(),
            Step::Graft(file, groups) => {
                table
                    .graft(
                        &Stock::of(file, schema).unwrap().expect("it can be grafted"),
                        groups,
                    )
                    .unwrap();
            }
        }
    }
    table.key_value("note", "kept".to_owned());
    table.finish().unwrap();
    ParquetFile::open(&RealDisk, path).unwrap()
}

fn rows(ids: Range<i64>) -> RecordBatch {
    let records: Vec<_> = ids
        .map(|id| record(&format!("t{id:04}"), id % 3 == 0, id))
        .collect();
    batch(&records)
}

fn read(file: &ParquetFile) -> RecordBatch {
    let schema = Arc::new(Schema::new(file.schema().fields().clone()));
    let plain = |batch: RecordBatch| {
        RecordBatch::try_new(schema.clone(), batch.columns().to_vec()).unwrap()
    };
    let batches: Vec<_> = file
        .batches(None, 0)
        .unwrap()
        .map(|batch| plain(batch.unwrap()))
        .collect();
    concat_batches(&schema, &batches).unwrap()
}

/// What the page index says is what is in the pages.
fn check_pages(file: &ParquetFile) {
    let index = file.page_index().unwrap().expect("a page index");
    let ids = file.schema().index_of("test_id").unwrap();
    let mut from = 0;
    let all = read(file);
    for (at, group) in file.metadata().row_groups().iter().enumerate() {
        for (column, chunk) in group.columns().iter().enumerate() {
            let offsets = index
                .offset_index(at, column)
                .expect("offsets")
                .page_locations();
            let (start, length) = chunk.byte_range();
            let inside = |page: &parquet::file::page_index::offset_index::PageLocation| {
                (start..start + length).contains(&(page.offset as u64))
            };
            assert!(
                offsets.iter().all(inside),
                "a page of group {at}, column {column} is elsewhere"
            );
        }
        let count = group.num_rows() as usize;
        let texts = all["test_id"].slice(from, count);
        let (least, most) = (
            texts.as_string::<i32>().iter().min(),
            texts.as_string::<i32>().iter().max(),
        );
        let statistics = group.column(ids).statistics().expect("statistics");
        let text = |bytes: Option<&[u8]>| bytes.map(|b| String::from_utf8(b.to_vec()).unwrap());
        assert_eq!(text(statistics.min_bytes_opt()).as_deref(), least.flatten());
        assert_eq!(text(statistics.max_bytes_opt()).as_deref(), most.flatten());
        assert_eq!(group.ordinal(), Some(at as i32));
        from += count;
    }
}

#[test]
fn a_copied_beginning_is_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let schema = rows(0..1).schema();
    with_group_rows(10, || {
        let old = write(
            &folder.path().join("old"),
            &schema,
            vec![Step::Rows(rows(0..30))],
        );
        let steps = vec![Step::Graft(&old, 0..3), Step::Rows(rows(30..35))];
        let new = write(&folder.path().join("new"), &schema, steps);
        let end = Stock::of(&old, &schema).unwrap().unwrap().extents(0..3);
        assert_eq!((end.len(), end[0].start), (1, MAGIC));
        let bytes = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
        let length = end[0].end as usize;
        assert_eq!(bytes("new")[..length], bytes("old")[..length]);
        assert_eq!(read(&new), rows(0..35));
        assert_eq!(new.key_value("note"), Some("kept"));
        assert!(new.key_value("ARROW:schema").is_some());
        check_pages(&new);
    });
}

#[test]
fn a_new_column_costs_null_chunks() {
    let folder = tempfile::tempdir().unwrap();
    let schema = rows(0..1).schema();
    let mut fields = schema.fields().to_vec();
    fields.push(Arc::new(Field::new("tokens", DataType::Int64, true)));
    let wider = Arc::new(Schema::new(fields));
    with_group_rows(10, || {
        let old = write(
            &folder.path().join("old"),
            &schema,
            vec![Step::Rows(rows(0..25))],
        );
        let mut columns = rows(25..29).columns().to_vec();
        columns.push(Arc::new(Int64Array::from(vec![1, 2, 3, 4])));
        let more = RecordBatch::try_new(wider.clone(), columns).unwrap();
        let steps = vec![Step::Graft(&old, 0..3), Step::Rows(more)];
        let new = write(&folder.path().join("new"), &wider, steps);
        let all = read(&new);
        assert_eq!(all.num_rows(), 29);
        assert_eq!(
            all.project(&(0..schema.fields().len()).collect::<Vec<_>>())
                .unwrap(),
            rows(0..29)
        );
        let tokens = all["tokens"].as_primitive::<Int64Type>();
        assert_eq!((tokens.null_count(), tokens.value(28)), (25, 4));
        check_pages(&new);
        // And once more, with chunks that lie apart.
        let steps = vec![
            Step::Graft(&new, 1..3),
            Step::Rows(all.slice(0, 3)),
            Step::Graft(&new, 3..4),
        ];
        let again = write(&folder.path().join("again"), &wider, steps);
        let parts = [all.slice(10, 15), all.slice(0, 3), all.slice(25, 4)];
        assert_eq!(read(&again), concat_batches(&wider, &parts).unwrap());
        check_pages(&again);
    });
}

#[test]
fn of_a_column_that_is_widened_the_others_are_copied() {
    let folder = tempfile::tempdir().unwrap();
    let schema = rows(0..1).schema();
    let at = schema.index_of("turns").unwrap();
    let with_turns = |batch: RecordBatch, turns: ArrayRef| {
        let mut fields = schema.fields().to_vec();
        fields[at] = Arc::new(Field::new("turns", turns.data_type().clone(), true));
        fields.push(Arc::new(Field::new("tokens", DataType::Int64, true)));
        let mut columns = batch.columns().to_vec();
        columns[at] = turns;
        let tokens = Int64Array::from(vec![Some(7); batch.num_rows()]);
        columns.push(Arc::new(tokens));
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
    };
    let whole = |ids: Range<i64>| -> ArrayRef {
        Arc::new(
            ids.map(|id| (id % 5 > 0).then_some(id))
                .collect::<Int64Array>(),
        )
    };
    let halves = |ids: Range<i64>| -> ArrayRef {
        Arc::new(
            ids.map(|id| (id % 5 > 0).then_some(id as f64))
                .collect::<Float64Array>(),
        )
    };
    with_group_rows(10, || {
        let narrow = with_turns(rows(0..35), whole(0..35));
        let wide = with_turns(rows(0..35), halves(0..35));
        let old = write(
            &folder.path().join("old"),
            &narrow.schema(),
            vec![Step::Rows(narrow)],
        );
        let steps = vec![
            Step::Graft(&old, 1..4),
            Step::Rows(wide.slice(0, 4)),
            Step::Graft(&old, 0..2),
        ];
        let new = write(&folder.path().join("new"), &wide.schema(), steps);
        let parts = [wide.slice(10, 25), wide.slice(0, 4), wide.slice(0, 20)];
        assert_eq!(read(&new), concat_batches(&wide.schema(), &parts).unwrap());
        check_pages(&new);
        // The bytes of the others are those that they were, and none of the narrow one stay.
        let chunk = |file: &ParquetFile, group: usize, column: &str| {
            let groups = file.metadata().row_groups();
            let mut chunks = groups[group].columns().iter();
            let chunk = chunks
                .find(|chunk| chunk.column_path().string() == column)
                .unwrap();
            let (start, length) = chunk.byte_range();
            std::fs::read(file.path()).unwrap()[start as usize..(start + length) as usize].to_vec()
        };
        for column in ["test_id", "success", "tokens"] {
            assert_eq!(chunk(&new, 0, column), chunk(&old, 1, column), "{column}");
        }
        let chunks = new
            .metadata()
            .row_groups()
            .iter()
            .flat_map(RowGroupMetaData::columns);
        let bytes: u64 = chunks.map(|chunk| chunk.byte_range().1).sum();
        let extents = Stock::of(&new, &wide.schema())
            .unwrap()
            .unwrap()
            .extents(0..6);
        assert_eq!(
            extents
                .iter()
                .map(|extent| extent.end - extent.start)
                .sum::<u64>(),
            bytes
        );
        assert_eq!(extents.len(), 1, "nothing lies between them: {extents:?}");
    });
}

#[test]
fn what_is_not_ours_or_of_another_type_is_not_grafted() {
    let folder = tempfile::tempdir().unwrap();
    let schema = rows(0..1).schema();
    let ours = write(
        &folder.path().join("ours"),
        &schema,
        vec![Step::Rows(rows(0..5))],
    );
    assert!(Stock::of(&ours, &schema).unwrap().is_some());
    let retyped = schema.fields().iter().map(|field| match field.data_type() {
        DataType::Boolean => Arc::new(Field::new(field.name(), DataType::Int64, true)),
        _ => field.clone(),
    });
    assert!(
        Stock::of(&ours, &Arc::new(Schema::new(retyped.collect::<Vec<_>>())))
            .unwrap()
            .is_none()
    );
    let narrower = Arc::new(schema.project(&[0, 1, 6]).unwrap());
    assert!(Stock::of(&ours, &narrower).unwrap().is_none());
    let path = folder.path().join("theirs");
    let file = std::fs::File::create(&path).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, schema.clone(), None).unwrap();
    writer.write(&rows(0..5)).unwrap();
    writer.close().unwrap();
    assert!(
        Stock::of(&ParquetFile::open(&RealDisk, &path).unwrap(), &schema)
            .unwrap()
            .is_none()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever is taken over and encoded in whatever order, the rows are the same.
    #[test]
    fn any_mixture_reads_as_its_parts(
        size in 1..60_i64,
        steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>(), 0..4_usize, 1..30_i64), 1..8),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let schema = rows(0..1).schema();
        with_group_rows(8, || {
            let old = write(&folder.path().join("old"), &schema, vec![Step::Rows(rows(0..size))]);
            let groups = old.metadata().num_row_groups();
            let (mut made, mut parts) = (Vec::new(), Vec::new());
            for (graft, at, length, new) in &steps {
                if *graft {
                    let from = at.index(groups);
                    let to = (from + length).min(groups);
                    made.push(Step::Graft(&old, from..to));
                    parts.push(rows(8 * from as i64..(8 * to as i64).min(size).max(8 * from as i64)));
                } else {
                    made.push(Step::Rows(rows(1000..1000 + new)));
                    parts.push(rows(1000..1000 + new));
                }
            }
            let new = write(&folder.path().join("new"), &schema, made);
            let expected = concat_batches(&schema, &parts).unwrap();
            if new.rows() > 0 {
                assert_eq!(read(&new), expected);
                check_pages(&new);
            } else {
                assert_eq!(expected.num_rows(), 0);
            }
        });
    }
}
