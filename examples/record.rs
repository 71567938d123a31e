//! Records ten results and counts them: `cargo run --example record -- STORE`.

use evaltop::{Control, Record, Result, Scanner, Store, Writer, WriterOptions};

fn main() -> Result<()> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "example".into());
    let store = Store::new(folder);
    let mut writer = Writer::open(&store, WriterOptions::default())?;
    for number in 0_u8..10 {
        let result = Record {
            model: "opal-4".into(),
            task_id: Some(format!("arithmetic-{number}")),
            success: Some(number % 3 != 0),
            ..Record::default()
        };
        // On disk when this returns.
        writer.append(result)?;
    }
    writer.close()?;

    let snapshot = Scanner::new().scan(&store, jiff::Timestamp::now(), &Control::default())?;
    for (cell, tally) in snapshot.cells.iter() {
        println!("{}: {} tests", cell.model, tally.tests);
    }
    Ok(())
}
