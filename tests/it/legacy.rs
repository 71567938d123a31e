//! Tests of legacy.
