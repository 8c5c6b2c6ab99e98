//! The table at the end.

use std::fmt::{self, Display};

use crate::bound_account::LoadTestHub;

/// What was measured.
#[derive(Default)]
pub struct Report(Vec<[String; 3]>);

impl Report {
    /// A row: what, how much, and what it should be.
    pub fn row(&mut self, what: impl Display, result: impl Display, target: impl Display) {
        eprintln!("{what}: {result}  ({target})");
        self.0.push([what.to_string(), result.to_string(), target.to_string()]);
    }

    /// Adds the program's memory use so far.
    pub fn memory(&mut self, stage: &LoadTestHub) {
        let process = stage.hub.process();
        if let (Some(peak), Some(now)) = (process.peak_memory(), process.memory()) {
            let megabytes = |bytes: u64| bytes as f64 / 1e6;
            let result = format!("{:.0} MB, {:.0} MB at the end", megabytes(peak), megabytes(now));
            self.row("memory, at most", result, "< 300 MB");
        }
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| what | result | target |\n|---|---|---|")?;
        self.0.iter().try_for_each(|[what, result, target]| writeln!(f, "| {what} | {result} | {target} |"))
    }
}
