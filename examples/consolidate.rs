//! Merges pending files into main: `cargo run --example consolidate -- STORE`.
//! Writers may go on meanwhile; Ctrl-C at any moment loses nothing.

use evaltop::{ConsolidateOptions, Control, Result, Store, consolidate};

fn main() -> Result<()> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "example".into());
    let store = Store::new(folder);
    store.check()?;
    let now = jiff::Timestamp::now();
    let outcome = consolidate(
        &store,
        &ConsolidateOptions::default(),
        now,
        &Control::default(),
    )?;
    println!(
        "{} rows added, {} in main, generation {}",
        outcome.rows_added, outcome.rows_total, outcome.generation
    );
    for skipped in &outcome.skipped {
        println!("{} was left where it is: {}", skipped.file, skipped.reason);
    }
    Ok(())
}
