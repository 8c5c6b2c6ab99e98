//! Randomness as an argument: a seed replays a whole history.

use std::sync::{Mutex, PoisonError};

use rand::{
    Rng, SeedableRng, TryRng,
    rngs::{StdRng, SysRng},
};
use thiserror::Error;

/// The operating system gave no randomness. Nothing may start without it: keys and ids would be predictable.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the operating system gives no randomness: {0}")]
pub struct RandomnessError(String);

/// Where code gets random bytes. Nothing else in the workspace may draw any.
pub trait Random: Send + Sync {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);

    /// A number in `0..bound`; 0 for a bound of 0. The modulo's bias is below 2⁻³² for the small bounds
    /// that jitter needs.
    fn below(&self, bound: u64) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes).checked_rem(bound).unwrap_or(0)
    }
}

/// ChaCha12: seeded by the operating system in a function, by a number in a simulation.
pub struct StdRandom(Mutex<StdRng>);

impl StdRandom {
    /// Seeded by the operating system.
    ///
    /// # Errors
    /// The operating system gives none.
    pub fn from_system() -> Result<Self, RandomnessError> {
        Self::from_source(&mut SysRng)
    }

    fn from_source(source: &mut impl TryRng) -> Result<Self, RandomnessError> {
        let seeded = StdRng::try_from_rng(source).map_err(|error| RandomnessError(error.to_string()))?;
        Ok(Self(Mutex::new(seeded)))
    }

    /// The same bytes for the same seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }
}

impl Random for StdRandom {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct FailingRng;

    impl TryRng for FailingRng {
        type Error = std::io::Error;

        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            Err(std::io::Error::other("no entropy"))
        }

        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            Err(std::io::Error::other("no entropy"))
        }

        fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), Self::Error> {
            Err(std::io::Error::other("no entropy"))
        }
    }

    #[test]
    fn nothing_starts_without_randomness() {
        let failed = StdRandom::from_source(&mut FailingRng).err();
        assert_eq!(failed, Some(RandomnessError("no entropy".into())));
        let (mut one, mut other) = ([0; 32], [0; 32]);
        StdRandom::from_system().unwrap().fill(&mut one);
        StdRandom::from_system().unwrap().fill(&mut other);
        assert_ne!(one, other);
    }
}
