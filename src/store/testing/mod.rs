//! Stores for tests: fixtures, the crash matrix, interleavings.

#[cfg(test)]
pub(crate) mod crash;
#[cfg(test)]
pub(crate) mod fixture;
