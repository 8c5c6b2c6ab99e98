//! Runs the histories of many seeds on two threads. One that breaks a promise is shrunk: parts of it are
//! dropped while the same promise still breaks.

use std::{
    any::Any,
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    fmt,
    panic::{self, AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex, Once,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use oahub_harness::{faults::Fault, rare_states::RareState};

/// `OAHUB_HISTORIES` unless set: about a minute.
const HISTORIES: u64 = 100;
const THREADS: u64 = 2;
/// From so many `OAHUB_HISTORIES` on each rare state must be reached; fewer may miss one by chance.
const ENOUGH_HISTORIES: u64 = 1_000;
/// How long a history is shrunk: some hundred shorter runs.
const SHRINK_TIME: Duration = Duration::from_secs(60);

/// Something that happens by seed: a list of steps, with faults.
pub trait Scenario {
    /// A step.
    type Op: Clone;
    /// The name of its test.
    const TEST: &'static str;

    /// The steps of a seed.
    fn ops(seed: u64) -> Vec<Self::Op>;

    /// Runs steps and checks the promises; panics if one breaks. Returns the rare states that were reached.
    fn run(seed: u64, ops: &[Self::Op], faults: &[Fault], prints: bool) -> BTreeSet<RareState>;
}

/// A part of a history that can be left out: the step of this number, or all faults of one kind.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Op(usize),
    Fault(Fault),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Op(number) => write!(f, "{number}"),
            Self::Fault(fault) => write!(f, "{fault:?}"),
        }
    }
}

fn parts_from_text(text: &str) -> Vec<Part> {
    let fault = |name: &str| Fault::all().into_iter().find(|fault| format!("{fault:?}") == name).unwrap();
    let part = |word: &str| word.parse().map_or_else(|_| Part::Fault(fault(word)), Part::Op);
    text.split(',').filter(|word| !word.is_empty()).map(part).collect()
}

fn parts_to_text(parts: &[Part]) -> String {
    parts.iter().map(Part::to_string).collect::<Vec<_>>().join(",")
}

fn run_parts<S: Scenario>(seed: u64, parts: &[Part], prints: bool) -> BTreeSet<RareState> {
    let ops = S::ops(seed);
    let (mut kept, mut faults) = (Vec::new(), Vec::new());
    for part in parts {
        match part {
            Part::Op(number) => kept.push(ops[*number].clone()),
            Part::Fault(fault) => faults.push(*fault),
        }
    }
    S::run(seed, &kept, &faults, prints)
}

fn all_parts<S: Scenario>(seed: u64) -> Vec<Part> {
    (0..S::ops(seed).len()).map(Part::Op).chain(Fault::all().into_iter().map(Part::Fault)).collect()
}

#[expect(clippy::disallowed_methods, reason = "how a person steers the test, not a setting of the hub")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn number(name: &str) -> Option<u64> {
    variable(name).map(|value| value.parse().unwrap())
}

/// Every history keeps the promises, and together they reach these rare states. `one_in` is how many of
/// `OAHUB_HISTORIES` there are for each of these.
pub fn assert_all_hold<S: Scenario>(one_in: u64, rare_states: &[RareState]) {
    if let (Some(seed), Some(parts)) = (number("OAHUB_SEED"), variable("OAHUB_PARTS")) {
        run_parts::<S>(seed, &parts_from_text(&parts), true);
        return;
    }
    let reached = Mutex::new(BTreeMap::<RareState, u64>::new());
    let (count, failures) = for_each_seed(one_in, |seed, prints| {
        for state in run_parts::<S>(seed, &all_parts::<S>(seed), prints) {
            *reached.lock().unwrap().entry(state).or_default() += 1;
        }
    });
    if let Some((seed, message)) = failures.iter().next() {
        let parts = shrink_history::<S>(*seed, message);
        println!("history {seed}, shrunk:");
        catch_unwind(|| run_parts::<S>(*seed, &parts, true)).ok();
        println!("replay what is left of it with OAHUB_PARTS={}", parts_to_text(&parts));
    }
    let reached = reached.into_inner().unwrap();
    println!("{count} histories reached {reached:#?}");
    assert_none_failed(count, &failures, S::TEST);
    let missed: Vec<_> = rare_states.iter().filter(|state| !reached.contains_key(*state)).collect();
    assert!(
        count * one_in < ENOUGH_HISTORIES || missed.is_empty(),
        "{count} histories reached no {missed:?}"
    );
}

