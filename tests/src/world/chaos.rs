//! Faults of the simulated deployment, drawn from the seed: the only source of chance besides the ids.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rand::{Rng as _, RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;
use shared::random::Random;

/// What happens to one request. A lost request and a lost response are different faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Arrives, and the response comes back.
    Fine,
    /// Never arrives.
    Lost,
    /// Arrives; the response is lost.
    Unanswered,
    /// Arrives; the process that sent it dies.
    Crash,
    /// WeChat is busy (-1), or a push arrives twice at the same time.
    Odd,
    /// Arrives; the response is lost, and the SDK retries, up to three attempts in all.
    Repeated,
    /// DynamoDB refuses it, or a part of it, with a transient error: throttling or a transaction conflict.
    Refused,
}

/// Fault rates, in thousandths of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rates {
    /// Requests to DynamoDB and SQS that are lost; the same rate again for lost responses.
    pub aws: u32,
    /// Requests to either that arrive and are retried by the SDK; the same rate again for transient errors.
    pub again: u32,
    /// Requests to either before or after which the function dies.
    pub crash: u32,
    /// Calls to WeChat that are lost; the same rate again for lost responses, and for a busy WeChat.
    pub wechat: u32,
    /// Pushes that are lost; the same rate again for lost responses, and for pushes that come twice at once.
    pub push: u32,
    /// Lost deletions of handled messages; the same rate again for batches that are handled twice at once.
    pub queue: u32,
}

/// Draws the faults.
pub struct Chaos {
    dice: Mutex<ChaCha8Rng>,
    /// A separate generator for faults within a request, so that histories without those stay the same.
    passing: Mutex<ChaCha8Rng>,
    rates: Mutex<Rates>,
    strike: Mutex<Option<(&'static str, Fate)>>,
    instant: AtomicBool,
}

impl Chaos {
    /// Injects nothing until [`FaultGenerator::set_rates`].
    pub fn new(seed: u64) -> Self {
        Self {
            dice: Mutex::new(ChaCha8Rng::seed_from_u64(seed)),
            passing: Mutex::new(ChaCha8Rng::seed_from_u64(seed ^ 1 << 32)),
            rates: Mutex::default(),
            strike: Mutex::default(),
            instant: AtomicBool::new(false),
        }
    }

    /// Changes the fault rates.
    pub fn set(&self, rates: Rates) {
        *self.rates.lock().unwrap() = rates;
    }

    /// Requests to DynamoDB and SQS take no time from now on, so that what is written does not depend on how
    /// many requests came before.
    pub fn take_no_time(&self) {
        self.instant.store(true, Ordering::Relaxed);
    }

    /// How long this request to DynamoDB or SQS takes.
    pub fn latency(&self) -> Duration {
        let drawn = Duration::from_millis(u64::from(1 + self.roll(20)));
        if self.instant.load(Ordering::Relaxed) { Duration::ZERO } else { drawn }
    }

    /// Stops all faults.
    pub fn calm(&self) {
        self.set(Rates::default());
        *self.strike.lock().unwrap() = None;
    }

    /// The current rates.
    pub fn rates(&self) -> Rates {
        *self.rates.lock().unwrap()
    }

    /// A number in `0..bound`.
    pub fn roll(&self, bound: u32) -> u32 {
        self.dice.lock().unwrap().random_range(0..bound.max(1))
    }

    /// The next request to DynamoDB or SQS whose body contains `text` meets `fate`.
    pub fn strike(&self, text: &'static str, fate: Fate) {
        *self.strike.lock().unwrap() = Some((text, fate));
    }

    /// Whether the fault of [`FaultGenerator::inject_next`] was injected.
    pub fn has_struck(&self) -> bool {
        self.strike.lock().unwrap().is_none()
    }

    /// A number in `0..bound`, for faults within a request.
    pub fn pick(&self, bound: u32) -> u32 {
        self.passing.lock().unwrap().random_range(0..bound.max(1))
    }

    /// Draws the outcome of a request to DynamoDB or SQS.
    pub fn aws(&self, request: &str) -> Fate {
        if let Some((_, fate)) = self.strike.lock().unwrap().take_if(|(text, _)| request.contains(*text)) {
            return fate;
        }
        let rates = self.rates();
        match self.roll(1000) {
            n if n < rates.aws => Fate::Lost,
            n if n < 2 * rates.aws => Fate::Unanswered,
            n if n < 2 * rates.aws + rates.crash => Fate::Crash,
            _ if rates.again == 0 => Fate::Fine,
            _ => match self.pick(1000) {
                n if n < rates.again => Fate::Repeated,
                n if n < 2 * rates.again => Fate::Refused,
                _ => Fate::Fine,
            },
        }
    }

    /// Draws the outcome of a call to WeChat.
    pub fn wechat(&self) -> Fate {
        self.three(self.rates().wechat)
    }

    /// Draws the outcome of a push.
    pub fn push(&self) -> Fate {
        self.three(self.rates().push)
    }

    /// Draws what happens after a batch.
    pub fn queue(&self) -> Fate {
        self.three(self.rates().queue)
    }

    fn three(&self, rate: u32) -> Fate {
        match self.roll(1000) {
            n if n < rate => Fate::Lost,
            n if n < 2 * rate => Fate::Unanswered,
            n if n < 3 * rate => Fate::Odd,
            _ => Fate::Fine,
        }
    }
}

/// The hub's and WeChat's randomness, seeded.
pub struct Dice(Mutex<ChaCha8Rng>);

impl Dice {
    /// The same bytes for the same seed.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(ChaCha8Rng::seed_from_u64(seed)))
    }
}

impl Random for Dice {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().unwrap().fill_bytes(bytes);
    }
}
