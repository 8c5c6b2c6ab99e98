//! How many invocations may run at once: in the account, and of functions with reserved concurrency.
//!
//! # Source
//! Lambda developer guide, "Understanding Lambda function scaling", "Configuring reserved concurrency", quotas: 1,000 an
//! account, less in new ones (10 was seen); at least 100 must remain for functions without a reservation, or
//! all if the account has fewer.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::template::FunctionSpec;

/// What must be left for functions without a reservation.
const MIN_UNRESERVED: usize = 100;

/// The concurrency available to a function. Clones share it.
#[derive(Debug, Clone)]
pub struct ConcurrencyPool(Arc<Semaphore>);

impl ConcurrencyPool {
    /// A pool of `most` invocations.
    #[must_use]
    pub fn with_limit(most: usize) -> Self {
        Self(Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))))
    }

    /// A permit for one invocation, held until dropped; `None` if the pool is exhausted.
    #[must_use]
    pub fn try_acquire(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).try_acquire_owned().ok()
    }
}

/// The account's concurrency, divided among its functions.
#[derive(Debug)]
pub struct AccountConcurrency {
    unreserved: ConcurrencyPool,
    reserved: BTreeMap<String, ConcurrencyPool>,
}

impl AccountConcurrency {
    /// Divides `most` invocations at once.
    ///
    /// # Errors
    /// The reservations leave too little; AWS refuses such a deployment.
    pub fn new(most: usize, functions: &[FunctionSpec]) -> Result<Self, String> {
        let sum: usize = functions.iter().filter_map(|function| function.reserved).sum();
        let rest = most.checked_sub(sum).filter(|rest| sum == 0 || *rest >= most.min(MIN_UNRESERVED));
        let rest = rest.ok_or_else(|| {
            let least = most.min(MIN_UNRESERVED);
            format!("template.yaml reserves {sum} invocations at once of an account's {most}, of which {least} must be left")
        })?;
        let reserved = functions
            .iter()
            .filter_map(|f| Some((f.name.clone(), ConcurrencyPool::with_limit(f.reserved?))))
            .collect();
        Ok(Self { unreserved: ConcurrencyPool::with_limit(rest), reserved })
    }

    /// A function's share.
    #[must_use]
    pub fn pool(&self, function: &str) -> ConcurrencyPool {
        self.reserved.get(function).unwrap_or(&self.unreserved).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn functions(reserved: &[(&str, Option<usize>)]) -> Vec<FunctionSpec> {
        let spec = |(name, reserved): &(&str, Option<usize>)| FunctionSpec {
            name: (*name).to_owned(),
            code_uri: String::new(),
            timeout: std::time::Duration::from_secs(1),
            memory: 128,
            recursive: false,
            reserved: *reserved,
            variables: Default::default(),
            events: Vec::new(),
            permissions: Default::default(),
        };
        reserved.iter().map(spec).collect()
    }

    fn free_slots(room: &ConcurrencyPool) -> usize {
        std::iter::from_fn(|| room.try_acquire()).fuse().collect::<Vec<_>>().len()
    }

    #[test]
    fn what_one_function_reserved_no_other_can_take() {
        let account =
            AccountConcurrency::new(1000, &functions(&[("Own", Some(7)), ("None", Some(0)), ("Rest", None)]))
                .unwrap();
        assert_eq!(free_slots(&account.pool("Rest")), 993);
        assert_eq!(free_slots(&account.pool("Own")), 7);
        assert_eq!(free_slots(&account.pool("None")), 0, "a reservation of 0 throttles all");
        let held = account.pool("Own").try_acquire();
        assert_eq!(free_slots(&account.pool("Own")), 6, "one is running");
        drop(held);
        assert_eq!(free_slots(&account.pool("Own")), 7);
    }

    #[test]
    fn reservations_must_leave_enough() {
        for (what, most, reserved, fits) in [
            ("none at all", 10, None, true),
            ("of a new account", 10, Some(1), false),
            ("all but a hundred", 1000, Some(900), true),
            ("one more", 1000, Some(901), false),
            ("more than there are", 1000, Some(1001), false),
        ] {
            assert_eq!(AccountConcurrency::new(most, &functions(&[("F", reserved)])).is_ok(), fits, "{what}");
        }
    }
}
