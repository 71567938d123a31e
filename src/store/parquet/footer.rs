//! The footer of a file, and the columns that it describes.

use std::cell::RefCell;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use parquet::arrow::ARROW_SCHEMA_META_KEY;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    KeyValue, ParquetMetaData, ParquetMetaDataOptions, ParquetMetaDataReader, RowGroupMetaData,
};
use parquet::file::reader::ChunkReader;
use parquet::schema::types::SchemaDescPtr;

use super::nesting;
use super::source::Source;

/// Bytes of the longest footer that is read: tens of thousands of row groups.
const FOOTER_BYTES: u32 = 64 << 20;

/// Of that, the most that a schema takes.
const SCHEMA_BYTES: u64 = 4 << 20;

/// Bytes that values of a fixed size may take in a batch.
const FIXED_BYTES: u64 = 64 << 20;

/// Why a file with Parquet's own encryption can't be read.
pub(crate) const ENCRYPTED: &str =
    "it is encrypted, and evaltop has no key: write it again without encryption";

/// What a footer says.
pub(crate) struct Footer {
    pub(crate) metadata: Arc<ParquetMetaData>,
    /// Columns, strings as plain UTF-8.
    pub(crate) schema: SchemaRef,
}

/// Columns as a footer spells them, and what they are.
struct Columns {
    spelled: Bytes,
    /// Arrow's own description, of all that the footer says the only part that says more.
    arrow: Option<String>,
    descriptor: SchemaDescPtr,
    schema: SchemaRef,
}

thread_local! {
    /// Those of the file that this thread opened last: most files of a store share theirs.
    static LAST: RefCell<Option<Columns>> = const { RefCell::new(None) };
}

pub(crate) fn load(source: &Source) -> Result<Footer, ParquetError> {
    let tail = source.get_bytes(source.bytes.saturating_sub(8), 8)?;
    let length = tail
        .first_chunk()
        .map_or(0, |length| u32::from_le_bytes(*length));
    if tail.ends_with(b"PAR1") && length > FOOTER_BYTES {
        return Err(ParquetError::General(format!(
            "its footer claims {length} bytes"
        )));
    }
    if tail.ends_with(b"PARE") {
        return Err(ParquetError::General(ENCRYPTED.to_owned()));
    }
    // The schema comes first. A footer that is torn is refused below.
    let scanned = u64::from(length).min(SCHEMA_BYTES);
    let mut spelled = Bytes::new();
    if let Some(start) = source.bytes.checked_sub(8 + u64::from(length)) {
        let footer = source.get_bytes(start, scanned as usize)?;
        let place = nesting::check(&footer).map_err(|why| ParquetError::General(why.to_owned()))?;
        spelled = footer.slice(place);
        // A footer ends where its struct does, with a zero, unless it is signed.
        if footer.last() != Some(&0) && is_encrypted(source, start, length)? {
            return Err(ParquetError::General(ENCRYPTED.to_owned()));
        }
    }
    LAST.with_borrow_mut(|last| {
        let known = last
            .as_ref()
            .filter(|known| known.spelled == spelled && !spelled.is_empty());
        let options =
            known.map(|known| ParquetMetaDataOptions::new().with_schema(known.descriptor.clone()));
        let reader = ParquetMetaDataReader::new().with_metadata_options(options);
        let metadata = Arc::new(reader.parse_and_finish(source)?);
        let pairs = metadata.file_metadata().key_value_metadata();
        let is_arrow = |pair: &&KeyValue| pair.key == ARROW_SCHEMA_META_KEY;
        let arrow = pairs
            .and_then(|pairs| pairs.iter().rev().find(is_arrow))
            .and_then(|pair| pair.value.as_ref());
        if let Some(known) = known.filter(|known| known.arrow.as_ref() == arrow) {
            return Ok(Footer {
                metadata,
                schema: known.schema.clone(),
            });
        }
        let schema = columns(&metadata)?;
        let descriptor = metadata.file_metadata().schema_descr_ptr();
        // A copy: the footer may be a part of the whole file.
        let spelled = Bytes::copy_from_slice(&spelled);
        *last = Some(Columns {
            spelled,
            arrow: arrow.cloned(),
            descriptor,
            schema: schema.clone(),
        });
        Ok(Footer { metadata, schema })
    })
}

