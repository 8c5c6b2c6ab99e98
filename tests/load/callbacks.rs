//! Followers' messages: encrypted, answered by a rule, each stored on the timeline once.

use std::{collections::BTreeMap, time::Duration};

use oahub_tests::push::unique_number;
use tokio::sync::Mutex;

use crate::{
    bound_account::BoundAccount,
    open_loop::{self, LoadResult},
    plan::Plan,
    report::Report,
};

/// The limit for 99 % of callbacks; WeChat itself waits five seconds.
const P99_LIMIT: Duration = Duration::from_millis(100);
/// How long one rate is tried.
const TRIAL_DURATION: Duration = Duration::from_secs(5);
/// Maximum rates tried.
const MAX_TRIALS: usize = 9;
/// Timelines read concurrently.
const CONCURRENT_READERS: usize = 8;

/// Measures, and checks that every message is stored.
pub async fn measure(play: &BoundAccount<'_>, plan: &Plan, report: &mut Report) {
    let mut said = SentMessages::new(play.fans(plan.fans));
    let cpu = play.tenant.hub.process().cpu_seconds();
    let count = (plan.rate * plan.duration.as_secs_f64()) as usize;
    let steady = run_at_rate(play, &mut said, plan.rate, count).await;
    assert_eq!(steady.dropped, 0, "the hub does not keep up with {} callbacks a second", plan.rate);
    let mut result = steady.summary();
    if let (Some(before), Some(after)) = (cpu, play.tenant.hub.process().cpu_seconds()) {
        result += &format!(", {:.2} ms of processor each", (after - before) * 1000.0 / count as f64);
    }
    let what = format!("callbacks, {} a second for {} s", plan.rate, plan.duration.as_secs());
    report.row(what, result, "p99 < 100 ms, none lost");
    if plan.find_highest_rate {
        let (rate, outcome) = find_highest_rate(play, &mut said, plan.rate).await;
        let result = format!("{rate:.0}/s, {}", outcome.summary());
        report.row("callbacks, highest rate that holds for 5 s", result, "≥ 500/s");
    }
    assert_all_stored_once(play, said).await;
}

/// The numbers of the messages that each fan sent.
pub struct SentMessages {
    fans: Vec<String>,
    numbers: Vec<Vec<u64>>,
    next: usize,
}

impl SentMessages {
    /// Nothing yet.
    pub fn new(fans: Vec<String>) -> Self {
        Self { numbers: vec![Vec::new(); fans.len()], fans, next: 0 }
    }

    /// The next sender, and its message's number.
    fn next(&mut self) -> (&str, u64) {
        let (who, number) = (self.next % self.fans.len(), unique_number());
        self.next += 1;
        self.numbers[who].push(number);
        (&self.fans[who], number)
    }
}

async fn run_at_rate(
    play: &BoundAccount<'_>,
    said: &mut SentMessages,
    rate: f64,
    count: usize,
) -> LoadResult {
    open_loop::run_open(rate, count, || {
        let (who, number) = said.next();
        play.seal_message(who, number).send()
    })
    .await
}

fn keeps_up(rate: f64, outcome: &LoadResult) -> bool {
    outcome.dropped == 0 && outcome.quantile(0.99) < P99_LIMIT && outcome.rate() > 0.97 * rate
}

/// The highest rate that the hub keeps up with, to within 5 %.
async fn find_highest_rate(play: &BoundAccount<'_>, said: &mut SentMessages, from: f64) -> (f64, LoadResult) {
    let (mut good, mut bad) = (None, None);
    let mut rate = from;
    for _ in 0..MAX_TRIALS {
        let outcome = run_at_rate(play, said, rate, (rate * TRIAL_DURATION.as_secs_f64()) as usize).await;
        eprintln!("  {rate:.0}/s: {}", outcome.summary());
        if keeps_up(rate, &outcome) {
            good = Some((rate, outcome));
        } else {
            bad = Some(rate);
        }
        rate = match (&good, bad) {
            (Some((good, _)), Some(bad)) if bad / good < 1.05 => break,
            (Some((good, _)), Some(bad)) => (good * bad).sqrt(),
            (Some((good, _)), None) => good * 1.5,
            (None, _) => rate / 1.5,
        };
    }
    good.unwrap()
}

/// Each message is in its sender's timeline, once.
async fn assert_all_stored_once(play: &BoundAccount<'_>, said: SentMessages) {
    let all = said.fans.into_iter().zip(said.numbers).filter(|(_, numbers)| !numbers.is_empty());
    let rest = Mutex::new(all);
    let reader = async || {
        loop {
            let next = rest.lock().await.next();
            let Some((fan, numbers)) = next else { return };
            let timeline = play.tenant.timeline(&play.account.app_id, &fan).await;
            let mut found: BTreeMap<u64, usize> = BTreeMap::new();
            for event in timeline.iter().filter(|event| event["type"] == "message_received") {
                let number = event["detail"]["MsgId"].as_str().map(str::to_owned);
                let number = number.unwrap_or_else(|| event["detail"]["MsgId"].to_string());
                *found.entry(number.parse().unwrap()).or_default() += 1;
            }
            let expected: BTreeMap<u64, usize> = numbers.into_iter().map(|number| (number, 1)).collect();
            assert!(found == expected, "{fan} said {expected:?}, the timeline has {found:?}");
        }
    };
    futures::future::join_all((0..CONCURRENT_READERS).map(|_| reader())).await;
}
