//! The tests of a version 1 database, each with what its group says of all of them.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::survey::Survey;
use super::walk::{Piece, Walk};
use crate::sources::objects::{Object, Place, Reader, Remarks, Rows};
use crate::sources::source::Column;
use crate::sources::source::{bad_document, bad_row};
use crate::store::aggregate::is_id;
use crate::store::format::schema::DIMENSIONS;
use crate::store::{Error, Result};

/// The instances of a database.
#[derive(Debug)]
pub(crate) struct Instances {
    pub(crate) path: PathBuf,
    pub(crate) size: u64,
    pub(crate) survey: Arc<Survey>,
}

impl Instances {
    fn fields(
        &self,
        group: usize,
        index: u64,
        instance: Value,
    ) -> Result<(String, Map<String, Value>)> {
        let none = (String::new(), Map::new());
        let (name, shared) = self.survey.groups.get(group).unwrap_or(&none);
        let place = format!("instance {index} of group {name}");
        let Value::Object(mut fields) = instance else {
            return Err(self.bad(&place, "not an object"));
        };
        fields.retain(|_, value| !value.is_null());
        let inherited = DIMENSIONS.iter().chain(&["model", "timestamp"]);
        for column in inherited {
            if let Some(value) = shared.get(*column).filter(|value| !value.is_null()) {
                fields.entry(*column).or_insert_with(|| value.clone());
            }
        }
        // Some kinds of runner say how far a test came instead of whether it passed.
        if let Some(level) = fields
            .get("success_level")
            .and_then(Value::as_str)
            .map(str::to_owned)
        {
            fields
                .entry("success")
                .or_insert(Value::Bool(level.starts_with("full")));
            fields
                .entry("partial_success")
                .or_insert(Value::Bool(level.starts_with("partial")));
        }
        if !fields.contains_key("success") {
            return Err(self.bad(&place, "neither 'success' nor 'success_level'"));
        }
        let named = fields
            .get("test_id")
            .and_then(Value::as_str)
            .is_some_and(is_id);
        if !named {
            // Equal instances are different tests all the same.
            fields.insert("test_id".to_owned(), format!("{name}/{index}").into());
        }
        Ok((place, fields))
    }

    fn bad(&self, place: &str, why: &str) -> Error {
        bad_row(&self.path, place, why)
    }
}

impl Reader for Instances {
    fn rows(&self) -> Result<Rows<'_>> {
        let bad = |fault| bad_document(&self.path, None, fault);
        let mut walk = Walk::open(&self.path).map_err(bad)?;
        let (mut current, mut index) = (0, 0);
        Ok(Box::new(std::iter::from_fn(move || {
            loop {
                match walk.next().map_err(bad).transpose()? {
                    Err(error) => return Some(Err(error)),
                    Ok(Piece::Instance(group, instance)) => {
                        if group != current {
                            (current, index) = (group, 0);
                        }
                        let row = self.fields(group, index, instance);
                        index += 1;
                        return Some(row.map(|(place, fields)| Object {
                            place: Place::Named(place),
                            fields: Some(fields),
                            remark: None,
                            read: walk.offset(),
                            rejected: None,
                        }));
                    }
                    Ok(_) => {}
                }
            }
        })))
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn notes(&self, _remarks: &Remarks, _columns: &[Column]) -> Vec<String> {
        self.survey.notes()
    }
}
