//! Tests of maintain.
