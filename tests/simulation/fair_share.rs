//! Promise 15, by seed: one tenant floods, uses up its account's quota, and its account fails in other ways.
//! Another tenant's messages still go out in time, its pushes are answered, WeChat is not called needlessly.

use std::time::Duration;

use oahub_harness::faults::Fault;
use rand::{RngExt as _, SeedableRng, seq::IndexedRandom as _};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use tokio::time::Instant;
use wechat_simulator::{FaultKind, FollowerAction, InjectedFault, PushOutcome, PushOverrides};

use crate::{
    histories::{assert_none_failed, for_each_seed},
    on_paused_time,
    ops::{FANS, History},
    run::Run,
};

const TEMPLATE_SEND: &str = "/cgi-bin/message/template/send";
/// One of so many histories is one of these, which take long.
const ONE_IN: u64 = 25;
/// The flooding tenant's account and the other tenant's.
const FLOODING_ACCOUNT: usize = 0;
const OTHER_ACCOUNT: usize = 2;
/// Concurrent batches of the send queue, and the most messages of each.
const CONCURRENT_BATCHES: u32 = 4;
const BATCH_SIZE: u64 = 10;
/// Most seconds that the other tenant's message may take beyond the backlog before it, without faults.
const MAX_DELAY_SECONDS: u64 = 15;
/// The same with faults: a message whose function died is invisible for minutes, more than once.
const MAX_DELAY_WITH_FAULTS_SECONDS: u64 = 1_800;

#[test]
fn nobody_takes_anothers_share_in_any_history() {
    let (count, failures) = for_each_seed(ONE_IN, |seed, _| on_paused_time(run_history(seed)));
    assert_none_failed(count, &failures, "nobody_takes_anothers_share_in_any_history");
}

/// Messages that one tenant posts at once: half a minute of work for two instances at a second per call.
const FLOOD_MESSAGES: u64 = 300;
/// Most seconds that another's message may take behind them: until all instances see the lag, and a turn.
const MAX_DELAY_BEHIND_FLOOD_SECONDS: u64 = 18;

