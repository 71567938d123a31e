//! Which columns of a record come from which columns of a foreign file.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use jiff::tz::TimeZone;
use xxhash_rust::xxh3::xxh3_128;

use super::condition::{Condition, Judge};
use super::content::contents;
use super::convert::{self, Bad};
use super::source::{Column, Stands, stand_for};
use crate::config::did_you_mean;
use crate::store::aggregate::is_id;
use crate::store::format::schema::{CANONICAL, Kind, Range, is_optional, kind_of};

/// What the user said about the columns.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Mapping {
    /// `(column, source)`: take a record's column from another one.
    pub columns: Vec<(String, String)>,
    /// Where rows are in a JSON document.
    pub rows: Option<String>,
    /// `(column, value)`: give every row this value.
    pub set: Vec<(String, String)>,
    /// When a row is a full success.
    pub success: Option<Condition>,
    /// When a row is a partial success.
    pub partial: Option<Condition>,
}

impl Mapping {
    /// From `column=source` texts and conditions as they are typed.
    pub fn parse(
        maps: &[String],
        success: Option<&str>,
        partial: Option<&str>,
    ) -> Result<Self, String> {
        let mut columns: Vec<(String, String)> = Vec::new();
        for map in maps {
            let (column, source) = map
                .split_once('=')
                .map(|(column, source)| (column.trim(), source.trim()))
                .filter(|(column, source)| !column.is_empty() && !source.is_empty())
                .ok_or_else(|| {
                    format!("--map '{map}' is not column=source, like model=model_name")
                })?;
            if kind_of(column).is_none() {
                let known: Vec<_> = CANONICAL.iter().map(|(name, _)| *name).collect();
                return Err(format!(
                    "--map {map}: a record has no column '{column}', it has {}; \
                     other columns of the file are kept under their own names",
                    known.join(", ")
                ));
            }
            if columns.iter().any(|(other, _)| other == column) {
                return Err(format!("--map gives the column '{column}' twice"));
            }
            columns.push((column.to_owned(), source.to_owned()));
        }
        for (column, flag, condition) in [
            ("success", "--success-from", success),
            ("partial_success", "--partial-from", partial),
        ] {
            if condition.is_some() && columns.iter().any(|(other, _)| other == column) {
                return Err(format!(
                    "--map {column}=… and {flag} both say when a row is one: use either"
                ));
            }
        }
        let condition = |text: Option<&str>| text.map(str::parse).transpose();
        Ok(Self {
            columns,
            rows: None,
            set: Vec::new(),
            success: condition(success)?,
            partial: condition(partial)?,
        })
    }
}

impl Mapping {
    /// Names with dots, which may be fields inside others.
    pub(crate) fn nested(&self) -> Vec<String> {
        let sources = self.columns.iter().map(|(_, source)| source.as_str());
        let conditions = self.success.iter().chain(&self.partial);
        let mut names: Vec<String> = sources
            .chain(conditions.flat_map(Condition::names))
            .filter(|name| name.contains('.'))
            .map(str::to_owned)
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Adds `column=value` texts as they are typed.
    pub fn with_set(mut self, texts: &[String]) -> Result<Self, String> {
        for text in texts {
            let (column, value) = text
                .split_once('=')
                .map(|(column, value)| (column.trim(), value.trim()))
                .filter(|(column, value)| !column.is_empty() && !value.is_empty())
                .ok_or_else(|| {
                    format!("--set '{text}' is not column=value, like session_id=2026-01-31")
                })?;
            if matches!(column, "test_id" | "success" | "partial_success") {
                return Err(format!(
                    "--set {column}: it tells rows apart, so one value for all makes no sense"
                ));
            }
            let twice = self.set.iter().any(|(other, _)| other == column);
            if twice || self.columns.iter().any(|(other, _)| other == column) {
                return Err(format!("--set gives the column '{column}' twice"));
            }
            self.set.push((column.to_owned(), value.to_owned()));
        }
        Ok(self)
    }
}

/// The column that says from which source an import took a row.
pub(crate) const SOURCE: &str = "import_source";

/// Gives rows ids of one source: mapped ones stay, others are made of source, session and
/// content, so that a row is the same test however its columns are mapped. Equal rows of one
/// file are numbered.
#[derive(Debug)]
pub(crate) struct Ids {
    /// The source's name.
    pub(crate) label: String,
    /// How often a row of this content came, by 64 bits of its hash.
    first: HashSet<u64>,
    again: HashMap<u64, u32>,
}

impl Ids {
    pub(crate) fn new(label: &str) -> Self {
        Self {
            label: label.to_owned(),
            first: HashSet::new(),
            again: HashMap::new(),
        }
    }

