//! Random histories: a seed decides what happens, what goes wrong and when; afterwards the design's promises
//! (ARCHITECTURE.md, section 6) are checked.
//!
//! `OAHUB_HISTORIES=n` sets how many run, `OAHUB_FIRST=n` the first seed. `OAHUB_SEED=n` replays one history
//! and prints its steps; with `OAHUB_PARTS`, which a failure prints, only what shrinking left of it:
//! `OAHUB_SEED=17 cargo test -p oahub-tests --test simulation -- --nocapture`.
//!
//! **What is a failure.** A check that finds a promise broken when all faults have stopped and everything that was
//! queued has been processed. While the history runs: a panic in any function; a push that costs more requests than
//! it may; two refreshes of one token at once; a request that `template.yaml` does not allow; a batch that a function
//! answers wrongly; a binding without consent. And a deployment that never has nothing left to do.
//!
//! **What is none.**
//! - A push that WeChat gave up after its attempts, and what it would have changed, until the next import.
//! - A request to the API that gets no answer or an error while there are faults; what it asked for may have happened.
//! - A message whose outcome is `outcome_unknown`, whether it was received or not; a message that a program posted
//!   twice without an idempotency key and that came twice.
//! - Two acts that say the same within one second: WeChat's pushes of them are equal, and so they are one event.
//! - Of a follow and an unfollow within one second, either, unless one came after the other was answered.
//! - An import that failed for a reason which is true, or whose list WeChat cut; who followed within ten minutes
//!   before an import and is missing from its list.
//! - A dead letter, and how long anything takes: only [`fair_share`] measures time.
//! - More refreshes, requests or calls than necessary while there are faults.
//!
//! **What it cannot find.** Functions run on one thread and change places only where they wait, so races of threads
//! are invisible. All have the same clock, which stands still while code runs. DynamoDB is dynoxide, whose reads and
//! indexes are never stale; SQS is `infra/local`'s. The harness repeats requests as the SDK would; the SDK's own
//! retries do not run. A lost request is drawn for each one by itself: long outages only come from single tests.
//! Three accounts, four fans who act and some twenty steps: nothing that needs many of anything.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod check;
mod consent;
mod consent_regressions;
mod dead_letters;
mod fair_share;
mod followers;
mod histories;
mod iam;
mod interrupted_imports;
mod ops;
mod oracle;
mod reached;
mod refresh;
mod regressions;
mod run;
mod suspended;
mod timers;

use std::collections::BTreeSet;

use histories::{Scenario, assert_all_hold};
use oahub_harness::{faults::Fault, rare_states::RareState};
use ops::Op;
use run::{Run, tenant_of};

/// What enough histories reach. The others are too rare for random steps, and only counted.
const RARE_STATES: [RareState; 12] = [
    RareState::CrashBetweenWrites,
    RareState::WriteRepeatedBySdk,
    RareState::PushTwiceAtOnce,
    RareState::LatePushAfterUnbinding,
    RareState::BatchTwiceAtOnce,
    RareState::JobInTimer,
    RareState::FollowAndUnfollowInOneSecond,
    RareState::RuleSentMessage,
    RareState::MessageOutcomeUnknown,
    RareState::QuotaOfMessages,
    RareState::ImportResumed,
    RareState::TokenRefreshRefused,
];

struct Promises;

impl Scenario for Promises {
    type Op = Op;
    const TEST: &'static str = "the_promises_hold_in_every_history";

    fn ops(seed: u64) -> Vec<Op> {
        ops::generate(seed).ops
    }

    fn run(seed: u64, ops: &[Op], faults: &[Fault], prints: bool) -> BTreeSet<RareState> {
        run_history(seed, ops, faults, prints).1
    }
}

#[test]
fn the_promises_hold_in_every_history() {
    assert_all_hold::<Promises>(1, &RARE_STATES);
}

/// Runs on one thread whose time jumps when every task waits.
fn on_paused_time<T>(what: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap().block_on(what)
}

#[test]
fn a_seed_is_one_history() {
    for seed in [1, 24, 40, 601] {
        let run = || run_history(seed, &Promises::ops(seed), &Fault::all(), false);
        assert_eq!(run(), run(), "{seed}: time or randomness is no argument somewhere");
    }
}

