//! A chain of invocations: a function that sends to a queue which calls a function. Lambda counts in the trace header
//! how often each function was called in it, and ends a chain by itself: "If your function is invoked approximately
//! 16 times in the same chain of requests, then Lambda automatically stops the next function invocation." The SDK
//! passes the header on, SQS keeps it as `AWSTraceHeader`. `RecursiveLoop: Allow` says that a function's
//! chains are intended.
//!
//! # Source
//! Lambda developer guide, "Use Lambda recursive loop detection to prevent infinite loops"; X-Ray developer guide,
//! "Tracing header": `Lineage=a87bd80c:1|68fd508a:5`.

use std::{collections::BTreeMap, fmt};

use sha2::{Digest, Sha256};

/// Invocations of one function in one chain.
pub const MAX_INVOCATIONS_IN_CHAIN: u32 = 16;
/// No traces are collected here, so one root is enough.
const TRACE_ROOT: &str = "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0";

tokio::task_local! {
    static CURRENT: Chain;
}

/// How often each function was called so far; a new one is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chain(BTreeMap<String, u32>);

impl Chain {
    /// Parses a trace header; one that cannot be parsed gives an empty chain.
    #[must_use]
    pub fn parse(header: &str) -> Self {
        let lineage = header.split(';').find_map(|part| part.trim().strip_prefix("Lineage="));
        let entries = lineage.into_iter().flat_map(|lineage| lineage.split('|'));
        Self(
            entries
                .filter_map(|e| e.split_once(':'))
                .filter_map(|(m, n)| Some((m.into(), n.parse().ok()?)))
                .collect(),
        )
    }

    /// Merges two chains: the higher count of each function.
    #[must_use]
    pub fn merge(mut self, other: &Self) -> Self {
        for (mark, count) in &other.0 {
            let known = self.0.entry(mark.clone()).or_default();
            *known = (*known).max(*count);
        }
        self
    }

    /// The chain inside one more invocation of a function.
    #[must_use]
    pub fn enter(&self, function: &str) -> Self {
        let mut next = self.clone();
        let count = next.0.entry(lineage_id(function)).or_default();
        *count = count.saturating_add(1);
        next
    }

    /// How often this chain has invoked a function.
    #[must_use]
    pub fn count(&self, function: &str) -> u32 {
        self.0.get(&lineage_id(function)).copied().unwrap_or(0)
    }

    /// Runs an invocation's code; requests that it sends carry this chain.
    pub async fn scope<F: Future>(self, code: F) -> F::Output {
        CURRENT.scope(self, code).await
    }

    /// The chain of the current invocation, if any.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Self::clone).ok()
    }
}

impl fmt::Display for Chain {
    /// As a trace header.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(TRACE_ROOT)?;
        for (n, (mark, count)) in self.0.iter().enumerate() {
            write!(f, "{}{mark}:{count}", if n == 0 { ";Lineage=" } else { "|" })?;
        }
        Ok(())
    }
}

/// The id of a function in a lineage.
fn lineage_id(function: &str) -> String {
    let [a, b, c, d, ..] = <[u8; 32]>::from(Sha256::digest(function.as_bytes()));
    format!("{:08x}", u32::from_be_bytes([a, b, c, d]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_counts_each_function_and_survives_its_header() {
        let chain = Chain::default().enter("A").enter("B").enter("A");
        assert_eq!((chain.count("A"), chain.count("B"), chain.count("C")), (2, 1, 0));
        assert_eq!(Chain::parse(&chain.to_string()), chain);
        let longer = chain.clone().merge(&Chain::default().enter("B").enter("B"));
        assert_eq!((longer.count("A"), longer.count("B")), (2, 2));
        for header in ["", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700", "Lineage=", "Lineage=a|b:c|:"] {
            assert_eq!(Chain::parse(header), Chain::default(), "{header}");
        }
    }

    #[tokio::test]
    async fn code_knows_the_chain_that_it_runs_in() {
        assert_eq!(Chain::current(), None);
        let chain = Chain::default().enter("A");
        let seen = chain.clone().scope(async { Chain::current() }).await;
        assert_eq!(seen, Some(chain));
    }
}