/// Runs the history of each seed, or of `OAHUB_SEED` alone; returns how many, and the message of each that failed.
pub fn for_each_seed(one_in: u64, history: impl Fn(u64, bool) + Sync) -> (u64, BTreeMap<u64, String>) {
    let single = number("OAHUB_SEED");
    let count = single.map_or_else(|| number("OAHUB_HISTORIES").unwrap_or(HISTORIES).div_ceil(one_in), |_| 1);
    let first = single.or_else(|| number("OAHUB_FIRST")).unwrap_or(0);
    let next = AtomicU64::new(first);
    let failures = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= first + count {
                        return;
                    }
                    if let Err(failure) = catch_unwind(AssertUnwindSafe(|| history(seed, single.is_some()))) {
                        println!("history {seed} broke a promise");
                        failures.lock().unwrap().insert(seed, message_of(&*failure));
                    }
                }
            });
        }
    });
    (count, failures.into_inner().unwrap())
}

/// Fails with the command that replays the first failure.
pub fn assert_none_failed(count: u64, failures: &BTreeMap<u64, String>, test: &str) {
    let Some((first, message)) = failures.iter().next() else { return };
    panic!(
        "{} of {count} histories broke a promise: {:?}\n{first}: {message}\nreplay it: \
         OAHUB_SEED={first} cargo test -p oahub-tests --test simulation {test} -- --nocapture",
        failures.len(),
        failures.keys().collect::<Vec<_>>(),
    );
}

fn message_of(failure: &(dyn Any + Send)) -> String {
    let text = failure.downcast_ref::<String>().cloned();
    text.or_else(|| failure.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
}

/// What broke, as `promise 5` where a message names one; otherwise the message up to its first colon.
fn promise(message: &str) -> &str {
    let from = message.find("promise ").unwrap_or(0);
    message[from..].split([':', ',']).next().unwrap()
}

fn shrink_history<S: Scenario>(seed: u64, message: &str) -> Vec<Part> {
    let until = Instant::now() + SHRINK_TIME;
    quietly(|| {
        shrink(all_parts::<S>(seed), until, |parts| {
            let failure = catch_unwind(|| run_parts::<S>(seed, parts, false)).err();
            failure.is_some_and(|failure| promise(&message_of(&*failure)) == promise(message))
        })
    })
}

/// Drops parts while what is left still breaks: halves first, then ever smaller runs of parts, until not one can be
/// dropped or time is up.
fn shrink<T: Clone>(mut parts: Vec<T>, until: Instant, breaks: impl Fn(&[T]) -> bool) -> Vec<T> {
    let mut size = parts.len().div_ceil(2);
    while size > 0 {
        let (mut start, mut dropped) = (0, false);
        while start < parts.len() {
            if Instant::now() >= until {
                return parts;
            }
            let end = (start + size).min(parts.len());
            let rest = [&parts[..start], &parts[end..]].concat();
            if breaks(&rest) {
                (parts, dropped) = (rest, true);
            } else {
                start = end;
            }
        }
        if size == 1 && !dropped {
            break;
        }
        size = size.div_ceil(2);
    }
    parts
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs `what` without the messages and backtraces of its panics.
fn quietly<T>(what: impl FnOnce() -> T) -> T {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                usual(info);
            }
        }));
    });
    QUIET.set(true);
    let result = what();
    QUIET.set(false);
    result
}

#[test]
fn a_failing_history_is_shrunk_to_what_breaks_the_same_promise() {
    struct Planted;
    impl Scenario for Planted {
        type Op = u64;
        const TEST: &'static str = "planted";
        fn ops(seed: u64) -> Vec<u64> {
            (0..seed).collect()
        }
        fn run(_: u64, ops: &[u64], faults: &[Fault], _: bool) -> BTreeSet<RareState> {
            assert!(!ops.contains(&30), "promise 1: another one, which breaks with more");
            let breaks = ops.contains(&3) && ops.contains(&17) && faults.contains(&Fault::Crash);
            assert!(!breaks, "promise 2: {ops:?}");
            BTreeSet::new()
        }
    }
    let parts = shrink_history::<Planted>(20, "assertion failed: promise 2: whatever");
    assert_eq!(parts_to_text(&parts), "3,17,Crash");
    assert!(parts == parts_from_text("3,17,Crash"));
    let parts = shrink_history::<Planted>(40, "promise 1: whatever");
    assert_eq!(parts_to_text(&parts), "30", "another promise that breaks is not taken for it");
}
