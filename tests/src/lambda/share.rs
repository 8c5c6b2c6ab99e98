//! A function's share of a processor: Lambda gives 1,769 MB of memory a whole one and others their part, by letting a
//! process run for a part of each period. Here a shell stops and continues it, over a period ten times as long: as much
//! processor time a second, in larger pieces.
//!
//! # Source
//! Lambda developer guide, "Configure Lambda function memory".

use std::process::{Child, Command, Stdio};

/// Memory that comes with a whole processor, MB.
const WHOLE: f64 = 1769.0;
/// A run and a rest together, seconds.
const PERIOD: f64 = 0.2;

/// Holds a process to its share until it is dropped.
pub struct Share(Child);

impl Share {
    /// Of a process whose function has this much memory, MB.
    #[must_use]
    pub fn of(process: u32, memory: u32) -> Self {
        let run = PERIOD * f64::from(memory).min(WHOLE) / WHOLE;
        let script = "while kill -CONT $0 2>/dev/null; do sleep $1; kill -STOP $0; sleep $2; done";
        let times = [run, PERIOD - run].map(|seconds| format!("{seconds:.3}"));
        let shell = Command::new("sh")
            .args(["-c", script, &process.to_string()])
            .args(times)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(shell.unwrap())
    }
}

impl Drop for Share {
    /// The process may be stopped then: whoever has it ends it, or continues it.
    fn drop(&mut self) {
        let _ = self.0.kill(); // it ends with the process
        let _ = self.0.wait();
    }
}
