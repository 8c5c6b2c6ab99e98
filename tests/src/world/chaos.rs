//! What goes wrong, drawn from the seed: nothing else in the world throws dice.

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

/// What becomes of one request. A request that is lost and one that lands unanswered are different faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Lands and is answered.
    Fine,
    /// Never arrives.
    Lost,
    /// Lands; the answer is lost.
    Unanswered,
    /// Lands; whoever sent it dies.
    Crash,
    /// WeChat is busy (-1), or a push arrives twice at once.
    Odd,
    /// Lands; the answer is lost, and the SDK sends it again by itself, up to three times in all.
    Repeated,
    /// DynamoDB refuses it for a moment, or a part of it: throttled, or in the way of a transaction.
    Refused,
}

/// How often something goes wrong, in thousandths of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rates {
    /// Requests to DynamoDB and SQS that are lost; as many land unanswered.
    pub aws: u32,
    /// Requests to either that land and are sent again by the SDK; as many are refused for a moment.
    pub again: u32,
    /// Requests to either after which the function dies.
    pub crash: u32,
    /// Calls to WeChat that are lost; as many land unanswered, as many find it busy.
    pub wechat: u32,
    /// Pushes that are lost; as many land unanswered, as many come twice at once.
    pub push: u32,
    /// Deletions of done messages that are lost; as many batches are handled twice at once.
    pub queue: u32,
}

/// The dice.
pub struct Chaos {
    dice: Mutex<ChaCha8Rng>,
    /// Of their own for what passes within a request, so that a history without it stays the same.
    passing: Mutex<ChaCha8Rng>,
    rates: Mutex<Rates>,
    strike: Mutex<Option<(&'static str, Fate)>>,
    instant: AtomicBool,
}

impl Chaos {
    /// Calm, until [`Chaos::set`].
    pub fn new(seed: u64) -> Self {
        Self {
            dice: Mutex::new(ChaCha8Rng::seed_from_u64(seed)),
            passing: Mutex::new(ChaCha8Rng::seed_from_u64(seed ^ 1 << 32)),
            rates: Mutex::default(),
            strike: Mutex::default(),
            instant: AtomicBool::new(false),
        }
    }

    /// Changes how much goes wrong.
    pub fn set(&self, rates: Rates) {
        *self.rates.lock().unwrap() = rates;
    }

    /// From now on requests to DynamoDB and SQS take no time, so that what is written does not depend on how many there
    /// were before it.
    pub fn take_no_time(&self) {
        self.instant.store(true, Ordering::Relaxed);
    }

    /// How long a request to DynamoDB or SQS takes.
    pub fn latency(&self) -> Duration {
        let drawn = Duration::from_millis(u64::from(1 + self.roll(20)));
        if self.instant.load(Ordering::Relaxed) { Duration::ZERO } else { drawn }
    }

    /// Nothing goes wrong any more.
    pub fn calm(&self) {
        self.set(Rates::default());
        *self.strike.lock().unwrap() = None;
    }

    /// How much goes wrong.
    pub fn rates(&self) -> Rates {
        *self.rates.lock().unwrap()
    }

    /// A number in `0..bound`.
    pub fn roll(&self, bound: u32) -> u32 {
        self.dice.lock().unwrap().random_range(0..bound.max(1))
    }

    /// The next request to DynamoDB or SQS with `text` in it meets `fate`.
    pub fn strike(&self, text: &'static str, fate: Fate) {
        *self.strike.lock().unwrap() = Some((text, fate));
    }

    /// Whether the request that [`Chaos::strike`] waits for has come.
    pub fn has_struck(&self) -> bool {
        self.strike.lock().unwrap().is_none()
    }

    /// A number in `0..bound`, about what passes within a request.
    pub fn pick(&self, bound: u32) -> u32 {
        self.passing.lock().unwrap().random_range(0..bound.max(1))
    }

    /// Of a request to DynamoDB or SQS.
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

    /// Of a call to WeChat.
    pub fn wechat(&self) -> Fate {
        self.three(self.rates().wechat)
    }

    /// Of a push.
    pub fn push(&self) -> Fate {
        self.three(self.rates().push)
    }

    /// Of what follows a batch.
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

/// The hub's and WeChat's randomness, by the same seed.
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
