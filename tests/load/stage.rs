//! A hub with one bound account, and the import of its followers.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use futures::StreamExt;
use oahub_tests::{
    hub::Hub,
    push::{ENVELOPE, now, said, seal, xml},
    tenant::{Tenant, text},
    wait::until_within,
};
use serde_json::json;
use wechat_simulator::Account;

use crate::{plan::Plan, report::Report};

/// Latency of every call to WeChat, as the targets assume.
pub const LATENCY_MS: u64 = 50;
/// How long an import may take before the run fails.
const PATIENCE: Duration = Duration::from_secs(300);

/// Followers who write concurrently.
const SPEAKERS: usize = 8;

/// The hub under load.
pub struct Stage {
    /// The hub.
    pub hub: Hub,
}

impl Stage {
    /// A new hub; `log` is the program's `RUST_LOG`.
    pub async fn new(log: &str) -> Self {
        let hub = Hub::measured(log).await;
        hub.wechat.configure(|habits| habits.latency_ms = LATENCY_MS);
        Self { hub }
    }

    /// Binds an account with the plan's followers.
    pub async fn import(&self, plan: &Plan, report: &mut Report) -> Play<'_> {
        let play = self.bind(plan.followers).await;
        if plan.import {
            let per_second = plan.followers as f64 / play.took.as_secs_f64();
            let what = format!("import of {} followers", plan.followers);
            let result = format!("{per_second:.0} followers/s ({:.1} s), exact", play.took.as_secs_f64());
            report.row(what, result, "≥ 3000/s");
            play.everybody_is_here().await;
        }
        play
    }

    /// Binds and imports an account with `followers`, and sets a default reply.
    pub async fn bind(&self, followers: u64) -> Play<'_> {
        let tenant = self.hub.tenant().await;
        let account = self.hub.service_account(followers);
        let begun = Instant::now();
        let (page, binding) = tenant.try_bind(&account).await;
        assert_eq!(binding["status"], "bound", "{page:?}");
        let import = until_within(PATIENCE, "the import", async || {
            let import = tenant.import(&account.app_id).await?;
            assert_ne!(import["status"], "failed", "{import}");
            (import["status"] == "completed").then_some(import)
        })
        .await;
        let took = begun.elapsed();
        for count in ["followers_total", "followers_listed", "followers_imported"] {
            assert_eq!(import[count], followers, "{import}");
        }
        let rules = json!({"default": text("Thank you, we will answer soon.")});
        tenant.rules(&account.app_id, &rules).await;
        Play { tenant, account, took }
    }
}

/// One bound account.
pub struct Play<'a> {
    /// Whose.
    pub tenant: Tenant<'a>,
    /// The account.
    pub account: Account,
    /// From the owner's first page view to the end of the import.
    took: Duration,
}

impl Play<'_> {
    /// The first `count` followers.
    pub fn fans(&self, count: usize) -> Vec<String> {
        let mut fans: Vec<String> = Vec::new();
        while fans.len() < count {
            let after = fans.last().cloned().unwrap_or_default();
            let page = self.account.followers.page(&after, count - fans.len()).unwrap();
            assert!(!page.is_empty(), "the account has fewer followers");
            fans.extend(page);
        }
        fans
    }

    /// Compares the hub's fans with WeChat's followers.
    async fn everybody_is_here(&self) {
        let app_id = &self.account.app_id;
        let customers = self.tenant.api.all(&format!("/v1/customers?app_id={app_id}")).await;
        let fans: Vec<_> = customers.iter().flat_map(|c| c["fans"].as_array().unwrap()).collect();
        let here: BTreeSet<&str> = fans.iter().map(|fan| fan["open_id"].as_str().unwrap()).collect();
        let all = self.account.followers.page("", usize::MAX).unwrap();
        assert_eq!(here.len(), fans.len(), "somebody is there twice");
        assert!(here == all.iter().map(String::as_str).collect(), "{} of {}", here.len(), all.len());
        assert!(fans.iter().all(|fan| fan["subscribed"] == true), "somebody is taken for gone");
    }

    /// Each of `fans` writes through the simulated WeChat, which opens their reply windows.
    pub async fn open_windows(&self, fans: &[String]) {
        futures::stream::iter(fans)
            .for_each_concurrent(SPEAKERS, async |fan| {
                self.tenant.hub.say(&self.account, fan, "hello").await;
            })
            .await;
    }

    /// A follower's text message as a sealed push, ready to be sent.
    pub fn message(&self, from: &str, msg_id: u64) -> Message {
        let words = format!("message {msg_id}");
        let plain = xml(&self.account.original_id, from, now(), &said(&words, msg_id));
        let (query, body) = seal(&ENVELOPE, &plain);
        let url = format!("{}/wechat/accounts/{}", self.tenant.hub.url, self.account.app_id);
        Message(oahub_tests::api::client().post(url).query(&query.pairs()).body(body))
    }
}

/// A sealed push with its URL.
pub struct Message(reqwest::RequestBuilder);

impl Message {
    /// Sends it; the hub must answer with a reply.
    pub async fn send(self) {
        let answer = self.0.header("Content-Type", "text/xml").send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success() && text.contains("<Encrypt>"), "{status}: {text}");
    }
}
