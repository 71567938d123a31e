//! Where the bytes of a grafted file went, and what points at them.

use std::ops::Range;

use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::schema::types::ColumnDescPtr;

use super::Indexes;

/// Extents of an old file and where they begin in the new one.
#[derive(Debug, Default)]
pub(crate) struct Shift {
    /// By their place in the old file.
    moves: Vec<(Range<u64>, u64)>,
}

impl Shift {
    /// Notes the next extent, in the old file's order.
    pub(crate) fn push(&mut self, old: Range<u64>, new: u64) {
        self.moves.push((old, new));
    }

    /// Where an old offset is now; `None` when it was not copied.
    fn at(&self, old: i64) -> Option<i64> {
        let old = u64::try_from(old).ok()?;
        let at = self
            .moves
            .partition_point(|(range, _)| range.start <= old)
            .checked_sub(1)?;
        let (range, new) = self.moves.get(at)?;
        (old < range.end).then(|| (old - range.start + new) as i64)
    }

    /// A chunk at its new place. The page indexes are written again with the footer.
    pub(crate) fn chunk(&self, chunk: &ColumnChunkMetaData) -> Option<ColumnChunkMetaData> {
        let optional = |old: Option<i64>| old.map_or(Some(None), |old| self.at(old).map(Some));
        let shifted = chunk
            .clone()
            .into_builder()
            .set_data_page_offset(self.at(chunk.data_page_offset())?)
            .set_dictionary_page_offset(optional(chunk.dictionary_page_offset())?)
            .set_bloom_filter_offset(optional(chunk.bloom_filter_offset())?)
            .set_column_index_offset(None)
            .set_column_index_length(None)
            .set_offset_index_offset(None)
            .set_offset_index_length(None);
        shifted.build().ok()
    }

    /// The page index of a chunk at its new place.
    pub(crate) fn index(&self, mut index: Indexes) -> Option<Indexes> {
        for page in index
            .offsets
            .iter_mut()
            .flat_map(|offsets| &mut offsets.page_locations)
        {
            page.offset = self.at(page.offset)?;
        }
        Some(index)
    }
}

/// A chunk that is described by the new file's column.
pub(crate) fn described(
    chunk: ColumnChunkMetaData,
    column: &ColumnDescPtr,
) -> Result<ColumnChunkMetaData, ParquetError> {
    if *chunk.column_descr() == **column {
        return Ok(chunk);
    }
    Err(ParquetError::General(format!(
        "column '{}' has another type",
        column.path()
    )))
}
