//! What the program says of itself: examples under every command's help, completions,
//! man pages, and what was probably meant by a command that there is not.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Exit, out, verbosity};
use crate::config::nearest;

/// Examples of each command, as they are typed.
const EXAMPLES: &[(&str, &[&str])] = &[
    (
        "watch",
        &[
            "evaltop watch my_store",
            "evaltop watch --readonly --target 20000 my_store",
        ],
    ),
    (
        "status",
        &[
            "evaltop status my_store",
            "evaltop status --format prometheus my_store",
        ],
    ),
    (
        "query",
        &[
            "evaltop query my_store --model gpt-4o-mini --since 2h",
            "evaltop query my_store --group-by model,difficulty --sort success_rate:desc",
            "evaltop query my_store --group-by model --percentiles 50,95 --format md",
            "evaltop query my_store --group-by model --plot -o plot.svg",
            "evaltop query my_store --top 20 --columns timestamp,model,error_message",
        ],
    ),
    (
        "compare",
        &[
            "evaltop compare my_store gpt-4o-mini qwen2.5-72b-instruct",
            "evaltop compare my_store baseline cot --by prompt_type --model gpt-4o-mini",
            "evaltop compare my_store --by session --baseline previous --metric execution_time",
        ],
    ),
    (
        "cost",
        &[
            "evaltop cost my_store",
            "evaltop cost my_store --by session,model --target 2000",
        ],
    ),
    (
        "report",
        &[
            "evaltop report my_store -o report.html",
            "evaltop report my_store --baseline previous -o report.md",
        ],
    ),
    (
        "record",
        &[
            "my_runner | evaltop record my_store",
            "evaltop record --ack my_store < results.jsonl",
        ],
    ),
    (
        "run",
        &[
            "evaltop run my_store --models a,b --difficulties easy,hard --num-instances 20 -- ./one_test.sh",
            "evaltop run my_store --plan plan.jsonl --workers 50 --timeout 5m --qps 10 -- python one_test.py",
            "evaltop run my_store --models a --infrastructure-exit 75 --stop-on-burst -- ./one_test.sh",
            "evaltop run my_store --plan plan.jsonl --shard 1/8 -- python one_test.py",
        ],
    ),
    (
        "pull",
        &[
            "evaltop pull ~/runs/nightly --into all_runs",
            "evaltop pull node7:/runs/nightly node8:/runs/nightly --into all_runs --follow --every 30s",
            "evaltop pull s3://my-bucket/nightly --into all_runs --empty --older-than 7d",
        ],
    ),
    ("spool", &["evaltop spool", "evaltop spool --flush"]),
    (
        "missing",
        &[
            "evaltop missing my_store --plan plan.jsonl > rest.jsonl",
            "evaltop missing my_store --plan plan.jsonl --shard 1/8 --infra",
        ],
    ),
    (
        "consolidate",
        &[
            "evaltop consolidate my_store",
            "evaltop consolidate --dry-run my_store",
        ],
    ),
    (
        "cleanup",
        &[
            "evaltop cleanup --dry-run my_store",
            "evaltop cleanup --older-than 7d --keep 5 --yes my_store",
        ],
    ),
    (
        "backup",
        &[
            "evaltop backup my_store",
            "evaltop backup my_store --to copy_of_my_store",
        ],
    ),
    (
        "restore",
        &["evaltop restore --from test_results_20260131_120000.parquet my_store"],
    ),
    (
        "remove",
        &[
            "evaltop remove my_store --model gpt-4o-mini --where 'execution_time > 4' --dry-run",
            "evaltop remove my_store --session latest --yes",
        ],
    ),
    (
        "validate",
        &[
            "evaltop validate my_store",
            "evaltop validate --repair --yes my_store",
        ],
    ),
    (
        "maintain",
        &[
            "evaltop maintain my_store",
            "evaltop maintain --every 30m --older-than 7d --keep 10 my_store",
        ],
    ),
    (
        "import",
        &[
            "evaltop import results.jsonl --into my_store --success-from 'score>=1'",
            "evaltop import scores.csv --into my_store --map model=model_name --dry-run",
        ],
    ),
    (
        "export",
        &[
            "evaltop export my_store --format delta -o my_table",
            "evaltop export my_store -o results.csv",
            "evaltop export my_store --model gpt-4o-mini -o part.parquet",
        ],
    ),
    (
        "merge",
        &["evaltop merge one.parquet two.parquet -o all.parquet"],
    ),
    ("demo", &["evaltop demo", "evaltop demo --speed 100"]),
    (
        "config",
        &[
            "evaltop config init",
            "evaltop config show my_store",
            "evaltop config check my_store",
        ],
    ),
    (
        "completions",
        &["evaltop completions bash > ~/.local/share/bash-completion/completions/evaltop"],
    ),
    (
        "man",
        &["evaltop man run", "evaltop man -o ~/.local/share/man/man1"],
    ),
];

/// Examples of the program as a whole.
const OF_ALL: &[&str] = &["evaltop my_store", "evaltop demo", "evaltop help run"];

/// Exit codes, as [`Exit`] has them.
const EXITS: &str = "Exit codes: 0 done or healthy, 1 failed, 2 wrong command line, 10 warnings, 20 critical,\n\
    30 a gate failed (1: it could not be decided), 75 another process is at it, 130 interrupted";

/// Where the log is.
const LOG: &str = "Log: evaltop/evaltop.log in $XDG_STATE_HOME (~/.local/state): the dashboard's warnings and activity,\n\
    and what RUST_LOG asks for, such as RUST_LOG=evaltop=debug";

