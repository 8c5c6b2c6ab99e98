//! A hub with one bound account, and the import of its followers.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use futures::StreamExt;
use oahub_tests::{
    hub::Hub,
    push::{ENVELOPE, now, push_xml, seal_push, text_members},
    tenant::{Tenant, text_content},
    wait::until_within,
};
use serde_json::json;
use wechat_simulator::SimulatedAccount;

use crate::{plan::Plan, report::Report};

/// How long a push that met no free instance waits before it is sent again.
const REPEAT_WAIT: Duration = Duration::from_millis(100);

/// Latency of every call to WeChat, as the targets assume.
pub const LATENCY_MS: u64 = 50;
/// How long an import may take before the run fails.
const IMPORT_TIMEOUT: Duration = Duration::from_secs(300);

/// Followers who write concurrently.
const CONCURRENT_WRITERS: usize = 8;

/// The hub under load.
pub struct LoadTestHub {
    /// The hub.
    pub hub: Hub,
}

impl LoadTestHub {
    /// A new hub; `log` is the program's `RUST_LOG`.
    pub async fn new(log: &str) -> Self {
        let hub = Hub::for_benchmark(log).await;
        hub.wechat.configure(|habits| habits.latency_ms = LATENCY_MS);
        Self { hub }
    }

    /// Binds an account with the plan's followers.
    pub async fn import(&self, plan: &Plan, report: &mut Report) -> BoundAccount<'_> {
        let play = self.bind(plan.followers).await;
        if plan.import {
            let per_second = plan.followers as f64 / play.import_duration.as_secs_f64();
            let what = format!("import of {} followers", plan.followers);
            let result =
                format!("{per_second:.0} followers/s ({:.1} s), exact", play.import_duration.as_secs_f64());
            report.row(what, result, "≥ 3000/s");
            play.assert_all_imported().await;
        }
        play
    }

    /// Binds and imports an account with `followers`, and sets a default reply.
    pub async fn bind(&self, followers: u64) -> BoundAccount<'_> {
        let tenant = self.hub.create_tenant().await;
        let account = self.hub.add_service_account(followers);
        let begun = Instant::now();
        let (page, binding) = tenant.try_bind(&account).await;
        assert_eq!(binding["status"], "bound", "{page:?}");
        let import = until_within(IMPORT_TIMEOUT, "the import", async || {
            let import = tenant.newest_import(&account.app_id).await?;
            assert_ne!(import["status"], "failed", "{import}");
            (import["status"] == "completed").then_some(import)
        })
        .await;
        let took = begun.elapsed();
        for count in ["followers_total", "followers_listed", "followers_imported"] {
            assert_eq!(import[count], followers, "{import}");
        }
        let rules = json!({"default": text_content("Thank you, we will answer soon.")});
        tenant.set_reply_rules(&account.app_id, &rules).await;
        BoundAccount { tenant, account, import_duration: took }
    }
}

/// One bound account.
pub struct BoundAccount<'a> {
    /// Whose.
    pub tenant: Tenant<'a>,
    /// The account.
    pub account: SimulatedAccount,
    /// From the owner's first page view to the end of the import.
    import_duration: Duration,
}

impl BoundAccount<'_> {
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
    async fn assert_all_imported(&self) {
        let app_id = &self.account.app_id;
        let customers = self.tenant.api.list_all(&format!("/v1/customers?app_id={app_id}")).await;
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
            .for_each_concurrent(CONCURRENT_WRITERS, async |fan| {
                self.tenant.hub.say(&self.account, fan, "hello").await;
            })
            .await;
    }

    /// A follower's text message as a sealed push, ready to be sent.
    pub fn seal_message(&self, from: &str, msg_id: u64) -> SealedPush {
        let words = format!("message {msg_id}");
        let plain = push_xml(&self.account.original_id, from, now(), &text_members(&words, msg_id));
        let (query, body) = seal_push(&ENVELOPE, &plain);
        let url = format!("{}/wechat/accounts/{}", self.tenant.hub.url, self.account.app_id);
        SealedPush(oahub_tests::api::http_client().post(url).query(&query.pairs()).body(body))
    }
}

/// A sealed push with its URL.
pub struct SealedPush(reqwest::RequestBuilder);

impl SealedPush {
    /// Sends it; the hub must answer with a reply. Where all of the function's instances are busy the gateway answers
    /// 503, and it is sent again, as WeChat does.
    pub async fn send(self) {
        let request = self.0.header("Content-Type", "text/xml");
        loop {
            let answer = request.try_clone().unwrap().send().await.unwrap();
            let status = answer.status();
            if status == reqwest::StatusCode::SERVICE_UNAVAILABLE {
                tokio::time::sleep(REPEAT_WAIT).await;
                continue;
            }
            let text = answer.text().await.unwrap();
            assert!(status.is_success() && text.contains("<Encrypt>"), "{status}: {text}");
            return;
        }
    }
}
