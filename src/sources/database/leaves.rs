//! The leaves of a database as summary rows, read as a file of objects.

use std::path::PathBuf;
use std::sync::Arc;

use super::leaf;
use super::survey::{Survey, counts};
use super::walk::{Piece, Walk};
use crate::sources::aliases::Aliases;
use crate::sources::objects::{Object, Place, Reader, Remarks, Rows};
use crate::sources::source::Column;
use crate::sources::source::bad_document;
use crate::store::Result;

/// The leaves of a database.
#[derive(Debug)]
pub(crate) struct Leaves {
    pub(crate) path: PathBuf,
    pub(crate) size: u64,
    pub(crate) survey: Arc<Survey>,
    pub(crate) aliases: Aliases,
    pub(crate) halve: bool,
}

impl Leaves {
    /// A leaf, unless the model's tree stands for it; the counts of a model that has
    /// none. `any` says whether the model that is being read had leaves.
    fn leaf(&self, piece: Piece, any: &mut bool, read: u64) -> Option<Object> {
        let (model, names, fields) = match piece {
            Piece::Leaf(found) => {
                *any = true;
                if !found.nested() && self.survey.mixed.contains(&found.model) {
                    return None;
                }
                let serde_json::Value::Object(fields) = found.fields else {
                    return None;
                };
                (found.model, found.names, fields)
            }
            Piece::Model(model, fields) => {
                let counts = if std::mem::take(any) {
                    None
                } else {
                    counts(fields)
                };
                (model, Vec::new(), counts?)
            }
            _ => return None,
        };
        let model = self.aliases.canonical(&model);
        Some(object(
            &model,
            leaf::row(&model, names, fields, self.halve),
            read,
        ))
    }
}

fn object(model: &str, (fields, remark): leaf::Row, read: u64) -> Object {
    let place = Place::Named(format!("a leaf of {model}"));
    Object {
        place,
        fields,
        remark,
        read,
        rejected: None,
    }
}

impl Reader for Leaves {
    fn rows(&self) -> Result<Rows<'_>> {
        let bad = |fault| bad_document(&self.path, None, fault);
        let mut walk = Walk::open(&self.path).map_err(bad)?;
        let mut any = false;
        Ok(Box::new(std::iter::from_fn(move || {
            loop {
                match walk.next().map_err(bad).transpose()? {
                    Err(error) => return Some(Err(error)),
                    Ok(piece) => {
                        if let Some(object) = self.leaf(piece, &mut any, walk.offset()) {
                            return Some(Ok(object));
                        }
                    }
                }
            }
        })))
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn notes(&self, remarks: &Remarks, _columns: &[Column]) -> Vec<String> {
        self.survey
            .notes()
            .into_iter()
            .chain(leaf::sentences(remarks))
            .collect()
    }
}
