//! Pages between unpacking and decoding, where it shows how much memory they will need:
//! a dictionary of one long text that every row repeats, text that shares its beginning
//! with the row before, counts that nothing is behind.
//!
//! Promises: what a batch needs is known before it is decoded; when that is too much, it
//! is read in smaller batches, down to a row, before it is an error.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use parquet::arrow::arrow_reader::RowGroups;
use parquet::basic::{Encoding, Type};
use parquet::column::page::{Page, PageIterator, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::SerializedPageReader;
use parquet::schema::types::ColumnDescPtr;

use super::source::Source;
use super::{ParquetFile, delta};

/// Bytes that the pages and the values of one batch may take.
const BATCH_BYTES: u64 = 512 << 20;

/// Below this nobody looks how long the values are.
const HARMLESS_BYTES: u64 = BATCH_BYTES / 8;

/// How much memory a batch takes at the most, by what its pages say.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Rows of a batch.
    rows: u64,
    /// What stays from batch to batch, by column: its open page, its dictionary, and the
    /// longest value as often as a batch has rows.
    held: HashMap<(usize, Part), u64>,
    /// Of the pages that this batch has read.
    step: u64,
    exceeded: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Part {
    Page,
    Dictionary,
}

impl Meter {
    pub(crate) fn new(rows: usize) -> Self {
        Self {
            state: Mutex::new(State {
                rows: rows as u64,
                ..State::default()
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rows of a batch.
    pub(crate) fn rows(&self) -> usize {
        usize::try_from(self.state().rows).unwrap_or(usize::MAX)
    }

    /// For one page after the other, whatever rows of them would take.
    pub(crate) fn of_pages() -> Self {
        Self::new(1)
    }

    /// A new batch begins.
    pub(crate) fn begin(&self) {
        self.state().step = 0;
    }

    /// Whether a batch was too large and smaller ones may do: reading goes on with those.
    pub(crate) fn shrink(&self) -> bool {
        let mut state = self.state();
        if !state.exceeded || state.rows <= 1 {
            return false;
        }
        *state = State {
            rows: (state.rows / 16).max(1),
            ..State::default()
        };
        true
    }

    /// Counts a page: what it holds itself, what each row may take of it, and what this
    /// batch takes once.
    fn count(&self, column: usize, part: Part, page: u64, longest: u64, once: u64) -> Result<()> {
        let mut state = self.state();
        let each = longest.saturating_mul(state.rows);
        state.held.insert((column, part), page.saturating_add(each));
        state.step = state.step.saturating_add(once);
        let held = state
            .held
            .values()
            .fold(state.step, |sum, bytes| sum.saturating_add(*bytes));
        state.exceeded = held > BATCH_BYTES;
        if state.exceeded {
            let limit = BATCH_BYTES >> 20;
            return Err(ParquetError::General(format!(
                "a single row takes more than {limit} MiB of memory"
            )));
        }
        Ok(())
    }
}

/// Some row groups of a file.
pub(crate) struct Pages {
    source: Arc<Source>,
    footer: Arc<ParquetMetaData>,
    groups: Vec<usize>,
    meter: Arc<Meter>,
}

impl Pages {
    /// Some row groups.
    pub(crate) fn of(file: &ParquetFile, groups: Vec<usize>, meter: Arc<Meter>) -> Self {
        Self {
            source: Arc::new(file.source.clone()),
            footer: file.metadata().clone(),
            groups,
            meter,
        }
    }

    /// Unpacks every page, and drops it.
    pub(crate) fn unpack(&self) -> Result<()> {
        for column in 0..self.footer.file_metadata().schema_descr().num_columns() {
            for chunk in self.column_chunks(column)? {
                chunk?.try_for_each(|page| {
                    self.meter.begin();
                    page.map(drop)
                })?;
            }
        }
        Ok(())
    }
}

impl RowGroups for Pages {
    fn num_rows(&self) -> usize {
        self.row_groups()
            .map(|group| usize::try_from(group.num_rows()).unwrap_or(0))
            .sum()
    }

    fn column_chunks(&self, column: usize) -> Result<Box<dyn PageIterator>> {
        let descriptor = self.footer.file_metadata().schema_descr().column(column);
        Ok(Box::new(Chunks {
            source: self.source.clone(),
            footer: self.footer.clone(),
            groups: self.groups.clone().into_iter(),
            column,
            descriptor,
            meter: self.meter.clone(),
        }))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(
            self.groups
                .iter()
                .filter_map(|group| self.footer.row_groups().get(*group)),
        )
    }

    fn metadata(&self) -> &ParquetMetaData {
        &self.footer
    }
}

/// The chunks of a column, one a row group.
struct Chunks {
    source: Arc<Source>,
    footer: Arc<ParquetMetaData>,
    groups: std::vec::IntoIter<usize>,
    column: usize,
    descriptor: ColumnDescPtr,
    meter: Arc<Meter>,
}

impl Iterator for Chunks {
    type Item = Result<Box<dyn PageReader>>;

    fn next(&mut self) -> Option<Self::Item> {
        let number = self.groups.next()?;
        let group = self.footer.row_groups().get(number)?;
        let index = self.footer.page_index();
        let places = index.and_then(|index| index.page_locations(number, self.column).cloned());
        let chunk = group.columns().get(self.column)?;
        let rows = usize::try_from(group.num_rows()).unwrap_or(0);
        let pages = SerializedPageReader::new(self.source.clone(), chunk, rows, places);
        Some(pages.map(|pages| {
            let (descriptor, meter) = (self.descriptor.clone(), self.meter.clone());
            Box::new(Chunk {
                pages,
                column: self.column,
                descriptor,
                meter,
            }) as _
        }))
    }
}

impl PageIterator for Chunks {}

/// The pages of one chunk.
struct Chunk {
    pages: SerializedPageReader<Source>,
    column: usize,
    descriptor: ColumnDescPtr,
    meter: Arc<Meter>,
}

impl Chunk {
    fn look(&self, page: Page) -> Result<Page> {
        let size = page.buffer().len() as u64;
        let values = u64::from(page.num_values());
        if let Page::DictionaryPage { buf, .. } = &page {
            // Each value takes a byte at the least, and eight when it is a number.
            if values > size {
                return Err(self.damaged("its dictionary has no room for its values"));
            }
            let longest = if self.is_text() && self.may_be_large(size) {
                longest(buf)
            } else {
                0
            };
            self.meter
                .count(self.column, Part::Dictionary, size + 8 * values, longest, 0)?;
            return Ok(page);
        }
        let (mut longest, mut once) = (0, size);
        if self.descriptor.max_rep_level() > 0 {
            once += 16 * values;
        }
        let delta = matches!(
            page.encoding(),
            Encoding::DELTA_BYTE_ARRAY | Encoding::DELTA_LENGTH_BYTE_ARRAY
        );
        if delta && let Some(text) = self.values(&page) {
            let refused = || self.damaged("its lengths contradict its number of values");
            let first = delta::lengths(&text, values).ok_or_else(refused)?;
            once += 8 * first.count;
            if page.encoding() == Encoding::DELTA_BYTE_ARRAY {
                // Of each value the bytes that it shares with the one before, and its own.
                let second = delta::lengths(text.get(first.end..).unwrap_or_default(), values);
                longest = first
                    .longest
                    .saturating_add(second.ok_or_else(refused)?.longest);
            }
        }
        let longest = if self.may_be_large(longest) {
            longest
        } else {
            0
        };
        self.meter
            .count(self.column, Part::Page, size, longest, once)?;
        Ok(page)
    }

    fn is_text(&self) -> bool {
        self.descriptor.physical_type() == Type::BYTE_ARRAY
    }

    /// Whether values of that size in every row of a batch would be worth counting.
    fn may_be_large(&self, longest: u64) -> bool {
        longest.saturating_mul(self.meter.rows() as u64) > HARMLESS_BYTES
    }

    /// The bytes of a page after its levels; `None` where there are none.
    fn values(&self, page: &Page) -> Option<Bytes> {
        let buffer = page.buffer();
        let start = if let Page::DataPageV2 {
            def_levels_byte_len,
            rep_levels_byte_len,
            ..
        } = page
        {
            u64::from(*def_levels_byte_len) + u64::from(*rep_levels_byte_len)
        } else {
            let levels = [
                self.descriptor.max_rep_level(),
                self.descriptor.max_def_level(),
            ];
            levels
                .into_iter()
                .filter(|level| *level > 0)
                .try_fold(0_u64, |start, _| {
                    let length = buffer
                        .get(usize::try_from(start).ok()?..)?
                        .first_chunk::<4>()?;
                    Some(start + 4 + u64::from(u32::from_le_bytes(*length)))
                })?
        };
        let start = usize::try_from(start)
            .ok()
            .filter(|start| *start < buffer.len())?;
        Some(buffer.slice(start..))
    }

    fn damaged(&self, why: &str) -> ParquetError {
        ParquetError::General(format!(
            "column '{}' can't be decoded: {why}",
            self.descriptor.path()
        ))
    }
}

/// The longest text of a dictionary. Where it is torn, the decoder says so.
fn longest(dictionary: &[u8]) -> u64 {
    let (mut rest, mut longest) = (dictionary, 0);
    while let Some((length, text)) = rest.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length);
        longest = longest.max(length.into());
        rest = text.get(length as usize..).unwrap_or_default();
    }
    longest.min(dictionary.len() as u64)
}

impl Iterator for Chunk {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for Chunk {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        self.pages
            .get_next_page()?
            .map(|page| self.look(page))
            .transpose()
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.pages.skip_next_page()
    }

    fn supports_deferred_dictionary(&self) -> bool {
        self.pages.supports_deferred_dictionary()
    }

    fn take_deferred_dictionary(&mut self) -> Result<Option<Page>> {
        self.pages
            .take_deferred_dictionary()?
            .map(|page| self.look(page))
            .transpose()
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.pages.at_record_boundary()
    }
}
