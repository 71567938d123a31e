//! Amounts from which on work is split, spilled or done another way. All of them stand here, with
//! the values of the program and small ones under which a test reaches the other way with a few
//! rows. Results are the same with either.

/// How much is held, read or written at once.
pub(crate) struct Limits {
    /// Rows of increments that one commit takes in, unless a single file has more.
    pub(crate) commit_rows: u64,
    /// Files that one commit takes in: main's footer names each of them.
    pub(crate) commit_files: usize,
    /// Rows of a run from which on there is more than one digest.
    pub(crate) digest_rows: usize,
    /// Keys that are held for the index of main; those of more rows are read again.
    pub(crate) index_keys: u64,
    /// Keys that are sorted at once; beyond it main is read once for each so many.
    pub(crate) sorted_keys: u64,
    /// Entries in a block of the key index: what one look-up reads.
    pub(crate) index_block: usize,
    /// Records that `merge` compares at once: 8 bytes each, and some 150 for each test that comes
    /// more than once.
    pub(crate) merge_rows: u64,
    /// Bytes that are copied at once. While the next ones are copied, the disk writes them: the
    /// sync at the end has little left to wait for.
    pub(crate) copy_bytes: u64,
    /// Rows that are read at once: so many can wait decoded, whoever wrote the file.
    pub(crate) read_rows: usize,
    /// Fewer rows than this are read whole: to search them first would cost more.
    pub(crate) search_rows: u64,
    /// As much work as a footer, in rows.
    pub(crate) footer_rows: u64,
    /// Tests of a query that are held in memory; more spill to a file.
    pub(crate) held_tests: usize,
    /// Tests of a comparison that are held in memory.
    pub(crate) held_pairs: usize,
    /// Cells that an export of summary rows holds while their tests are counted.
    pub(crate) held_cells: usize,
    /// Fewer matching rows than this are read before threads would have begun.
    pub(crate) query_rows: u64,
    /// Rows for which a further thread is worth its start.
    pub(crate) thread_rows: u64,
    /// Things that are sorted on one thread.
    pub(crate) sort_items: usize,
    /// Bytes of the longest value of a JSON document that is held as a whole.
    pub(crate) value_bytes: u64,
}

/// The program's.
const PROGRAM: Limits = Limits {
    commit_rows: 2_000_000,
    commit_files: 8_192,
    digest_rows: 32_768,
    index_keys: 2_500_000,
    sorted_keys: 8_000_000,
    index_block: 1_024,
    merge_rows: 4_000_000,
    copy_bytes: 32 << 20,
    read_rows: 65_536,
    search_rows: 8_192,
    footer_rows: 256,
    held_tests: 1 << 18,
    held_pairs: 1 << 17,
    held_cells: 1 << 15,
    query_rows: 65_536,
    thread_rows: 16_384,
    sort_items: 65_536,
    value_bytes: 64 << 20,
};

/// Those of unit tests. The tests of the program as a whole run with the program's.
const SMALL: Limits = Limits {
    commit_rows: 2_000,
    commit_files: 100,
    digest_rows: 40,
    index_keys: 100,
    sorted_keys: 50,
    index_block: 8,
    merge_rows: 8,
    copy_bytes: 64 << 10,
    read_rows: 16,
    search_rows: 2,
    footer_rows: 4,
    held_tests: 2,
    held_pairs: 2,
    held_cells: 2,
    query_rows: 32,
    thread_rows: 40,
    sort_items: 16,
    value_bytes: 1 << 20,
};

/// The ones in force.
pub(crate) const LIMITS: Limits = if cfg!(test) { SMALL } else { PROGRAM };