/// Runs steps from a seed's start and checks the promises. Returns a summary, to compare two runs, and the rare
/// states that were reached.
fn run_history(seed: u64, ops: &[Op], faults: &[Fault], prints: bool) -> (String, BTreeSet<RareState>) {
    let history = ops::generate(seed);
    if prints {
        println!("followers {:?}, bound {:?}", history.followers, history.bound);
    }
    on_paused_time(async {
        let mut run = Run::new(seed, &history).await;
        run.world.backends.faults.allow_only(faults);
        for op in ops {
            if prints {
                println!("{} {op:?}", run.world.now());
            }
            run.step(op).await;
        }
        heal_and_check(&mut run, seed).await;
        reached::note_all(&run);
        let landed = run.world.acknowledged.lock().unwrap();
        let end = format!("{} the end, after {} pushes", run.world.clock.now(), landed.len());
        if prints {
            println!("{end}");
        }
        (format!("{end}: {landed:?}"), run.world.backends.rare_states.all())
    })
}

/// Stops all faults, lets the deployment settle, and checks every promise.
async fn heal_and_check(run: &mut Run, seed: u64) {
    let world = run.world.clone();
    world.backends.faults.clear();
    world.sim().clear_faults();
    world.redeliver_pushes().await;
    world.redeliver_batches().await;
    world.run_until_idle().await;
    imports_end(run).await;
    check::nothing_forbidden(run);
    check::acknowledged_is_stored(run);
    check::no_duplicates(run);
    check::imports_ended_and_counted(run);
    check::no_forbidden_call(run);
    check::consent_decides(&run.world, &run.keys, &run.tenants);
    let landed = world.acknowledged.lock().unwrap().clone();
    for account in 0..run.apps.len() {
        followers::are_known_after_the_bindings_import(run, &landed, account);
    }
    let before = check::all_fan_keys(run);
    // checks that take long to simulate run in every eighth history only
    if seed.is_multiple_of(8) {
        world.advance(2 * 3600).await;
        world.run_until_idle().await;
        check::bound_accounts_have_grants(run);
    }
    let account = [0, 0, 1, 2][usize::try_from(seed / 2 % 4).unwrap()];
    let granted = || world.sim().account(&run.apps[account]).unwrap().authorization.is_some();
    if seed.is_multiple_of(2) && world.is_bound(&run.apps[account]) && granted() {
        import_everybody(run, account).await;
        check::stored_tokens_are_wechats(run, account).await;
        check::fans_are_the_followers(run, account);
    }
    assert!(check::all_fan_keys(run).is_superset(&before), "promise 5: somebody was deleted");
    check::imports_ended_and_counted(run);
    check::consent_decides(&run.world, &run.keys, &run.tenants);
    check::nothing_forbidden(run);
    if seed.is_multiple_of(4) {
        check::tenants_see_their_own(run).await;
    }
}

/// Even if an import lost its jobs, the tick restarts it within an hour, and a pause lasts an hour at most.
async fn imports_end(run: &Run) {
    for _ in 0..6 {
        if check::has_unfinished_imports(run) {
            run.world.advance(1_200).await;
            run.world.run_until_idle().await;
        }
    }
}

/// Imports all followers while nothing goes wrong and nobody follows or unfollows.
async fn import_everybody(run: &Run, account: usize) {
    let (world, key) = (&run.world, &run.keys[tenant_of(account)]);
    // WeChat's list may lag behind, so the hub does not count recent followers as unsubscribed
    world.advance(660).await;
    world.run_until_idle().await;
    let path = format!("/v1/accounts/{}/imports", run.apps[account]);
    let (status, import) = world.api(key, "POST", &path, None, None).await.unwrap();
    assert_eq!(status, 202, "promise 5: {import}");
    world.run_until_idle().await;
    let path = format!("{path}/{}", import["id"].as_str().unwrap());
    let (_, import) = world.api(key, "GET", &path, None, None).await.unwrap();
    let total = world.sim().account(&run.apps[account]).unwrap().followers.total();
    assert_eq!(import["status"], "completed", "promise 5: {import}");
    assert_eq!(import["followers_imported"], total, "promise 5: {import}");
}