    fn make(&mut self, content: u128, session: Option<&str>) -> String {
        let session = session.unwrap_or_default();
        let mut bytes = Vec::with_capacity(64 + self.label.len());
        for part in [self.label.as_bytes(), session.as_bytes()] {
            bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
            bytes.extend_from_slice(part);
        }
        bytes.extend_from_slice(&content.to_le_bytes());
        let before = xxh3_128(&bytes);
        let short = before as u64;
        let occurrence = if self.first.insert(short) {
            0
        } else {
            let again = self.again.entry(short).or_default();
            *again += 1;
            *again
        };
        if occurrence > 0 {
            bytes.extend_from_slice(&occurrence.to_le_bytes());
        }
        format!("{:032x}", xxh3_128(&bytes))
    }
}

/// Where each column of the records comes from, for one file.
#[derive(Debug)]
pub(crate) struct Plan {
    taken: Vec<Taken>,
    /// `None`: nothing says which rows are successes, so their scores count.
    success: Option<Judge>,
    partial: Option<Judge>,
    /// Whether rows need not say what came of the test.
    unscored: bool,
    /// Columns kept as they are: place in the file, name.
    extra: Vec<(usize, String)>,
    /// Columns with one value for all rows: name, value, type.
    set: Vec<(String, String, DataType)>,
    /// The file's own column of sources.
    source: Option<usize>,
    columns: Vec<Column>,
}

#[derive(Debug)]
struct Taken {
    name: &'static str,
    kind: Kind,
    from: usize,
}

impl Plan {
    /// Fits a mapping to a file's columns. The error is the end of a sentence that
    /// begins with the file's name.
    #[cfg(test)]
    pub(crate) fn new(mapping: &Mapping, columns: &[Column]) -> Result<Self, String> {
        Self::with(mapping, columns, false)
    }

    /// Fits a mapping to columns; with `unscored`, rows need not say what came of their tests.
    pub(crate) fn with(
        mapping: &Mapping,
        columns: &[Column],
        unscored: bool,
    ) -> Result<Self, String> {
        let there_are = || names_of(columns);
        let find = |name: &str| {
            columns
                .iter()
                .position(|column| column.name == name)
                .ok_or_else(|| {
                    let meant =
                        did_you_mean(name, columns.iter().map(|column| column.name.as_str()));
                    format!("has no column '{name}'{meant}, it has {}", there_are())
                })
        };
        let condition = |condition: &Condition| {
            condition.bind(columns).map_err(|why| {
                if why.starts_with("no column") {
                    // Of many columns the first are enough.
                    let why = why.split(" (text is").next().unwrap_or(&why);
                    format!("has {why}, it has {}", there_are())
                } else {
                    format!("can't be judged: {why}")
                }
            })
        };
        let mut taken = Vec::new();
        let is_set = |name: &str| mapping.set.iter().any(|(column, _)| column == name);
        for (name, kind) in CANONICAL {
            if is_set(name) {
                continue;
            }
            let mapped = mapping.columns.iter().find(|(column, _)| column == name);
            let from = match mapped {
                Some((_, source)) => Some(find(source)?),
                None => columns
                    .iter()
                    .position(|column| column.name == name && fits(column, kind)),
            };
            if let Some(from) = from {
                taken.push(Taken { name, kind, from });
            }
        }
        let own = |name: &str| {
            taken
                .iter()
                .find(|taken| taken.name == name)
                .map(|taken| taken.from)
        };
        let itself = |at: Option<usize>| at.map(|at| Judge::truth(columns, at)).transpose();
        let success = match &mapping.success {
            Some(success) => Some(condition(success)?),
            None => itself(own("success"))?,
        };
        if success.is_none() && own("score").is_none() && !unscored {
            return Err(format!(
                "does not say which rows are successes: give --success-from 'column>=number' \
                 or a boolean column{}; it has {}",
                if own("model").is_some() || is_set("model") {
                    ""
                } else {
                    ", or --models-in-columns where each model has a column"
                },
                there_are()
            ));
        }
        let partial = match &mapping.partial {
            Some(partial) => Some(condition(partial)?),
            None => itself(own("partial_success"))?,
        };
        if own("model").is_none() && !is_set("model") {
            return Err(format!(
                "does not say the model: give --map model=column, --set model=NAME, or --models-in-columns \
                 where each model has a column; it has {}",
                there_are()
            ));
        }
        taken.retain(|taken| !matches!(taken.name, "success" | "partial_success"));
        let extra = columns
            .iter()
            .enumerate()
            .filter(|(at, column)| {
                let used = taken.iter().any(|taken| taken.from == *at);
                let renamed = mapping
                    .columns
                    .iter()
                    .any(|(_, source)| *source == column.name);
                let itself = [&success, &partial]
                    .into_iter()
                    .flatten()
                    .any(|judge| judge.itself() == Some(*at) && kind_of(&column.name).is_some());
                let replaced = is_set(&column.name) || column.name == SOURCE;
                !used && !renamed && !itself && !replaced
            })
            // A name that the record has from elsewhere would hide one of the two.
            .map(|(at, column)| {
                let taken = taken.iter().any(|taken| taken.name == column.name);
                let free = is_optional(&column.name) && !taken;
                match kind_of(&column.name).filter(|_| !free) {
                    Some(_) => (at, format!("source_{}", column.name)),
                    None => (at, column.name.clone()),
                }
            })
            .collect();
        let set = mapping.set.iter().map(|(name, value)| {
            let stands = Stands::of(value);
            let data_type = match kind_of(name) {
                Some(Kind::Int) if stands != Stands::Int => DataType::Float64,
                Some(kind) => kind.data_type(),
                None => stands.data_type(),
            };
            (name.clone(), value.clone(), data_type)
        });
        Ok(Self {
            taken,
            success,
            partial,
            unscored,
            extra,
            set: set.collect(),
            source: columns.iter().position(|column| column.name == SOURCE),
            columns: columns.to_vec(),
        })
    }

