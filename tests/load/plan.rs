//! Which parts run, and at which size.

use std::time::Duration;

/// The parts and sizes of a run.
pub struct Plan {
    /// Whether this is a measurement rather than a test.
    pub measures: bool,
    /// The machine's own speed.
    pub reference: bool,
    /// The import is to be measured.
    pub import: bool,
    /// Callbacks are to be measured.
    pub callbacks: bool,
    /// Sending is to be measured.
    pub send: bool,
    /// The effect of one tenant's flood on others is to be measured.
    pub fair: bool,
    /// Requests to the database are to be counted.
    pub counts: bool,
    /// Followers that are imported.
    pub followers: u64,
    /// Followers who write: the first of them.
    pub fans: usize,
    /// Callbacks a second.
    pub rate: f64,
    /// How long callbacks are sent at that rate.
    pub duration: Duration,
    /// Whether to look for the highest rate.
    pub find_highest_rate: bool,
    /// Messages that are sent, each to another fan.
    pub messages: usize,
    /// Messages that one tenant posts, far beyond its quota.
    pub flood: usize,
}

impl Plan {
    /// From the command line: arguments `part` or `part=size`; all parts if it names none.
    pub fn from(words: impl Iterator<Item = String>) -> Self {
        let words: Vec<String> = words.collect();
        let measures = words.iter().any(|word| word == "--bench"); // cargo bench says so
        let parts: Vec<&str> = words.iter().map(String::as_str).filter(|w| !w.starts_with("--")).collect();
        let named = |name: &str| parts.iter().any(|part| part.split('=').next() == Some(name));
        let size = |name: &str, usual: u64| {
            let given = parts.iter().find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
            given.map_or(usual, |n| n.parse().unwrap())
        };
        let on = |name: &str| if measures { parts.is_empty() || named(name) } else { name != "reference" };
        let (followers, fans) = if measures { (100_000, 10_000) } else { (300, 60) };
        let import = on("import");
        Self {
            measures,
            reference: on("reference"),
            import,
            callbacks: on("callbacks"),
            send: on("send"),
            fair: on("fair"),
            counts: on("counts"),
            followers: size("import", if import { followers } else { fans }),
            fans: size("import", fans).min(fans) as usize,
            rate: size("callbacks", if measures { 500 } else { 60 }) as f64,
            duration: Duration::from_secs(size("seconds", if measures { 60 } else { 1 })),
            find_highest_rate: measures && size("highest", 1) > 0,
            messages: size("send", fans).min(fans) as usize,
            flood: size("fair", if measures { 50_000 } else { 200 }) as usize,
        }
    }
}
