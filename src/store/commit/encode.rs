//! Writing the new main: row groups of the old one are copied, while all other rows are
//! decoded, sorted and encoded on all cores, in runs of bounded size.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::merge::{run_is_full, sorted};
use super::round::Trouble;
use super::sorted_run::{At, SortedRun, bytes};
use super::splits::{Decoded, Job, Piece, Reading};
use crate::limits::LIMITS;
use crate::memory;
use crate::store::aggregate::key_index::{Entry, Made};
use crate::store::aggregate::{Columns, Digest, key_in, places_of_cells, short};
use crate::store::error::{Error, Result};
use crate::store::parquet::row_group_copy::Stock;
use crate::store::parquet::table::{Encoded, Groups, TableWriter, group_rows};
use crate::store::threads;

/// Digests of the rows of one commit. Which rows go into which of them depends on the rows
/// alone, not on threads.
const DIGESTS: usize = 4;
/// Row groups that wait to be written.
const WAITING: usize = 2;
/// Bytes to copy for which it is worth to encode meanwhile.
const LONG: u64 = 16 << 20;

/// What comes next in the new main.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// Row groups of the old one as they are.
    Copy(Range<usize>),
    /// Rows in the order of the jobs, or sorted.
    Rows { jobs: Vec<Job<'a>>, sorted: bool },
}

/// What a thread says that encodes.
enum Sent {
    Group(Encoded),
    /// The step's last one was reported.
    Over,
}

/// Encodes rows.
pub(crate) struct Encoding<'a> {
    reading: &'a Reading<'a>,
    threads: usize,
    now: i64,
    /// Hears how many new rows were read.
    progress: &'a (dyn Fn(u64) + Sync),
    groups: Groups,
    /// Rows of a full one.
    group_rows: usize,
    digests: Vec<Digest>,
    /// For each digest the places of its cells among those of all.
    places: Vec<Vec<u32>>,
    /// 64 bits of the key of each row that has one, and the number of its row group.
    entries: Option<Vec<(u64, usize)>>,
    read: u64,
}

/// What was read of a batch besides its columns.
struct Scanned {
    digest: usize,
    cells: Vec<u32>,
    keys: Vec<Option<u64>>,
}

/// What was written.
pub(crate) struct Written {
    pub(crate) tallies: Digest,
    pub(crate) made: Made,
}

fn rows_of(steps: &[Step<'_>]) -> u64 {
    let jobs = steps.iter().flat_map(|step| match step {
        Step::Rows { jobs, .. } => jobs.as_slice(),
        Step::Copy(_) => &[],
    });
    jobs.flatten().map(Piece::rows).sum()
}

/// Writes all steps; `tallies` are those of what is copied.
pub(crate) fn write(
    table: &mut TableWriter<'_>,
    stock: Option<&Stock<'_>>,
    steps: Vec<Step<'_>>,
    mut tallies: Digest,
    reading: &Reading<'_>,
    now: i64,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Written, Trouble> {
    let rows = rows_of(&steps);
    let threads = threads::for_rows(rows);
    let mut encoding = Encoding {
        reading,
        threads,
        now,
        progress,
        groups: table.groups(),
        group_rows: group_rows(),
        digests: (0..DIGESTS).map(|_| Digest::default()).collect(),
        places: Vec::new(),
        entries: (rows <= LIMITS.index_keys).then(Vec::new),
        read: 0,
    };
    let copied = |range: &Range<usize>| {
        stock.map_or(0, |stock| {
            stock
                .extents(range.clone())
                .iter()
                .map(|e| e.end - e.start)
                .sum()
        })
    };
    let long = steps
        .iter()
        .any(|step| matches!(step, Step::Copy(range) if copied(range) > LONG));
    // The numbers of the row groups that were encoded.
    let mut numbers = Vec::new();
    if rows > 0 && (threads > 1 || long) {
        encoding = at_once(table, stock, steps, encoding, &mut numbers)?;
    } else {
        let mut steps = VecDeque::from(steps);
        while let Some(step) = steps.pop_front() {
            match (step, stock) {
                (Step::Copy(groups), Some(stock)) => table.graft(stock, groups)?,
                (Step::Copy(_), None) => {}
                (Step::Rows { jobs, sorted }, _) => {
                    let mut out = |group| table.append(group).map(|number| numbers.push(number));
                    encoding.rows(jobs, sorted, &mut out)?;
                    if !matches!(steps.front(), Some(Step::Rows { .. })) {
                        encoding.close(&mut out)?;
                    }
                }
            }
        }
    }
    for digest in &encoding.digests {
        tallies.merge(digest);
    }
    let numbered = |(short, group): (u64, usize)| -> Option<Entry> {
        Some((short, u16::try_from(*numbers.get(group)?).ok()?))
    };
    let entries = encoding
        .entries
        .map(|entries| entries.into_iter().filter_map(numbered).collect());
    Ok(Written {
        tallies,
        made: Made {
            copied: table.copied().to_vec(),
            entries,
        },
    })
}

/// Copies on this thread while others encode.
fn at_once<'a>(
    table: &mut TableWriter<'_>,
    stock: Option<&Stock<'_>>,
    steps: Vec<Step<'_>>,
    mut encoding: Encoding<'a>,
    numbers: &mut Vec<usize>,
) -> Result<Encoding<'a>, Trouble> {
    let (send, receive) = sync_channel(WAITING);
    let mut order = Vec::with_capacity(steps.len());
    let mut rows = VecDeque::new();
    for step in steps {
        match step {
            Step::Copy(groups) => order.push(Some(groups)),
            Step::Rows { jobs, sorted } => {
                order.push(None);
                rows.push_back((order.len(), jobs, sorted));
            }
        }
    }
    let closes = |at: usize| !matches!(order.get(at), Some(None));
    let closes = &closes;
    std::thread::scope(|scope| {
        let encode = move || {
            for (next, jobs, sorted) in rows {
                encoding.encode_runs(jobs, sorted, closes(next), &send)?;
            }
            drop(send);
            Ok::<_, Trouble>(encoding)
        };
        let encoder = std::thread::Builder::new()
            .spawn_scoped(scope, encode)
            .map_err(|error| Error::no_thread(&error))?;
        let written = take(table, stock, &order, &receive, numbers);
        // Whoever still wants to say something stops.
        drop(receive);
        let encoded = encoder
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // Who encodes stops without an own reason when nothing is taken any more.
        written.map_err(Trouble::Other).and(encoded)
    })
}