/// Whether a footer that anybody can read belongs to columns that only a key opens.
fn is_encrypted(source: &Source, start: u64, length: u32) -> Result<bool, ParquetError> {
    let footer = source.get_bytes(start, length as usize)?;
    Ok(footer.last() != Some(&0) && nesting::is_encrypted(&footer))
}

/// The columns, strings as plain UTF-8.
fn columns(metadata: &Arc<ParquetMetaData>) -> Result<SchemaRef, ParquetError> {
    let read = |options| {
        ArrowReaderMetadata::try_new(Arc::clone(metadata), options)
            .map(|columns| columns.schema().clone())
    };
    // The embedded Arrow schema may be wrong where the Parquet schema is right.
    let without_hint = || read(ArrowReaderOptions::new().with_skip_arrow_metadata(true));
    let Ok(schema) = read(ArrowReaderOptions::new()) else {
        return without_hint();
    };
    let plain: Vec<Field> = schema
        .fields()
        .iter()
        .map(|field| {
            field
                .as_ref()
                .clone()
                .with_data_type(plain_type(field.data_type()))
        })
        .collect();
    // Without the footer's other values, which differ from file to file.
    let plain = Arc::new(Schema::new(plain));
    if plain.fields() == schema.fields() {
        return Ok(plain);
    }
    read(ArrowReaderOptions::new().with_schema(plain)).or_else(|_| without_hint())
}

fn plain_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, value) => plain_type(value),
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        other => other.clone(),
    }
}

/// Checks that the footer is possible for a file of that size; returns its rows.
pub(crate) fn check(metadata: &ParquetMetaData, bytes: u64) -> Result<u64, String> {
    // Even constant columns cost a page now and then; more rows than this are a lie
    // that would keep a reader busy for hours.
    let most = bytes.saturating_mul(100_000);
    let mut rows = 0_u64;
    for group in metadata.row_groups() {
        let count =
            u64::try_from(group.num_rows()).map_err(|_| "a row group has a negative size")?;
        rows = rows.saturating_add(count);
        if rows > most {
            return Err(format!(
                "its footer claims more rows than {bytes} bytes can hold"
            ));
        }
        check_chunks(group, bytes)?;
    }
    if u64::try_from(metadata.file_metadata().num_rows()) != Ok(rows) {
        return Err("its footer contradicts itself on the number of rows".into());
    }
    Ok(rows)
}

/// Checks that values of a fixed size are of one that memory holds, null or not; returns the
/// rows of them that a batch may have.
pub(crate) fn check_widths(schema: &Schema) -> Result<usize, String> {
    let mut all = 1_u64;
    for field in schema.fields() {
        all = all.saturating_add(width(field.data_type()));
        if all > FIXED_BYTES {
            return Err(format!(
                "a value of column '{}' takes more than memory has",
                field.name()
            ));
        }
    }
    Ok(usize::try_from(FIXED_BYTES / all).unwrap_or(1).max(1))
}

/// Bytes that a value takes whatever it holds, where a file can choose that.
fn width(data_type: &DataType) -> u64 {
    match data_type {
        DataType::FixedSizeBinary(size) => u64::try_from(*size).unwrap_or(u64::MAX),
        DataType::FixedSizeList(item, length) => {
            let length = u64::try_from(*length).unwrap_or(u64::MAX);
            length.saturating_mul(width(item.data_type()).max(8))
        }
        DataType::Struct(fields) => fields
            .iter()
            .fold(0, |sum, field| width(field.data_type()).saturating_add(sum)),
        DataType::List(item) | DataType::LargeList(item) | DataType::Map(item, _) => {
            width(item.data_type())
        }
        _ => 0,
    }
}

fn check_chunks(group: &RowGroupMetaData, bytes: u64) -> Result<(), String> {
    for column in group.columns() {
        let start = column
            .dictionary_page_offset()
            .unwrap_or_else(|| column.data_page_offset());
        let end = start.checked_add(column.compressed_size());
        let inside = start >= 0
            && column.data_page_offset() >= 0
            && column.compressed_size() >= 0
            && end
                .and_then(|end| u64::try_from(end).ok())
                .is_some_and(|end| end <= bytes);
        let flat = column.column_descr().max_rep_level() == 0;
        let counted =
            column.num_values() == group.num_rows() || (!flat && column.num_values() >= 0);
        if !inside || !counted {
            return Err(format!(
                "column '{}' lies outside of the file",
                column.column_path()
            ));
        }
    }
    Ok(())
}
