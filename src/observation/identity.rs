//! Rows that bring no id of their own.

/// What such rows give to say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdentityView {
    /// Rows that bring no time either, and a file that has some.
    pub bare: (u64, Option<String>),
    /// Two files and how many rows both have.
    pub identical: Vec<(String, String, u64)>,
    /// Files whose rows other code changed after a commit took them in; a column that it changed;
    /// how many rows.
    pub rewritten: Vec<(String, String, u64)>,
}
