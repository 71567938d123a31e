//! Tests of transfer.