    /// Words of the conditions that are right only if their columns hold them: the place of
    /// the column, its name, the word.
    pub(crate) fn words(&self) -> Vec<(usize, String, String)> {
        let judges = self.success.iter().chain(&self.partial);
        let place = |name: &str| self.columns.iter().position(|column| column.name == name);
        judges
            .flat_map(Judge::words)
            .filter_map(|word| Some((place(&word.column)?, word.column.clone(), word.text.clone())))
            .collect()
    }

    /// Whether it says which rows are successes.
    pub(crate) fn judges(&self) -> bool {
        self.success.is_some()
    }

    /// What comes from where, for people: `model`, `task_type=category`, …
    pub(crate) fn describe(&self) -> Vec<String> {
        let name = |at: usize| {
            self.columns
                .get(at)
                .map_or("", |column| column.name.as_str())
        };
        let taken = self.taken.iter().map(|taken| match name(taken.from) {
            own if own == taken.name => own.to_owned(),
            other => format!("{}={other}", taken.name),
        });
        taken.collect()
    }

    /// Names of the columns that are kept beyond those of a record.
    pub(crate) fn extra(&self) -> Vec<String> {
        self.extra.iter().map(|(_, name)| name.clone()).collect()
    }

    /// The columns of every batch that [`Plan::apply`] makes.
    pub(crate) fn schema(&self) -> SchemaRef {
        let nullable = |name: &str, data_type| Field::new(name, data_type, true);
        let whole = |at: usize| self.columns.get(at).is_some_and(|column| column.whole);
        let mut fields = vec![
            nullable("test_id", DataType::Utf8),
            nullable("success", DataType::Boolean),
        ];
        fields.extend(
            self.partial
                .iter()
                .map(|_| nullable("partial_success", DataType::Boolean)),
        );
        fields.extend(
            self.taken
                .iter()
                .filter(|taken| taken.name != "test_id")
                .map(|taken| {
                    let data_type = match taken.kind {
                        Kind::Int if !whole(taken.from) => DataType::Float64,
                        kind => kind.data_type(),
                    };
                    let column = self.columns.get(taken.from);
                    let range = column.map_or_else(Range::default, |column| column.range);
                    range.mark(&nullable(taken.name, data_type))
                }),
        );
        fields.extend(self.extra.iter().map(|(at, name)| {
            let column = self.columns.get(*at);
            let data_type = column.map_or(DataType::Null, |column| column.stands_for.clone());
            let range = column.map_or_else(Range::default, |column| column.range);
            range.mark(&nullable(name, data_type))
        }));
        let set = self.set.iter();
        fields.extend(set.map(|(name, _, data_type)| nullable(name, data_type.clone())));
        fields.push(nullable(SOURCE, DataType::Utf8));
        Arc::new(Schema::new(fields))
    }

