//! Followers' messages: encrypted, answered by a rule, each stored on the timeline once.

use std::{collections::BTreeMap, time::Duration};

use oahub_tests::push::fresh_number;
use tokio::sync::Mutex;

use crate::{
    open_loop::{self, Outcome},
    plan::Plan,
    report::Report,
    stage::Play,
};

/// The limit for 99 % of callbacks; WeChat itself waits five seconds.
const P99: Duration = Duration::from_millis(100);
/// How long one rate is tried.
const TRY: Duration = Duration::from_secs(5);
/// Maximum rates tried.
const TRIES: usize = 9;
/// Timelines read concurrently.
const READERS: usize = 8;

/// Measures, and checks that every message is stored.
pub async fn measure(play: &Play<'_>, plan: &Plan, report: &mut Report) {
    let mut said = Said::new(play.fans(plan.fans));
    let cpu = play.tenant.hub.process().cpu_seconds();
    let count = (plan.rate * plan.steady.as_secs_f64()) as usize;
    let steady = at(play, &mut said, plan.rate, count).await;
    assert_eq!(steady.dropped, 0, "the hub does not keep up with {} callbacks a second", plan.rate);
    let mut result = steady.shown();
    if let (Some(before), Some(after)) = (cpu, play.tenant.hub.process().cpu_seconds()) {
        result += &format!(", {:.2} ms of processor each", (after - before) * 1000.0 / count as f64);
    }
    let what = format!("callbacks, {} a second for {} s", plan.rate, plan.steady.as_secs());
    report.row(what, result, "p99 < 100 ms, none lost");
    if plan.highest {
        let (rate, outcome) = highest(play, &mut said, plan.rate).await;
        let result = format!("{rate:.0}/s, {}", outcome.shown());
        report.row("callbacks, highest rate that holds for 5 s", result, "≥ 500/s");
    }
    everything_is_there(play, said).await;
}

/// The numbers of the messages that each fan sent.
pub struct Said {
    fans: Vec<String>,
    numbers: Vec<Vec<u64>>,
    next: usize,
}

impl Said {
    /// Nothing yet.
    pub fn new(fans: Vec<String>) -> Self {
        Self { numbers: vec![Vec::new(); fans.len()], fans, next: 0 }
    }

    /// The next sender, and its message's number.
    fn next(&mut self) -> (&str, u64) {
        let (who, number) = (self.next % self.fans.len(), fresh_number());
        self.next += 1;
        self.numbers[who].push(number);
        (&self.fans[who], number)
    }
}

async fn at(play: &Play<'_>, said: &mut Said, rate: f64, count: usize) -> Outcome {
    open_loop::run(rate, count, || {
        let (who, number) = said.next();
        play.message(who, number).send()
    })
    .await
}

fn holds(rate: f64, outcome: &Outcome) -> bool {
    outcome.dropped == 0 && outcome.quantile(0.99) < P99 && outcome.rate() > 0.97 * rate
}

/// The highest rate that the hub keeps up with, to within 5 %.
async fn highest(play: &Play<'_>, said: &mut Said, from: f64) -> (f64, Outcome) {
    let (mut good, mut bad) = (None, None);
    let mut rate = from;
    for _ in 0..TRIES {
        let outcome = at(play, said, rate, (rate * TRY.as_secs_f64()) as usize).await;
        eprintln!("  {rate:.0}/s: {}", outcome.shown());
        if holds(rate, &outcome) {
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
async fn everything_is_there(play: &Play<'_>, said: Said) {
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
    futures::future::join_all((0..READERS).map(|_| reader())).await;
}
