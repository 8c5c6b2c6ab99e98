//! A function's share of a processor: Lambda gives a whole one at 1,769 MB of memory, else less, by letting a
//! process run part of each period. Here a shell stops and continues it, in periods ten times as long: the
//! same processor time per second, in larger slices.
//!
//! # Source
//! Lambda developer guide, "Configure Lambda function memory".

use std::process::{Child, Command, Stdio};

/// Memory that comes with one whole processor, MB.
const MB_PER_CPU: f64 = 1769.0;
/// One run and pause together, seconds.
const PERIOD_SECONDS: f64 = 0.2;

/// Limits a process to its share until dropped.
pub struct CpuShare(Child);

impl CpuShare {
    /// Limits `process`, whose function has this much memory, MB.
    #[must_use]
    pub fn of(process: u32, memory: u32) -> Self {
        let run = PERIOD_SECONDS * f64::from(memory).min(MB_PER_CPU) / MB_PER_CPU;
        let script = "while kill -CONT $0 2>/dev/null; do sleep $1; kill -STOP $0; sleep $2; done";
        let times = [run, PERIOD_SECONDS - run].map(|seconds| format!("{seconds:.3}"));
        let shell = Command::new("sh")
            .args(["-c", script, &process.to_string()])
            .args(times)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(shell.unwrap())
    }
}

impl Drop for CpuShare {
    /// May leave the process stopped: its owner must kill or continue it.
    fn drop(&mut self) {
        let _ = self.0.kill(); // it ends with the process
        let _ = self.0.wait();
    }
}
