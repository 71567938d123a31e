//! Reads the rows of one model as Arrow batches: `cargo run --example rows -- STORE MODEL`.
//! Each test comes once, with its newest attempt, from main and from pending files alike.

use evaltop::{Control, Filter, Result, Selection, Store, query};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap_or_else(|| "example".into());
    let store = Store::new(folder);
    store.check()?;
    let selection = Selection {
        filter: Filter {
            models: arguments.collect(),
            ..Filter::default()
        },
        ..Selection::default()
    };
    for batch in query(&store, &selection, &Control::default())? {
        let batch = batch?;
        println!(
            "{} rows of {} columns",
            batch.num_rows(),
            batch.num_columns()
        );
    }
    Ok(())
}