    /// Rows of the file as rows of records.
    pub(crate) fn apply(
        &self,
        batch: &RecordBatch,
        zone: &TimeZone,
        ids: &mut Ids,
    ) -> Result<RecordBatch, Bad> {
        let column = |at: usize| {
            batch.columns().get(at).ok_or_else(|| Bad {
                row: 0,
                why: "a column is missing".to_owned(),
            })
        };
        let named = |at: usize| {
            let name = self
                .columns
                .get(at)
                .map_or_else(String::new, |column| column.name.clone());
            move |bad: Bad| Bad {
                why: format!("column '{name}': {}", bad.why),
                ..bad
            }
        };
        let success = match &self.success {
            Some(success) => success.holds(batch)?,
            None => BooleanArray::new_null(batch.num_rows()),
        };
        // A column that says so itself has to; a comparison with what is missing leaves a test
        // unscored.
        let judge = self.success.as_ref().filter(|_| !self.unscored);
        if let Some(judge) = judge.filter(|judge| judge.itself().is_some()) {
            let says = |name: &str, row: usize| {
                let taken = self.taken.iter().find(|taken| taken.name == name);
                let column = taken.and_then(|taken| batch.columns().get(taken.from));
                column.is_some_and(|column| column.is_valid(row))
            };
            let silent = |row: &usize| {
                success.is_null(*row) && !says("score", *row) && !says("error_type", *row)
            };
            if let Some(row) = (0..success.len()).find(silent) {
                return Err(named(judge.itself().unwrap_or_default())(Bad {
                    row,
                    why: "empty, neither true nor false: leave such rows out with --skip-bad"
                        .to_owned(),
                }));
            }
        }
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(self.ids(batch, zone, ids)?),
            Arc::new(success.clone()),
        ];
        if let Some(partial) = &self.partial {
            let partial = partial.holds(batch)?;
            let beside = partial.iter().zip(&success);
            let beside =
                beside.map(|(partial, full)| partial.map(|partial| partial && full != Some(true)));
            columns.push(Arc::new(beside.collect::<BooleanArray>()));
        }
        for taken in self.taken.iter().filter(|taken| taken.name != "test_id") {
            let whole = self
                .columns
                .get(taken.from)
                .is_some_and(|column| column.whole);
            let values = convert::canonical(column(taken.from)?, taken.kind, whole, zone);
            let values = values.map_err(named(taken.from))?;
            if taken.name == "model" {
                present(&values).map_err(named(taken.from))?;
            }
            columns.push(values);
        }
        for (at, _) in &self.extra {
            let stands_for = self
                .columns
                .get(*at)
                .map_or(&DataType::Null, |column| &column.stands_for);
            columns.push(stand_for(column(*at)?, stands_for).map_err(named(*at))?);
        }
        for (name, value, data_type) in &self.set {
            let texts: ArrayRef =
                Arc::new(StringArray::from(vec![value.as_str(); batch.num_rows()]));
            let values = match kind_of(name) {
                Some(kind) => convert::canonical(&texts, kind, *data_type == DataType::Int64, zone),
                None => stand_for(&texts, data_type),
            };
            let values = values.map_err(|bad| Bad {
                why: format!("--set {name}: {}", bad.why),
                ..bad
            });
            columns.push(values?);
        }
        columns.push(Arc::new(self.sources(batch, &ids.label)?));
        RecordBatch::try_new(self.schema(), columns).map_err(|error| Bad {
            row: 0,
            why: format!("the rows can't be taken in ({error})"),
        })
    }

    /// The ids of the rows: mapped ones, and made ones where there is none.
    pub(crate) fn ids(
        &self,
        batch: &RecordBatch,
        zone: &TimeZone,
        ids: &mut Ids,
    ) -> Result<StringArray, Bad> {
        let mapped = self.texts_of("test_id", batch)?;
        let has_id = |row: usize| {
            let ids = mapped.as_ref()?;
            (ids.is_valid(row) && is_id(ids.value(row).trim())).then(|| ids.value(row).trim())
        };
        if (0..batch.num_rows()).all(|row| has_id(row).is_some()) {
            return Ok((0..batch.num_rows()).map(has_id).collect());
        }
        let contents = contents(batch, &self.columns, zone)?;
        let sessions = self.texts_of("session_id", batch)?;
        let set = self.set.iter().find(|(name, ..)| name == "session_id");
        let session = |row: usize| match (&sessions, set) {
            (_, Some((_, value, _))) => Some(value.as_str()),
            (Some(texts), None) => texts.is_valid(row).then(|| texts.value(row)),
            (None, None) => None,
        };
        let id = |(row, content): (usize, &u128)| match has_id(row) {
            Some(id) => id.to_owned(),
            None => ids.make(*content, session(row)),
        };
        Ok(contents.iter().enumerate().map(id).map(Some).collect())
    }

