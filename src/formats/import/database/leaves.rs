//! The leaves of a database as summary rows, read as a file of objects.

use std::path::PathBuf;
use std::sync::Arc;

use super::leaf;
use super::survey::Survey;
use super::walk::{Piece, Walk};
use crate::formats::import::aliases::Aliases;
use crate::formats::import::objects::{Object, Place, Reader, Remarks, Rows};
use crate::formats::import::source::bad_document;
use crate::store::Result;

/// The leaves of a database.
#[derive(Debug)]
pub(super) struct Leaves {
    pub(super) path: PathBuf,
    pub(super) size: u64,
    pub(super) survey: Arc<Survey>,
    pub(super) aliases: Aliases,
    pub(super) halve: bool,
}

impl Leaves {
    /// A leaf, unless the model's tree stands for it.
    fn leaf(&self, piece: Piece, read: u64) -> Option<Object> {
        let Piece::Leaf(found) = piece else { return None };
        if !found.nested() && self.survey.nested.contains(&found.model) {
            return None;
        }
        let serde_json::Value::Object(fields) = found.fields else { return None };
        let model = self.aliases.canonical(&found.model);
        Some(object(&model, leaf::row(&model, found.names, fields, self.halve), read))
    }
}

fn object(model: &str, (fields, remark): leaf::Row, read: u64) -> Object {
    let place = Place::Named(format!("a leaf of {model}"));
    Object { place, fields, remark, read }
}

impl Reader for Leaves {
    fn rows(&self) -> Result<Rows<'_>> {
        let bad = |fault| bad_document(&self.path, None, fault);
        let mut walk = Walk::open(&self.path).map_err(bad)?;
        let leaves = std::iter::from_fn(move || {
            loop {
                match walk.next().map_err(bad).transpose()? {
                    Err(error) => return Some(Err(error)),
                    Ok(piece) => {
                        if let Some(object) = self.leaf(piece, walk.offset()) {
                            return Some(Ok(object));
                        }
                    }
                }
            }
        });
        let bare = self.survey.bare.iter().map(|(model, counts)| {
            let model = self.aliases.canonical(model);
            Ok(object(&model, leaf::row(&model, Vec::new(), counts.clone(), self.halve), self.size))
        });
        Ok(Box::new(leaves.chain(bare)))
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn notes(&self, remarks: &Remarks) -> Vec<String> {
        self.survey.notes().into_iter().chain(leaf::sentences(remarks)).collect()
    }
}
