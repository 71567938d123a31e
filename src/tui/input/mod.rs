//! What a person types, from the bytes of the terminal.

pub(crate) mod action;
mod decoder;
#[cfg(test)]
pub(crate) mod docs;
pub(crate) mod keymap;
mod reader;
mod sequence;
mod tty;

pub(crate) use reader::read;
pub(crate) use tty::{Tty, size};