    /// Whether the rows have a column of the records.
    pub(crate) fn names(&self, column: &str) -> bool {
        self.taken.iter().any(|taken| taken.name == column)
            || self.set.iter().any(|(name, ..)| name == column)
    }

    /// What each row of the file says.
    pub(crate) fn contents(&self, batch: &RecordBatch, zone: &TimeZone) -> Result<Vec<u128>, Bad> {
        contents(batch, &self.columns, zone)
    }

    /// The texts of a column of the records.
    fn texts_of(&self, name: &str, batch: &RecordBatch) -> Result<Option<StringArray>, Bad> {
        let taken = self.taken.iter().find(|taken| taken.name == name);
        taken
            .and_then(|taken| batch.columns().get(taken.from))
            .map(convert::words)
            .transpose()
    }

    /// Where the rows come from: what they say themselves, else this import.
    fn sources(&self, batch: &RecordBatch, label: &str) -> Result<StringArray, Bad> {
        let own = self.source.and_then(|at| batch.columns().get(at));
        let own = own.map(convert::texts).transpose()?;
        let source = |row: usize| match &own {
            Some(own) if own.is_valid(row) && is_id(own.value(row)) => own.value(row),
            _ => label,
        };
        Ok((0..batch.num_rows()).map(|row| Some(source(row))).collect())
    }
}

