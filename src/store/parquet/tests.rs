use std::fs;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::basic::Encoding;
use parquet::file::properties::WriterProperties;
use proptest::prelude::*;

use super::*;
use crate::store::RealDisk;
use crate::store::testing::fixture::{Fixture, LEGACY, batch, legacy, records};

/// Everything that a reader does with a file; how many rows it found.
fn read(path: &Path) -> Result<u64, String> {
    let file = ParquetFile::open(&RealDisk, path).map_err(|error| error.to_string())?;
    let mut rows = 0;
    for batch in file.batches(None, 0).map_err(|error| error.to_string())? {
        rows += batch.map_err(|error| error.to_string())?.num_rows() as u64;
    }
    Ok(rows)
}

fn written(batch: &RecordBatch) -> (Fixture, PathBuf) {
    let fixture = Fixture::new();
    fixture.increment(LEGACY, batch);
    let path = fixture.store.layout.incremental().join(LEGACY);
    (fixture, path)
}

#[test]
fn a_whole_file_reads_whole_or_in_parts() {
    let (_fixture, path) = written(&batch(&records(0, 10)));
    let file = ParquetFile::open(&RealDisk, &path).unwrap();
    assert_eq!((file.rows(), read(&path)), (10, Ok(10)));
    let rows = |batches: Batches| {
        batches
            .map(|batch| batch.unwrap().num_rows())
            .sum::<usize>()
    };
    assert_eq!(
        rows(
            file.batches(Some(&["success", "no such column"]), 4)
                .unwrap()
        ),
        6
    );
    assert_eq!(
        rows(file.batches(Some(&["no such column"]), 0).unwrap()),
        10
    );
    let picked: Vec<_> = file
        .rows_at(Some(&["test_id"]), &[2, 7])
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(picked.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
    assert_eq!(rows(file.row_groups(None, vec![0]).unwrap()), 10);
}

#[test]
fn in_memory_a_file_stays_what_it_was() {
    let (_fixture, path) = written(&batch(&records(0, 10)));
    let file = ParquetFile::open(&RealDisk, &path)
        .unwrap()
        .into_memory()
        .unwrap();
    fs::write(&path, b"something else").unwrap();
    assert_eq!(
        file.batches(None, 4)
            .unwrap()
            .map(|batch| batch.unwrap().num_rows())
            .sum::<usize>(),
        6
    );
    let file = written(&batch(&records(0, 10)));
    let open = ParquetFile::open(&RealDisk, &file.1).unwrap();
    fs::write(&file.1, b"something else").unwrap();
    assert!(matches!(open.into_memory(), Err(Error::Changed { .. })));
}

#[test]
fn dictionaries_come_out_as_plain_text() {
    let (_fixture, path) = written(&legacy(&["a", "b"], &[true, false]));
    let file = ParquetFile::open(&RealDisk, &path).unwrap();
    assert_eq!(
        file.schema().field_with_name("model").unwrap().data_type(),
        &DataType::Utf8
    );
    assert_eq!(read(&path), Ok(2));
}

#[test]
fn what_is_no_parquet_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.parquet");
    assert!(matches!(
        ParquetFile::open(&RealDisk, &path),
        Err(OpenError::Io(_))
    ));
    assert!(matches!(
        ParquetFile::open(&RealDisk, folder.path()),
        Err(OpenError::Io(_))
    ));
    fs::write(&path, b"").unwrap();
    assert!(matches!(
        ParquetFile::open(&RealDisk, &path),
        Err(OpenError::Empty)
    ));
    for text in [
        &b"{}"[..],
        b"not a Parquet file at all",
        b"PAR1\xff\xff\xff\x7fPAR1",
        b"PAR1____\0\0\0\0PAR1",
    ] {
        fs::write(&path, text).unwrap();
        assert!(
            matches!(
                ParquetFile::open(&RealDisk, &path),
                Err(OpenError::NoFooter(_))
            ),
            "{text:?}"
        );
    }
}

/// A file smaller than one of its values, whose rows would fill gigabytes at once.
#[test]
fn a_long_text_in_every_row_is_read_in_small_batches() {
    let text = "x".repeat(256 << 10);
    let column: ArrayRef = Arc::new(StringArray::from(vec![text.as_str(); 100]));
    let rows = RecordBatch::try_from_iter([("model", column)]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.parquet");
    for dictionary in [true, false] {
        let properties = WriterProperties::builder()
            .set_dictionary_enabled(dictionary)
            .set_dictionary_page_size_limit(1 << 20)
            .set_encoding(Encoding::DELTA_BYTE_ARRAY)
            .build();
        let file = fs::File::create(&path).unwrap();
        let mut writer = ArrowWriter::try_new(file, rows.schema(), Some(properties)).unwrap();
        (0..25).for_each(|_| writer.write(&rows).unwrap());
        writer.close().unwrap();
        assert!(fs::metadata(&path).unwrap().len() < 1 << 20);
        let file = ParquetFile::open(&RealDisk, &path).unwrap();
        let (mut at, mut largest) = (0, 0);
        for batch in file.batches(None, 100).unwrap() {
            let batch = batch.unwrap();
            at += batch.num_rows();
            largest = largest.max(batch.num_rows());
            assert!(
                batch
                    .column(0)
                    .as_string::<i32>()
                    .iter()
                    .all(|value| value == Some(&text))
            );
        }
        assert_eq!(at, 2_400, "with a dictionary: {dictionary}");
        assert!(
            largest <= 2_048,
            "{largest} rows, with a dictionary: {dictionary}"
        );
        let picked: usize = file
            .rows_at(None, &(0..2_500).step_by(50).collect::<Vec<_>>())
            .unwrap()
            .map(|batch| batch.unwrap().num_rows())
            .sum();
        assert_eq!(picked, 50);
        let selection =
            RowSelection::from_consecutive_ranges([10..1_000, 1_001..2_400].into_iter(), 2_500);
        let file = file.with_page_index();
        let selected = file.selected(None, 0, selection).unwrap();
        assert_eq!(
            selected
                .map(|batch| batch.unwrap().num_rows())
                .sum::<usize>(),
            2_389
        );
    }
}

proptest! {
    /// Torn and damaged files are errors, or rows; never a panic, never endless.
    #[test]
    fn damage_is_an_error(cut in any::<prop::sample::Index>(), flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6), in_footer: bool) {
        let (_fixture, path) = written(&batch(&records(0, 20)));
        let mut bytes = fs::read(&path).unwrap();
        let footer = bytes.len() - 8 - u32::from_le_bytes(bytes[bytes.len() - 8..][..4].try_into().unwrap()) as usize;
        for (at, value) in &flips {
            let from = if in_footer { footer } else { 0 };
            let at = from + at.index(bytes.len() - from);
            bytes[at] = *value;
        }
        if flips.is_empty() {
            bytes.truncate(cut.index(bytes.len()));
        }
        fs::write(&path, &bytes).unwrap();
        if let Ok(rows) = read(&path) {
            prop_assert!(rows <= bytes.len() as u64 * 100_000);
        }
    }
}
