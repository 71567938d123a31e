//! All records of a store as one Parquet file. Row groups of main of which every row
//! counts are copied byte for byte, the other rows are encoded.

use std::collections::VecDeque;
use std::ops::Range;
use std::path::Path;

use super::part::Part;
use super::rows::{Reading, Rows};
use crate::store::Result;
use crate::store::disk::WriteFile;
use crate::store::parquet::row_group_copy::Stock;
use crate::store::parquet::table::TableWriter;

impl Rows {
    /// Writes them to `file` (`path` is for messages) and returns their number. `reported`
    /// hears after each step how many are written, and may end the work.
    pub(crate) fn copy_to(
        mut self,
        file: Box<dyn WriteFile>,
        path: &Path,
        progress: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<u64> {
        let schema = self.schema().clone();
        let mut table = TableWriter::new(file, path, &schema)?;
        let mut done = 0;
        let main = self.main.take();
        if let Some((main, losers)) = &main
            && !main.changed_or(main.lacks_ids())?
            && let Some(stock) = main.changed_or(Stock::of(main, &schema))?
            && let Reading::Ahead(parts) = &mut self.reading
        {
            let mut start = 0;
            let mut untouched: Range<usize> = 0..0;
            for group in 0..main.metadata().num_row_groups() {
                self.control.check()?;
                let end = start + u64::try_from(stock.rows(group)).unwrap_or_default();
                let own = taken(parts, end - start);
                let lost = losers.partition_point(|at| *at < end)
                    - losers.partition_point(|at| *at < start);
                if lost == 0 {
                    untouched.end = group + 1;
                } else {
                    main.changed_or(table.graft(&stock, untouched))?;
                    untouched = group + 1..group + 1;
                    for mut part in own {
                        while let Some(batch) = self.plan.next(&mut part)? {
                            table.write(&batch)?;
                        }
                    }
                }
                done += end - start - lost as u64;
                start = end;
            }
            main.changed_or(table.graft(&stock, untouched))?;
            main.check_unchanged()?;
            progress(done)?;
        }
        for batch in self {
            let batch = batch?;
            table.write(&batch)?;
            done += batch.num_rows() as u64;
            progress(done)?;
        }
        table.finish()?;
        Ok(done)
    }
}

/// The first parts, with so many rows together.
fn taken(parts: &mut VecDeque<Part>, rows: u64) -> Vec<Part> {
    let (mut taken, mut counted) = (Vec::new(), 0);
    while counted < rows {
        let Some(part) = parts.pop_front() else { break };
        counted += part.rows;
        taken.push(part);
    }
    taken
}