/// The names of the first columns, and how many more there are.
pub(crate) fn names_of(columns: &[Column]) -> String {
    const SHOWN: usize = 8;
    let name = |column: &Column| convert::brief(&column.name);
    let names: Vec<String> = columns.iter().take(SHOWN).map(name).collect();
    let mut text = names.join(", ");
    if text.chars().count() > 100 {
        text = crate::text::sanitise::truncate(&text, 100).into_owned();
    }
    match columns.len().saturating_sub(SHOWN) {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}

/// Whether a column may be the canonical one of its name. Those that a record need not have
/// were once further columns, which hold what they like.
fn fits(column: &Column, kind: Kind) -> bool {
    let found = match &column.stands_for {
        DataType::Dictionary(_, values) => values.as_ref(),
        other => other,
    };
    let text = matches!(
        found,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null
    );
    !is_optional(&column.name)
        || match kind {
            Kind::Text => text,
            Kind::Time => text || found.is_temporal(),
            _ => found.is_numeric() || *found == DataType::Null,
        }
}

/// Every row must have a text here.
fn present(column: &ArrayRef) -> Result<(), Bad> {
    let texts = convert::texts(column)?;
    let missing = |row: &usize| texts.is_null(*row) || texts.value(*row).trim().is_empty();
    match (0..texts.len()).find(missing) {
        Some(row) => Err(Bad {
            row,
            why: "empty, but every test has a model".to_owned(),
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, Int64Array};

    use super::*;

    fn column(name: &str, array: &ArrayRef) -> Column {
        let data_type = array.data_type().clone();
        Column {
            name: name.to_owned(),
            stands_for: data_type.clone(),
            data_type,
            whole: false,
            range: Range::default(),
        }
    }

    fn batch() -> (Vec<Column>, RecordBatch) {
        let arrays: Vec<(&str, ArrayRef)> = vec![
            ("model", Arc::new(StringArray::from(vec!["a", "b"]))),
            (
                "category",
                Arc::new(StringArray::from(vec!["math", "code"])),
            ),
            ("score", Arc::new(Float64Array::from(vec![1.0, 0.5]))),
            ("question", Arc::new(Int64Array::from(vec![Some(7), None]))),
        ];
        let columns = arrays
            .iter()
            .map(|(name, array)| column(name, array))
            .collect();
        (columns, RecordBatch::try_from_iter(arrays).unwrap())
    }

    fn plan(maps: &[&str], success: Option<&str>) -> Result<Plan, String> {
        let maps: Vec<_> = maps.iter().map(|map| (*map).to_owned()).collect();
        Plan::new(&Mapping::parse(&maps, success, None)?, &batch().0)
    }

    #[test]
    fn takes_renames_and_keeps() {
        let plan = plan(
            &["task_type=category", "test_id=question"],
            Some("score>=1"),
        )
        .unwrap();
        let mut ids = Ids::new("file");
        let rows = plan.apply(&batch().1, &TimeZone::UTC, &mut ids).unwrap();
        let schema = rows.schema();
        let names: Vec<_> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        assert_eq!(
            names,
            [
                "test_id",
                "success",
                "model",
                "task_type",
                "score",
                "import_source"
            ]
        );
        let ids = convert::texts(rows.column(0)).unwrap();
        assert_eq!(ids.value(0), "7");
        assert_eq!(
            ids.value(1).len(),
            32,
            "without an id of its own the row is its id"
        );
        assert_eq!(
            rows.column(1).as_ref(),
            &BooleanArray::from(vec![true, false])
        );
    }

    #[test]
    fn the_id_of_a_row_depends_on_source_and_content() {
        let (columns, rows) = batch();
        let ids = |columns: &[Column], rows: &RecordBatch, label: &str, map: &[&str]| {
            let maps: Vec<_> = map.iter().map(|map| (*map).to_owned()).collect();
            let mapping = Mapping::parse(&maps, Some("score>=1"), None).unwrap();
            let plan = Plan::new(&mapping, columns).unwrap();
            plan.ids(rows, &TimeZone::UTC, &mut Ids::new(label))
                .unwrap()
        };
        let one = ids(&columns, &rows, "file", &[]);
        assert_ne!(one.value(0), one.value(1));
        let order = [3, 1, 0, 2];
        let shuffled: Vec<_> = order.iter().map(|at| columns[*at].clone()).collect();
        assert_eq!(
            one,
            ids(&shuffled, &rows.project(&order).unwrap(), "file", &[])
        );
        assert_eq!(
            one.slice(1, 1),
            ids(&columns, &rows.slice(1, 1), "file", &[])
        );
        assert_eq!(
            one,
            ids(&columns, &rows, "file", &["task_type=category"]),
            "mapped or not"
        );
        assert_ne!(one, ids(&columns, &rows, "other", &[]));
    }

    #[test]
    fn equal_rows_are_numbered() {
        let (columns, rows) = batch();
        let mapping = Mapping::parse(&[], Some("score>=1"), None).unwrap();
        let plan = Plan::new(&mapping, &columns).unwrap();
        let mut ids = Ids::new("file");
        let mut made = |rows: &RecordBatch| plan.ids(rows, &TimeZone::UTC, &mut ids).unwrap();
        let (first, second, third) = (made(&rows), made(&rows), made(&rows));
        for (one, other) in [(&first, &second), (&first, &third), (&second, &third)] {
            assert!(one.iter().zip(other).all(|(one, other)| one != other));
        }
    }

    #[test]
    fn wrong_maps_say_which_columns_there_are() {
        for (maps, success, said) in [
            (
                &["task_type=topic"][..],
                Some("score>=1"),
                "it has model, category, score, question",
            ),
            (
                &["modle=model"],
                Some("score>=1"),
                "a record has no column 'modle', it has test_id, model",
            ),
            (&["model"], Some("score>=1"), "not column=source"),
            (
                &["task_id=question", "task_id=category"],
                Some("score>=1"),
                "twice",
            ),
            (
                &[],
                Some("reward>=1"),
                "has no column 'reward', it has model, category",
            ),
            (&["success=score"], Some("score>=1"), "use either"),
        ] {
            let error = plan(maps, success).unwrap_err();
            assert!(error.contains(said), "{maps:?}: {error}");
        }
    }

    #[test]
    fn a_name_taken_from_elsewhere_hides_nothing() {
        let plan = plan(&["model=category"], Some("score>=1")).unwrap();
        assert_eq!(plan.extra(), ["source_model", "question"]);
        assert_eq!(plan.describe(), ["model=category", "score"]);
    }

    #[test]
    fn what_is_no_number_is_kept_beside_the_canonical_columns() {
        let column = |name: &str, stands_for| Column {
            name: name.into(),
            data_type: DataType::Utf8,
            stands_for,
            whole: true,
            range: Range::default(),
        };
        let columns = [
            column("model", DataType::Utf8),
            column("success", DataType::Boolean),
            column("score", DataType::Utf8),
            column("cost", DataType::Float64),
            column("log", DataType::Int64),
        ];
        let plan = Plan::new(&Mapping::default(), &columns).unwrap();
        assert_eq!(plan.describe(), ["model", "cost"]);
        assert_eq!(plan.extra(), ["score", "log"]);
    }
}