#[test]
fn a_slow_wechat_has_nobody_wait_for_all_that_another_posted() {
    on_paused_time(async {
        let start =
            History { followers: [FLOOD_MESSAGES, 2, 9], bound: [true, false, true], ops: Vec::new() };
        let run = Run::new(1, &start).await;
        let (world, sim) = (&run.world, run.world.sim());
        world.run_until_idle().await;
        sim.slow_down(TEMPLATE_SEND, 1_000);
        let fans = sim.account(&run.apps[FLOODING_ACCOUNT]).unwrap().followers.page("", 1_000).unwrap();
        for fan in &fans {
            // as fast as the rate limit allows
            while !post_message(&run, fan).await {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        let (app, fan) = (&run.apps[OTHER_ACCOUNT], &run.fans[OTHER_ACCOUNT][0]);
        let says = FollowerAction::Text { content: "hello".into(), bizmsgmenuid: None };
        sim.act(app, fan, says, PushOverrides::default()).await.unwrap();
        let path = format!("/v1/accounts/{app}/messages");
        let body = json!({"to": fan, "content": {"msgtype": "text", "text": {"content": "beside"}}});
        assert_eq!(world.api(&run.keys[1], "POST", &path, Some(body), None).await.unwrap().0, 202);
        // as many workers as instances stay warm, none of which waits for another's batch
        let posted = Instant::now();
        let worker = async || {
            while !sim.received(app, fan).iter().any(|line| line.text == "beside") {
                assert!(
                    posted.elapsed() < Duration::from_secs(MAX_DELAY_BEHIND_FLOOD_SECONDS),
                    "another's message waits still"
                );
                if world.process_batches(1).await == 0 {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        };
        futures::future::join(worker(), worker()).await;
        // the delayed messages go out too, each once
        world.run_until_idle().await;
        let got: Vec<usize> =
            fans.iter().map(|fan| sim.received(&run.apps[FLOODING_ACCOUNT], fan).len()).collect();
        assert!(got.iter().all(|count| *count == 1), "{got:?}");
    });
}

async fn run_history(seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let start = History { followers: [150, 2, 9], bound: [true, false, true], ops: Vec::new() };
    let run = Run::new(seed, &start).await;
    let (world, sim) = (&run.world, run.world.sim());
    world.run_until_idle().await;
    let with_faults = rng.random_bool(0.5);
    if with_faults {
        let mut rate = |most| rng.random_range(0..=most);
        let rates = [(Fault::Lost, rate(12)), (Fault::Unanswered, rate(12)), (Fault::Crash, rate(6))];
        let sdk = [(Fault::SdkRetried, rate(12)), (Fault::Refused, rate(12))];
        world.backends.faults.set_rates(rates.into_iter().chain(sdk).collect());
    }

    let many = &run.apps[FLOODING_ACCOUNT];
    let quota = rng.random_range(0..30);
    sim.limit_quota(many, TEMPLATE_SEND, quota);
    let fans = sim.account(many).unwrap().followers.page("", 1_000).unwrap();
    let before = sim.calls(TEMPLATE_SEND).errors.get(&45009).copied().unwrap_or(0);
    for _ in 0..rng.random_range(3..8) {
        post_many(&run, &mut rng, &fans).await;
        match rng.random_range(0..4) {
            0 => world.tick().await,
            1 => world.drop_warm_instances(),
            2 => {
                let kind = *[40001, 48001, -1].choose(&mut rng).unwrap();
                let fails = InjectedFault::once(TEMPLATE_SEND, FaultKind::Error { errcode: kind });
                sim.inject_fault(fails.for_account(many).times(rng.random_range(1..20)));
            }
            _ => {}
        }
        other_tenant_sends(&run, &mut rng, seed, with_faults).await;
    }
    let refused = sim.calls(TEMPLATE_SEND).errors.get(&45009).copied().unwrap_or(0) - before;
    let most = u64::from(CONCURRENT_BATCHES) * BATCH_SIZE * if with_faults { 3 } else { 1 };
    assert!(refused <= most, "promise 15, seed {seed}: WeChat refused the quota {refused} times");
}

/// The flooding tenant posts more messages than are sent in a second.
async fn post_many(run: &Run, rng: &mut ChaCha8Rng, fans: &[String]) {
    for _ in 0..rng.random_range(10..60) {
        post_message(run, fans.choose(rng).unwrap()).await;
    }
}

/// Posts a message; returns whether it was accepted.
async fn post_message(run: &Run, fan: &str) -> bool {
    let path = format!("/v1/accounts/{}/messages", run.apps[FLOODING_ACCOUNT]);
    let message = json!({"to": fan, "template": {
        "template_id": "TMsimulatedOrderReady000000000000000000000001",
        "data": {"thing1": {"value": "Tea"}, "time2": {"value": "now"}, "amount3": {"value": "1"}},
    }});
    run.world.api(&run.keys[0], "POST", &path, Some(message), None).await.is_some_and(|(code, _)| code == 202)
}

/// A fan of the other account writes and gets a message.
async fn other_tenant_sends(run: &Run, rng: &mut ChaCha8Rng, seed: u64, with_faults: bool) {
    let (world, app) = (&run.world, &run.apps[OTHER_ACCOUNT]);
    let fan = &run.fans[OTHER_ACCOUNT][rng.random_range(0..FANS / 2)]; // those who follow from the start
    let words = format!("beside {}", rng.random_range(0..u32::MAX));
    let says = FollowerAction::Text { content: "hello".into(), bizmsgmenuid: None };
    let push = world.sim().act(app, fan, says, PushOverrides::default()).await.unwrap();
    let answered = matches!(push.outcome, PushOutcome::Accepted | PushOutcome::Replied);
    assert!(answered || with_faults, "promise 15, seed {seed}: {push:?}");
    if !answered {
        return; // WeChat opened no window for this fan
    }
    let (ahead, _) = world.queue_depths().await;
    let path = format!("/v1/accounts/{app}/messages");
    let body = json!({"to": fan, "content": {"msgtype": "text", "text": {"content": words}}});
    let Some((202, accepted)) = world.api(&run.keys[1], "POST", &path, Some(body), Some(&words)).await else {
        assert!(with_faults, "promise 15, seed {seed}: a message was not accepted");
        return;
    };
    // each second every batch takes at least one message
    let within = ahead.div_ceil(u64::from(CONCURRENT_BATCHES))
        + if with_faults { MAX_DELAY_WITH_FAULTS_SECONDS } else { MAX_DELAY_SECONDS };
    for _ in 0..within {
        world.process_batches(CONCURRENT_BATCHES).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        if world.sim().received(app, fan).iter().any(|line| line.text == words) {
            return;
        }
        // the function died while WeChat had the message: it is never sent twice
        let unknown = async || {
            let path = format!("/v1/messages/{}", accepted["id"].as_str().unwrap());
            let message = world.api(&run.keys[1], "GET", &path, None, None).await;
            message.is_some_and(|(_, message)| message["error"]["code"] == "outcome_unknown")
        };
        if with_faults && unknown().await {
            return;
        }
    }
    panic!("promise 15, seed {seed}: another's message took more than {within} s behind {ahead} messages");
}
