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
pub enum FaultOutcome {
    /// Arrives, and the response comes back.
    Delivered,
    /// Never arrives.
    Lost,
    /// Arrives; the response is lost.
    Unanswered,
    /// Arrives; the process that sent it dies.
    Crash,
    /// WeChat is busy (-1), or a push arrives twice at the same time.
    BusyOrTwice,
    /// Arrives; the response is lost, and the SDK retries, up to three attempts in all.
    SdkRetried,
    /// DynamoDB refuses it, or a part of it, with a transient error: throttling or a transaction conflict.
    Refused,
}

/// Fault rates, in thousandths of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FaultRates {
    /// Requests to DynamoDB and SQS that are lost; the same rate again for lost responses.
    pub aws: u32,
    /// Requests to either that arrive and are retried by the SDK; the same rate again for transient errors.
    pub sdk_retries: u32,
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
pub struct FaultGenerator {
    rng: Mutex<ChaCha8Rng>,
    /// A separate generator for faults within a request, so that histories without those stay the same.
    in_request_rng: Mutex<ChaCha8Rng>,
    rates: Mutex<FaultRates>,
    next_fault: Mutex<Option<(&'static str, FaultOutcome)>>,
    without_latency: AtomicBool,
}

impl FaultGenerator {
    /// Injects nothing until [`FaultGenerator::set_rates`].
    pub fn new(seed: u64) -> Self {
        Self {
            rng: Mutex::new(ChaCha8Rng::seed_from_u64(seed)),
            in_request_rng: Mutex::new(ChaCha8Rng::seed_from_u64(seed ^ 1 << 32)),
            rates: Mutex::default(),
            next_fault: Mutex::default(),
            without_latency: AtomicBool::new(false),
        }
    }

    /// Changes the fault rates.
    pub fn set_rates(&self, rates: FaultRates) {
        *self.rates.lock().unwrap() = rates;
    }

    /// Requests to DynamoDB and SQS take no time from now on, so that what is written does not depend on how
    /// many requests came before.
    pub fn disable_latency(&self) {
        self.without_latency.store(true, Ordering::Relaxed);
    }

    /// How long this request to DynamoDB or SQS takes.
    pub fn latency(&self) -> Duration {
        let drawn = Duration::from_millis(u64::from(1 + self.random_below(20)));
        if self.without_latency.load(Ordering::Relaxed) { Duration::ZERO } else { drawn }
    }

    /// Stops all faults.
    pub fn clear(&self) {
        self.set_rates(FaultRates::default());
        *self.next_fault.lock().unwrap() = None;
    }

    /// The current rates.
    pub fn rates(&self) -> FaultRates {
        *self.rates.lock().unwrap()
    }

    /// A number in `0..bound`.
    pub fn random_below(&self, bound: u32) -> u32 {
        self.rng.lock().unwrap().random_range(0..bound.max(1))
    }

    /// The next request to DynamoDB or SQS whose body contains `text` meets `fate`.
    pub fn inject_next(&self, text: &'static str, fate: FaultOutcome) {
        *self.next_fault.lock().unwrap() = Some((text, fate));
    }

    /// Whether the fault of [`FaultGenerator::inject_next`] was injected.
    pub fn was_injected(&self) -> bool {
        self.next_fault.lock().unwrap().is_none()
    }

    /// A number in `0..bound`, for faults within a request.
    pub fn random_below_in_request(&self, bound: u32) -> u32 {
        self.in_request_rng.lock().unwrap().random_range(0..bound.max(1))
    }

    /// Draws the outcome of a request to DynamoDB or SQS.
    pub fn for_aws_request(&self, request: &str) -> FaultOutcome {
        if let Some((_, fate)) = self.next_fault.lock().unwrap().take_if(|(text, _)| request.contains(*text))
        {
            return fate;
        }
        let rates = self.rates();
        match self.random_below(1000) {
            n if n < rates.aws => FaultOutcome::Lost,
            n if n < 2 * rates.aws => FaultOutcome::Unanswered,
            n if n < 2 * rates.aws + rates.crash => FaultOutcome::Crash,
            _ if rates.sdk_retries == 0 => FaultOutcome::Delivered,
            _ => match self.random_below_in_request(1000) {
                n if n < rates.sdk_retries => FaultOutcome::SdkRetried,
                n if n < 2 * rates.sdk_retries => FaultOutcome::Refused,
                _ => FaultOutcome::Delivered,
            },
        }
    }

    /// Draws the outcome of a call to WeChat.
    pub fn for_wechat_call(&self) -> FaultOutcome {
        self.draw(self.rates().wechat)
    }

    /// Draws the outcome of a push.
    pub fn for_push(&self) -> FaultOutcome {
        self.draw(self.rates().push)
    }

    /// Draws what happens after a batch.
    pub fn for_batch(&self) -> FaultOutcome {
        self.draw(self.rates().queue)
    }

    fn draw(&self, rate: u32) -> FaultOutcome {
        match self.random_below(1000) {
            n if n < rate => FaultOutcome::Lost,
            n if n < 2 * rate => FaultOutcome::Unanswered,
            n if n < 3 * rate => FaultOutcome::BusyOrTwice,
            _ => FaultOutcome::Delivered,
        }
    }
}

/// The hub's and WeChat's randomness, seeded.
pub struct SeededRng(Mutex<ChaCha8Rng>);

impl SeededRng {
    /// The same bytes for the same seed.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(ChaCha8Rng::seed_from_u64(seed)))
    }
}

impl Random for SeededRng {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().unwrap().fill_bytes(bytes);
    }
}
