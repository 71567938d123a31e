//! `missing`: what of a plan a store does not have yet. Never changes the store.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde_json::Value;

use super::verbosity::complain;
use super::{Exit, Usage, dir, left_out, out};
use crate::runner::missing::{Again, missing};
use crate::runner::plan::{self, Row, Test};
use crate::store::Control;
use crate::store::write::shard::Shard;

/// `evaltop missing`.
#[derive(Debug, Clone, Args)]
pub struct MissingArgs {
    /// The store; one that is not there has nothing
    pub dir: Option<PathBuf>,
    /// What is planned: JSON lines, or CSV with a header
    #[arg(long, value_name = "FILE")]
    pub plan: PathBuf,
    /// Tests of each row of the plan
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub num_instances: u64,
    /// One part of the plan only, such as 1/8; slurm takes it from the job array
    #[arg(long, value_name = "I/N|slurm")]
    pub shard: Option<String>,
    /// Tests whose newest attempt is not a success, too
    #[arg(long, conflicts_with = "infra")]
    pub failed: bool,
    /// Tests whose newest attempt the infrastructure failed, too
    #[arg(long)]
    pub infra: bool,
    /// The session whose tests count
    #[arg(long, value_name = "NAME")]
    pub session: Option<String>,
}

/// `evaltop missing`.
pub fn run(args: &MissingArgs) -> Result<Exit> {
    let mut stdout = out::stdout();
    let control = Control::default();
    let lines = lines(args, &control)?;
    // What is done in files that do not count is asked for again.
    let exit = left_out::say(&control, false);
    for line in lines {
        writeln!(stdout, "{line}")?;
    }
    stdout.flush()?;
    Ok(exit)
}

/// The missing tests, a row of the plan each.
pub(super) fn lines(args: &MissingArgs, control: &Control) -> Result<Vec<Value>> {
    let (store, _) = dir::view(args.dir.as_deref())?;
    let session = args.session.as_deref();
    let shard = args.shard.as_deref().map(shard).transpose()?;
    let rows = plan::read(&args.plan, args.num_instances, session, &mut complain)?;
    let again = match (args.failed, args.infra) {
        (true, _) => Again::Failed,
        (false, true) => Again::Infrastructure,
        (false, false) => Again::Nothing,
    };
    let due = missing(&store, &[], &rows, again, shard, session, control)?;
    let line = |test: &Test| rows.get(test.row as usize).map(|row| line(row, *test));
    Ok(due.missing.iter().filter_map(line).collect())
}

/// A row of the plan as one test of it: where it is run several times, each is a trial.
fn line(row: &Row, test: Test) -> Value {
    let mut fields = row.fields.clone();
    if row.instances > 1 {
        let trial = test.instance.max(1) - 1;
        fields.entry("trial").or_insert_with(|| trial.into());
    }
    Value::Object(fields)
}

/// A part of a plan as people name it: `1/8`, or `slurm`.
pub(super) fn shard(text: &str) -> Result<Shard, Usage> {
    if text == "slurm" {
        return of_slurm(|name| std::env::var(name).ok());
    }
    Shard::parse(text).ok_or_else(|| {
        Usage(format!(
            "invalid shard '{text}' (expected e.g. 1/8, counted from 1, or slurm)"
        ))
    })
}

/// The part that a task of a job array has.
fn of_slurm(variable: impl Fn(&str) -> Option<String>) -> Result<Shard, Usage> {
    let number = |name: &str| -> Result<u32, Usage> {
        let name = format!("SLURM_ARRAY_TASK_{name}");
        variable(&name)
            .and_then(|text| text.trim().parse().ok())
            .ok_or_else(|| {
                Usage(format!(
                    "--shard slurm: {name} is not set: start a job array (sbatch --array=1-8), \
                     or name the part (--shard 1/8)"
                ))
            })
    };
    let (id, least, most, count) = (
        number("ID")?,
        number("MIN")?,
        number("MAX")?,
        number("COUNT")?,
    );
    let step = number("STEP").unwrap_or(1).max(1);
    let gaps = || {
        Usage(format!(
            "--shard slurm: the array has {count} tasks from {least} to {most}, with gaps: \
             use a range (sbatch --array=1-8), or name the part (--shard 1/8)"
        ))
    };
    let place = |id: u32| id.checked_sub(least).map(|offset| offset / step);
    if place(most).map(|last| last + 1) != Some(count) {
        return Err(gaps());
    }
    let index = place(id).map(|place| place + 1);
    index
        .and_then(|index| Shard::new(index, count))
        .ok_or_else(gaps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_of_an_array_comes_from_its_variables() {
        let of = |numbers: [&str; 5]| {
            let names = ["ID", "MIN", "MAX", "COUNT", "STEP"];
            of_slurm(|name| {
                let of = names
                    .iter()
                    .position(|end| name == format!("SLURM_ARRAY_TASK_{end}"))?;
                Some(numbers[of].to_owned()).filter(|text| !text.is_empty())
            })
            .map(|shard| shard.to_string())
            .map_err(|error| error.to_string())
        };
        assert_eq!(of(["1", "1", "8", "8", "1"]).unwrap(), "1/8");
        assert_eq!(of(["7", "0", "7", "8", ""]).unwrap(), "8/8");
        assert_eq!(of(["7", "1", "9", "3", "4"]).unwrap(), "2/3");
        assert!(of(["3", "1", "7", "3", "1"]).unwrap_err().contains("gaps"));
        let unset = of(["", "1", "8", "8", "1"]).unwrap_err();
        assert!(unset.contains("SLURM_ARRAY_TASK_ID"), "{unset}");
    }
}
