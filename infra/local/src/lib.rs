//! The parts of the local runner.

pub mod sqs;