/// Writes what was encoded between what is copied. Where nothing more is reported, whoever
/// should say it says why.
fn take(
    table: &mut TableWriter<'_>,
    stock: Option<&Stock<'_>>,
    order: &[Option<Range<usize>>],
    received: &Receiver<Sent>,
    numbers: &mut Vec<usize>,
) -> Result<()> {
    for step in order {
        match (step, stock) {
            (Some(groups), Some(stock)) => table.graft(stock, groups.clone())?,
            (Some(_), None) => {}
            (None, _) => {
                while let Ok(Sent::Group(group)) = received.recv() {
                    numbers.push(table.append(group)?);
                }
            }
        }
    }
    Ok(())
}

impl Encoding<'_> {
    fn encode_runs(
        &mut self,
        jobs: Vec<Job<'_>>,
        sorted: bool,
        last: bool,
        send: &SyncSender<Sent>,
    ) -> Result<(), Trouble> {
        // Why nobody takes it is known there.
        let stopped = |_| Error::Cancelled;
        let mut out = |group| send.send(Sent::Group(group)).map_err(stopped);
        self.rows(jobs, sorted, &mut out)?;
        if last {
            self.close(&mut out)?;
        }
        Ok(send.send(Sent::Over).map_err(stopped)?)
    }

    fn close(&mut self, out: &mut dyn FnMut(Encoded) -> Result<()>) -> Result<()> {
        self.groups.close()?.map_or(Ok(()), out)
    }

    /// Encodes the rows of some jobs, run by run. Where a run ends depends on the rows alone.
    fn rows(
        &mut self,
        jobs: Vec<Job<'_>>,
        sorted: bool,
        out: &mut dyn FnMut(Encoded) -> Result<()>,
    ) -> Result<(), Trouble> {
        let group_rows = self.group_rows;
        let mut jobs = jobs.into_iter();
        let mut ahead: VecDeque<Decoded> = VecDeque::new();
        while jobs.len() > 0 || !ahead.is_empty() {
            let size = |decoded: &Decoded| (decoded.rows(), bytes(&decoded.batches));
            let add = |sum: (usize, usize), more: (usize, usize)| (sum.0 + more.0, sum.1 + more.1);
            let mut sum = ahead.iter().map(size).fold((0, 0), add);
            if !run_is_full(sum.0, sum.1, group_rows) {
                let reading = self.reading;
                let decoded = threads::until(
                    self.threads,
                    &mut jobs,
                    |job| reading.decode(&job),
                    |decoded| {
                        sum = decoded
                            .as_ref()
                            .map_or(sum, |decoded| add(sum, size(decoded)));
                        decoded.is_err() || run_is_full(sum.0, sum.1, group_rows)
                    },
                );
                for decoded in decoded {
                    let decoded = decoded?;
                    self.read += decoded.read;
                    ahead.push_back(decoded);
                }
                (self.progress)(self.read);
            }
            let (mut run, mut sum) = (Decoded::default(), (0, 0));
            while let Some(mut next) = ahead.pop_front() {
                sum = add(sum, size(&next));
                run.batches.append(&mut next.batches);
                run.new.append(&mut next.new);
                if run_is_full(sum.0, sum.1, group_rows) {
                    break;
                }
            }
            self.run(run, sorted, out)?;
            // Batches come and go by megabytes, and leave holes.
            memory::give_back();
        }
        Ok(())
    }

    fn run(
        &mut self,
        decoded: Decoded,
        is_sorted: bool,
        out: &mut dyn FnMut(Encoded) -> Result<()>,
    ) -> Result<()> {
        let looked = self.look(&decoded, is_sorted)?;
        let order = if is_sorted {
            // Cells are added and stay.
            let known = self.places.iter().map(Vec::len);
            if !known.eq(self.digests.iter().map(Digest::cells_known)) {
                self.places = places_of_cells(&self.digests);
            }
            let places = |digest: usize| {
                self.places
                    .get(digest)
                    .map(Vec::as_slice)
                    .unwrap_or_default()
            };
            let cells = looked
                .iter()
                .map(|looked| (looked.cells.as_slice(), places(looked.digest)));
            sorted(&decoded.batches, &cells.collect::<Vec<_>>(), self.threads)
        } else {
            let batches = decoded.batches.iter().enumerate();
            batches
                .flat_map(|(at, batch)| (0..batch.num_rows()).map(move |row| (at, row)))
                .collect()
        };
        let run = SortedRun::new(&self.reading.target, decoded.batches, order, self.threads)?;
        let column = |field, rows| run.column(field, rows);
        let numbers = self.groups.add(self.threads, run.rows(), column, out)?;
        if let Some(entries) = &mut self.entries {
            let starts = std::iter::once(0).chain(numbers.iter().map(|(_, end)| *end));
            let parts = numbers
                .iter()
                .zip(starts)
                .map(|((number, end), start)| (*number, start..*end))
                .collect();
            let found = threads::each(
                self.threads,
                parts,
                |(number, part): (usize, Range<usize>)| {
                    let key =
                        |&(batch, row): &At| looked.get(batch)?.keys.get(row).copied().flatten();
                    let rows = run.order().get(part).unwrap_or_default().iter();
                    rows.filter_map(|at| Some((key(at)?, number)))
                        .collect::<Vec<_>>()
                },
            );
            entries.extend(found.into_iter().flatten());
        }
        Ok(())
    }

    /// Counts the rows, and finds their cells and keys as far as these are wanted.
    fn look(&mut self, decoded: &Decoded, cells: bool) -> Result<Vec<Scanned>> {
        let keys = self.entries.is_some();
        let rows = decoded.rows();
        let parts = if rows < LIMITS.digest_rows {
            1
        } else {
            self.digests.len()
        };
        let mut shares: Vec<(usize, &mut Digest, Range<usize>)> = Vec::new();
        let mut from = 0;
        let mut counted = 0;
        for (at, digest) in self.digests.iter_mut().enumerate().take(parts) {
            let mut to = from;
            while let Some(batch) = decoded
                .batches
                .get(to)
                .filter(|_| counted < rows * (at + 1) / parts)
            {
                counted += batch.num_rows();
                to += 1;
            }
            shares.push((at, digest, from..to));
            from = to;
        }
        let now = self.now;
        let look = |(digest, into, range): (usize, &mut Digest, Range<usize>)| {
            let batches = decoded.batches.get(range.clone()).unwrap_or_default();
            let new = decoded.new.get(range).unwrap_or_default();
            let look = |(batch, new): (&arrow::array::RecordBatch, &bool)| {
                let columns = Columns::new(batch)?;
                let cells = match (new, cells || keys) {
                    (true, _) => into.tally(&columns, batch.num_rows(), Some((now, None))),
                    (false, true) => into.cells_of(&columns, batch.num_rows()),
                    (false, false) => Vec::new(),
                };
                let key = |(row, cell): (usize, &u32)| {
                    let id = columns.text("test_id", row);
                    key_in(id, into.key_of(*cell), columns.session(row)).map(short)
                };
                let keys = if keys {
                    cells.iter().enumerate().map(key).collect()
                } else {
                    Vec::new()
                };
                Ok(Scanned {
                    digest,
                    cells,
                    keys,
                })
            };
            batches
                .iter()
                .zip(new)
                .map(look)
                .collect::<Result<Vec<_>>>()
        };
        let looked = threads::each(self.threads, shares, look);
        looked.into_iter().try_fold(Vec::new(), |mut all, looked| {
            all.append(&mut looked?);
            Ok(all)
        })
    }
}