/// The command line with its examples.
pub(super) fn command() -> Command {
    let mut command = Cli::command().after_help(format!("{}\n\n{EXITS}\n\n{LOG}", listed(OF_ALL)));
    for (name, examples) in EXAMPLES {
        command = command.mut_subcommand(name, |sub| sub.after_help(listed(examples)));
    }
    command
}

fn listed(examples: &[&str]) -> String {
    let lines: Vec<_> = examples
        .iter()
        .map(|example| format!("  {example}"))
        .collect();
    format!("Examples:\n{}", lines.join("\n"))
}

/// The command that was probably meant by `typed`, if any.
pub(super) fn meant(typed: &str) -> Option<String> {
    let command = Cli::command();
    let names = command
        .get_subcommands()
        .filter(|sub| !sub.is_hide_set())
        .map(Command::get_name);
    nearest(typed, names).map(str::to_owned)
}

/// `evaltop completions`.
#[derive(Debug, Clone, Args)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: Shell,
}

/// `evaltop completions`.
pub fn completions(args: &CompletionsArgs) -> Result<Exit> {
    let all = command();
    // Built again, because the scripts would offer hidden commands too.
    let mut shown = Command::new("evaltop")
        .args(all.get_arguments().cloned())
        .subcommands(
            all.get_subcommands()
                .filter(|sub| !sub.is_hide_set())
                .cloned(),
        );
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut shown, "evaltop", &mut script);
    out::stdout().write_all(&script)?;
    Ok(Exit::Ok)
}

/// `evaltop man`.
#[derive(Debug, Clone, Args)]
pub struct ManArgs {
    /// The page of this command instead of the program's
    #[arg(conflicts_with = "output")]
    pub command: Option<String>,
    /// Write all pages into this folder
    #[arg(short, long, value_name = "FOLDER")]
    pub output: Option<PathBuf>,
}

/// `evaltop man`.
pub fn man(args: &ManArgs) -> Result<Exit> {
    let mut all = command().disable_help_subcommand(true);
    all.build();
    if let Some(folder) = &args.output {
        let pages = write_all(&all, folder)?;
        if !verbosity::quiet() {
            writeln!(
                out::stdout(),
                "wrote {pages} pages to {}: man -l {0}/evaltop.1",
                folder.display()
            )?;
        }
        return Ok(Exit::Ok);
    }
    let command = match &args.command {
        None => all,
        Some(name) => match all.find_subcommand(name) {
            Some(sub) => sub.clone(),
            None => bail!(super::Usage(format!(
                "there is no command '{name}': see evaltop help"
            ))),
        },
    };
    out::stdout().write_all(page(clap_mangen::Man::new(command))?.as_bytes())?;
    Ok(Exit::Ok)
}

/// A manual page. What stands below a command's help has sections of its own in it.
fn page(man: clap_mangen::Man) -> Result<String> {
    let mut text = Vec::new();
    // Without a date what follows would stand in its place.
    man.date("-")
        .source(concat!("evaltop ", env!("CARGO_PKG_VERSION")))
        .render(&mut text)?;
    let sections = [
        ("\n.br\n\n.br\n", "\n.sp\n"),
        (" 1 - \"evaltop ", " 1 \"\" \"evaltop "),
        (".SH EXTRA\nExamples:\n", ".SH EXAMPLES\n.nf\n"),
        ("\n\nExit codes: ", "\n.SH EXIT STATUS\n"),
        ("\n\nLog: ", "\n.SH FILES\n"),
    ];
    let text = String::from_utf8(text)?;
    Ok(sections
        .into_iter()
        .fold(text, |text, (written, meant)| text.replace(written, meant)))
}

/// Pages of the program and of every command; returns how many.
fn write_all(all: &Command, folder: &Path) -> Result<usize> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut left = vec![all.clone()];
    let mut pages = 0;
    while let Some(command) = left.pop() {
        left.extend(
            command
                .get_subcommands()
                .filter(|sub| !sub.is_hide_set())
                .cloned(),
        );
        let man = clap_mangen::Man::new(command);
        let path = folder.join(man.get_filename());
        std::fs::write(&path, page(man)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
        pages += 1;
    }
    Ok(pages)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of a line as a shell would split them; what stands before a pipe and
    /// after a redirection is not ours.
    fn words(line: &str) -> Vec<String> {
        let line = line
            .rsplit("| ")
            .next()
            .unwrap()
            .split(" < ")
            .next()
            .unwrap()
            .split(" > ")
            .next()
            .unwrap();
        let plain = |word: &str| word.trim_matches('\'').to_owned();
        line.split_whitespace().map(plain).collect()
    }

    #[test]
    fn every_command_has_examples_that_can_be_typed() {
        let command = command();
        command.clone().debug_assert();
        for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
            let name = sub.get_name();
            let (_, examples) = EXAMPLES
                .iter()
                .find(|(named, _)| *named == name)
                .expect(name);
            for example in *examples {
                assert!(example.contains(&format!("evaltop {name}")), "{example}");
            }
        }
        let all = EXAMPLES
            .iter()
            .flat_map(|(_, examples)| examples.iter())
            .chain(OF_ALL);
        for example in all {
            let parsed = super::command().try_get_matches_from(words(example));
            let shown = parsed.as_ref().err().map(ToString::to_string);
            let help = parsed.as_ref().is_err_and(|error| !error.use_stderr());
            assert!(parsed.is_ok() || help, "{example}: {shown:?}");
        }
    }

    #[test]
    fn a_slip_is_recognised() {
        for (typed, expected) in [
            ("statsu", Some("status")),
            ("consolidte", Some("consolidate")),
            ("wacth", Some("watch")),
            ("my_store", None),
            ("x", None),
        ] {
            assert_eq!(meant(typed).as_deref(), expected, "{typed}");
        }
    }
}
