//! What a commit record of format 1 says of the files of other code: how many rows at their
//! beginning main contains, by a fingerprint of these. Rows had no ids then.

use std::collections::HashSet;

use crate::store::aggregate::{Fingerprint, legacy_row_hashes};
use crate::store::error::Result;
use crate::store::format::commit_record::Consumed;
use crate::store::parquet::ParquetFile;

/// How many rows at the beginning of a legacy file main contains: those of the
/// longest consumed version that the file still begins with, else none.
pub(crate) fn consumed_prefix(file: &ParquetFile, versions: &[&Consumed]) -> Result<u64> {
    let versions: Vec<&&Consumed> = versions
        .iter()
        .filter(|version| version.rows <= file.rows())
        .collect();
    let Some(longest) = versions.iter().map(|version| version.rows).max() else {
        return Ok(0);
    };
    let lengths: HashSet<u64> = versions.iter().map(|version| version.rows).collect();
    let mut found = 0;
    prefixes(file, longest, |prefix| {
        if lengths.contains(&prefix.rows()) {
            let own = hex(prefix);
            if versions
                .iter()
                .any(|version| (version.rows, &version.xxh3) == (prefix.rows(), &own))
            {
                found = prefix.rows();
            }
        }
    })?;
    Ok(found)
}

/// The fingerprint of the first rows of a file of other code, in hex: what a commit record of
/// format 1 has of it.
#[cfg(test)]
pub(crate) fn fingerprint(file: &ParquetFile, rows: u64) -> Result<String> {
    prefixes(file, rows, |_| {}).map(|whole| hex(&whole))
}

fn hex(fingerprint: &Fingerprint) -> String {
    format!("{:016x}", fingerprint.value())
}

/// Calls `look` after each of the first rows of a file, and gives the fingerprint of all of them.
fn prefixes(
    file: &ParquetFile,
    rows: u64,
    mut look: impl FnMut(&Fingerprint),
) -> Result<Fingerprint> {
    let mut fingerprint = Fingerprint::default();
    for batch in file.as_stored().batches(None, 0)? {
        for hash in legacy_row_hashes(&batch?)? {
            if fingerprint.rows() == rows {
                return Ok(fingerprint);
            }
            fingerprint.push(hash);
            look(&fingerprint);
        }
    }
    Ok(fingerprint)
}
