//! Faults of the simulated deployment, each with a rate of its own, drawn from the seed.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rand::{Rng, RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;
use shared::random::Random;

/// One kind of fault. A lost request and a lost response are different faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A request to DynamoDB or SQS never arrives.
    Lost,
    /// A request to either arrives; the response is lost.
    Unanswered,
    /// A request to either arrives; the response is lost, and the SDK retries, up to three attempts in all.
    SdkRetried,
    /// DynamoDB refuses a request, or a part of it, with a transient error: throttling or a transaction conflict.
    Refused,
    /// The function dies before or after a request to either.
    Crash,
    /// A call to WeChat is lost.
    WeChatLost,
    /// A call to WeChat arrives; the response is lost.
    WeChatUnanswered,
    /// WeChat is busy (-1).
    WeChatBusy,
    /// A push never arrives.
    PushLost,
    /// A push arrives; the response is lost.
    PushUnanswered,
    /// A push arrives twice at the same time.
    PushTwice,
    /// A push arrives, and again much later.
    PushLate,
    /// The deletion of handled messages is lost.
    DeletionLost,
    /// A batch is handled twice at the same time.
    BatchTwice,
    /// A batch is handled, and again much later.
    BatchLate,
}

/// Each fault with its highest rate, in thousandths of the requests, calls, pushes or batches that it can meet.
const MAX_RATES: [(Fault, u32); 15] = [
    (Fault::Lost, 40),
    (Fault::Unanswered, 40),
    (Fault::SdkRetried, 80),
    (Fault::Refused, 80),
    (Fault::Crash, 30),
    (Fault::WeChatLost, 100),
    (Fault::WeChatUnanswered, 100),
    (Fault::WeChatBusy, 100),
    (Fault::PushLost, 200),
    (Fault::PushUnanswered, 200),
    (Fault::PushTwice, 200),
    (Fault::PushLate, 300),
    (Fault::DeletionLost, 150),
    (Fault::BatchTwice, 150),
    (Fault::BatchLate, 150),
];

impl Fault {
    /// All of them.
    pub fn all() -> Vec<Self> {
        MAX_RATES.map(|(fault, _)| fault).into()
    }
}

/// Fault rates in thousandths; a fault that is not in it does not happen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FaultRates(BTreeMap<Fault, u32>);

impl FaultRates {
    /// Half of the faults do not happen. The rates of the others are drawn one by one, so that a fault also
    /// happens often while another is rare or absent.
    pub fn draw(rng: &mut impl Rng) -> Self {
        let mut rate = |(fault, most)| rng.random_bool(0.5).then(|| (fault, rng.random_range(1..=most)));
        Self(MAX_RATES.into_iter().filter_map(&mut rate).collect())
    }

    /// Whether any of these happens.
    pub fn any(&self, faults: &[Fault]) -> bool {
        faults.iter().any(|fault| self.0.contains_key(fault))
    }

    /// Raises each rate to that of `other` where that is higher.
    pub fn raise(&mut self, other: &Self) {
        for (fault, rate) in &other.0 {
            let kept = self.0.entry(*fault).or_default();
            *kept = (*kept).max(*rate);
        }
    }
}

impl FromIterator<(Fault, u32)> for FaultRates {
    fn from_iter<T: IntoIterator<Item = (Fault, u32)>>(rates: T) -> Self {
        Self(rates.into_iter().collect())
    }
}

/// Draws the faults.
pub struct FaultGenerator {
    rng: Mutex<ChaCha8Rng>,
    /// Of its own, so that what an injected fault does depends on no request before it.
    in_request_rng: Mutex<ChaCha8Rng>,
    rates: Mutex<FaultRates>,
    allowed: Mutex<Vec<Fault>>,
    next_fault: Mutex<Option<(&'static str, Fault)>>,
    next_push_is_late: AtomicBool,
    without_latency: AtomicBool,
}

impl FaultGenerator {
    /// Injects nothing until [`FaultGenerator::set_rates`].
    pub fn new(seed: u64) -> Self {
        Self {
            rng: Mutex::new(ChaCha8Rng::seed_from_u64(seed)),
            in_request_rng: Mutex::new(ChaCha8Rng::seed_from_u64(seed ^ 1 << 32)),
            rates: Mutex::default(),
            allowed: Mutex::new(Fault::all()),
            next_fault: Mutex::default(),
            next_push_is_late: AtomicBool::new(false),
            without_latency: AtomicBool::new(false),
        }
    }

    /// No other fault happens from now on, whatever rate is set.
    pub fn allow_only(&self, faults: &[Fault]) {
        *self.allowed.lock().unwrap() = faults.to_vec();
    }

    /// Changes the fault rates.
    pub fn set_rates(&self, mut rates: FaultRates) {
        let allowed = self.allowed.lock().unwrap();
        rates.0.retain(|fault, _| allowed.contains(fault));
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

    /// A number in `0..bound`.
    pub fn random_below(&self, bound: u32) -> u32 {
        self.rng.lock().unwrap().random_range(0..bound.max(1))
    }

    /// The next request to DynamoDB or SQS whose body contains `text` meets `fault`.
    pub fn inject_next(&self, text: &'static str, fault: Fault) {
        *self.next_fault.lock().unwrap() = Some((text, fault));
    }

    /// Whether the fault of [`FaultGenerator::inject_next`] was injected.
    pub fn was_injected(&self) -> bool {
        self.next_fault.lock().unwrap().is_none()
    }

    /// Whether the next push that arrives meets [`Fault::PushLate`].
    pub fn make_next_push_late(&self, is_late: bool) {
        self.next_push_is_late.store(is_late, Ordering::Relaxed);
    }

    /// Draws whether a push arrives again much later.
    pub fn push_is_late(&self) -> bool {
        let drawn = self.draw(&[Fault::PushLate]).is_some();
        self.next_push_is_late.swap(false, Ordering::Relaxed) || drawn
    }

    /// A number in `0..bound`, for faults within a request.
    pub fn random_below_in_request(&self, bound: u32) -> u32 {
        self.in_request_rng.lock().unwrap().random_range(0..bound.max(1))
    }

    /// Draws the fault of a request to DynamoDB or SQS, if any.
    pub fn for_aws_request(&self, request: &str) -> Option<Fault> {
        let injected = self.next_fault.lock().unwrap().take_if(|(text, _)| request.contains(*text));
        injected.map(|(_, fault)| fault).or_else(|| {
            self.draw(&[Fault::Lost, Fault::Unanswered, Fault::Crash, Fault::SdkRetried, Fault::Refused])
        })
    }

    /// Draws which one of these faults happens, if any.
    pub fn draw(&self, faults: &[Fault]) -> Option<Fault> {
        let mut drawn = self.random_below(1000);
        let rates = self.rates.lock().unwrap();
        faults.iter().copied().find(|fault| {
            let rate = rates.0.get(fault).copied().unwrap_or(0);
            let happens = drawn < rate;
            drawn = drawn.saturating_sub(rate);
            happens
        })
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
