//! The parts of the local runner.
