//! Tests of dashboard.
