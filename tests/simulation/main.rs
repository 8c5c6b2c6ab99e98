//! Random histories: a seed decides what happens, what goes wrong and when; afterwards the design's promises
//! are checked.
//!
//! `OAHUB_HISTORIES=n` sets how many run, `OAHUB_FIRST=n` the first seed. `OAHUB_SEED=n` replays one history
//! and prints its steps:
//! `OAHUB_SEED=17 cargo test -p oahub-tests --test simulation -- --nocapture`.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod check;
mod consent;
mod consent_regressions;
mod dead_letters;
mod fair_share;
mod followers;
#[path = "../src/harness/mod.rs"]
mod harness;
mod iam;
mod interrupted_imports;
mod ops;
mod refresh;
mod regressions;
mod run;
mod suspended;
mod timers;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicU64, Ordering},
};

use run::{Run, tenant_of};

/// Histories of a default run: about three and a half minutes on two cores.
const HISTORIES: u64 = 1_000;
const THREADS: u64 = 2;

#[expect(clippy::disallowed_methods, reason = "how a person steers the test, not a setting of the hub")]
fn env_number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

#[test]
fn the_promises_hold_in_every_history() {
    for_each_seed(HISTORIES, "the_promises_hold_in_every_history", |seed, prints| {
        drop(run_history(seed, prints))
    });
}

/// Runs the history of each seed, or of `OAHUB_SEED` alone.
fn for_each_seed(default_count: u64, test: &str, history: impl Fn(u64, bool) + Sync) {
    if let Some(seed) = env_number("OAHUB_SEED") {
        history(seed, true);
        return;
    }
    let (count, first) =
        (env_number("OAHUB_HISTORIES").unwrap_or(default_count), env_number("OAHUB_FIRST").unwrap_or(0));
    let next = AtomicU64::new(first);
    let failed = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= first + count {
                        return;
                    }
                    if catch_unwind(AssertUnwindSafe(|| history(seed, false))).is_err() {
                        println!("history {seed} broke a promise");
                        failed.lock().unwrap().push(seed);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(
        failed.is_empty(),
        "{} of {count} histories broke a promise: {failed:?}\nreplay the first: OAHUB_SEED={} cargo test -p oahub-tests --test simulation {test} -- --nocapture",
        failed.len(),
        failed[0],
    );
}

/// Runs on one thread whose time jumps when every task waits.
fn on_paused_time<T>(what: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap().block_on(what)
}

#[test]
fn a_seed_is_one_history() {
    for seed in [1, 24, 40, 601] {
        assert_eq!(
            run_history(seed, false),
            run_history(seed, false),
            "{seed}: time or randomness is no argument somewhere"
        );
    }
}

/// Runs the history of a seed and checks the promises; returns a summary, to compare two runs.
fn run_history(seed: u64, prints: bool) -> String {
    let history = ops::generate(seed);
    if prints {
        println!("{history:#?}");
    }
    on_paused_time(async {
        let mut run = Run::new(seed, &history).await;
        for op in &history.ops {
            if prints {
                println!("{} {op:?}", run.world.now());
            }
            run.step(op).await;
        }
        heal_and_check(&mut run, seed).await;
        let landed = run.world.acknowledged.lock().unwrap();
        let end = format!("{} the end, after {} pushes", run.world.clock.now(), landed.len());
        if prints {
            println!("{end}");
        }
        format!("{end}: {landed:?}")
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
