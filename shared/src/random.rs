//! Randomness as an argument: a seed replays a whole history.

use std::sync::{Mutex, PoisonError};

use rand::{Rng, SeedableRng, rngs::StdRng};

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
pub struct Rand(Mutex<StdRng>);

impl Rand {
    /// Seeded by the operating system.
    #[must_use]
    pub fn from_system() -> Self {
        Self(Mutex::new(
            StdRng::try_from_rng(&mut rand::rngs::SysRng).unwrap_or_else(|_| StdRng::from_seed([0; 32])),
        ))
    }

    /// The same bytes for the same seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }
}

impl Random for Rand {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(bytes);
    }
}
