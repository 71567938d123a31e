//! What one reader saw, as numbers of rows of each life, and how a reader process
//! says it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::BufRead;

/// The rows of one life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Rows.
    pub count: u64,
    /// Rows with a number of their own.
    pub distinct: u64,
    /// So many rows from number 0 on are all there.
    pub prefix: u64,
}

/// One view.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    pub lives: BTreeMap<usize, Seen>,
    /// Rows that the store took for older attempts or repeats: there are none.
    pub replaced: u64,
}

/// Begins each line that is part of a view: the test harness prints others.
const MARK: char = '@';

/// The model of a life's rows. A row's `task_id` is its number.
pub fn model(life: usize) -> String {
    format!("life-{life}")
}

impl View {
    /// The numbers of a life's rows, in any order.
    pub fn add(&mut self, life: usize, mut rows: Vec<u64>) {
        let count = rows.len() as u64;
        rows.sort_unstable();
        rows.dedup();
        let prefix = (0..).zip(&rows).take_while(|(at, row)| at == *row).count() as u64;
        self.lives.insert(
            life,
            Seen {
                count,
                distinct: rows.len() as u64,
                prefix,
            },
        );
    }

    /// How many rows a life has, where the numbers are not known.
    pub fn add_count(&mut self, model: &str, count: u64) {
        let seen = self.lives.entry(number(model)).or_default();
        let count = seen.count + count;
        *seen = Seen {
            count,
            distinct: count,
            prefix: count,
        };
    }

    /// From the model and the number of every row.
    pub fn of_rows<'a>(rows: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut lives: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
        for (model, row) in rows {
            lives
                .entry(number(model))
                .or_default()
                .push(row.parse().expect("a row's number"));
        }
        let mut view = Self::default();
        for (life, rows) in lives {
            view.add(life, rows);
        }
        view
    }

    pub fn rows(&self) -> u64 {
        self.lives.values().map(|seen| seen.count).sum()
    }

    /// The lines by which a reader process says it.
    pub fn to_lines(&self) -> String {
        let mut text = String::from("\n");
        for (
            life,
            Seen {
                count,
                distinct,
                prefix,
            },
        ) in &self.lives
        {
            let _ = writeln!(text, "{MARK}life {life} {count} {distinct} {prefix}");
        }
        text + &format!("{MARK}end {}\n", self.replaced)
    }

    /// One view of a reader process: `Err` with what it said instead, `None` when it
    /// died before the end.
    pub fn read(from: &mut impl BufRead) -> Option<Result<Self, String>> {
        let mut view = Self::default();
        loop {
            let line = line(from)?;
            if let Some(error) = line.strip_prefix("error ") {
                return Some(Err(error.to_owned()));
            }
            let (what, numbers) = line.split_once(' ')?;
            let numbers: Vec<u64> = numbers
                .split(' ')
                .filter_map(|number| number.parse().ok())
                .collect();
            match (what, &numbers[..]) {
                ("life", &[life, count, distinct, prefix]) => {
                    view.lives.insert(
                        life as usize,
                        Seen {
                            count,
                            distinct,
                            prefix,
                        },
                    );
                }
                ("end", &[replaced]) => return Some(Ok(Self { replaced, ..view })),
                _ => return None,
            }
        }
    }
}

fn number(model: &str) -> usize {
    model
        .strip_prefix("life-")
        .and_then(|life| life.parse().ok())
        .expect("a model of ours")
}

/// The next line for us, without its mark; `None` when the process died.
pub fn line(from: &mut impl BufRead) -> Option<String> {
    loop {
        let mut line = String::new();
        // What a killed process did not finish is not a line.
        if from.read_line(&mut line).ok()? == 0 || !line.ends_with('\n') {
            return None;
        }
        if let Some(ours) = line.trim_end().strip_prefix(MARK) {
            return Some(ours.to_owned());
        }
    }
}

/// Says something to the process that started us.
pub fn say(text: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let reported = write!(out, "\n{MARK}{}\n", text.replace('\n', " ")).and_then(|()| out.flush());
    if reported.is_err() {
        std::process::exit(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_survives_being_printed() {
        let view = View::of_rows([
            ("life-3", "0"),
            ("life-3", "1"),
            ("life-11", "4"),
            ("life-11", "4"),
        ]);
        assert_eq!(
            view.lives[&3],
            Seen {
                count: 2,
                distinct: 2,
                prefix: 2
            }
        );
        assert_eq!(
            view.lives[&11],
            Seen {
                count: 2,
                distinct: 1,
                prefix: 0
            }
        );
        let reported = format!("test worker ... {}", view.to_lines());
        assert_eq!(View::read(&mut reported.as_bytes()), Some(Ok(view)));
        let cut = &reported[..reported.len() - 3];
        assert_eq!(View::read(&mut cut.as_bytes()), None);
        assert_eq!(
            View::read(&mut &b"\n@error no store\n"[..]),
            Some(Err("no store".to_owned()))
        );
    }
}
