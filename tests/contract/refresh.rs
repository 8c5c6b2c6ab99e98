//! Tokens are refreshed before they expire.

use std::time::Duration;

use futures::{StreamExt, stream};
use oahub_tests::{api::ApiClient, hub::Hub, run, wait::until_within};
use wechat_simulator::SimulatedAccount;

const ACCOUNTS: usize = 300;
/// `expires_in`, seconds: the shortest that a tick per second can keep up with.
const TOKEN_LIFETIME_SECONDS: i64 = 40;

#[test]
fn three_hundred_accounts_never_lack_a_living_token() {
    run(async {
        let hub = Hub::exclusive().await;
        hub.wechat.configure(|habits| {
            habits.authorizer_token_lifetime = TOKEN_LIFETIME_SECONDS;
            habits.token_grace = 5;
        });
        let tenant = hub.create_tenant().await;
        let accounts: Vec<SimulatedAccount> = (0..ACCOUNTS).map(|_| hub.add_service_account(1)).collect();
        stream::iter(&accounts)
            .for_each_concurrent(8, async |account| {
                let (_, binding) = tenant.try_bind(account).await;
                assert_eq!(binding["status"], "bound");
            })
            .await;
        assert_eq!(hub.operator().get("/v1/platform").await.expect(200)["accounts_bound"], ACCOUNTS);
        let wechat = ApiClient { url: hub.wechat_url.clone(), key: None };
        // two for each: the one that it was bound with, and a refreshed one
        until_within(Duration::from_secs(120), "new tokens", async || {
            let listed = wechat.get("/_sim/accounts").await.expect(200);
            for account in listed["accounts"].as_array().unwrap() {
                assert!(account["live_tokens"].as_u64() > Some(0), "a token expired: {account}");
            }
            accounts.iter().all(|a| hub.wechat.tokens_issued(Some(&a.app_id)) >= 2).then_some(())
        })
        .await;
        // and hardly more than needed: fresh tokens are not refreshed
        let issued: u64 = accounts.iter().map(|a| hub.wechat.tokens_issued(Some(&a.app_id))).sum();
        assert!(issued <= 4 * ACCOUNTS as u64, "{issued} tokens for {ACCOUNTS} accounts");
    });
}

#[test]
fn a_component_token_that_wechat_takes_back_is_replaced() {
    run(async {
        let hub = Hub::exclusive().await;
        let tenant = hub.create_tenant().await;
        tenant.bind(&hub.add_service_account(1)).await;
        hub.wechat.invalidate_tokens(None);
        let before = hub.wechat.tokens_issued(None);
        tenant.bind(&hub.add_service_account(1)).await;
        assert_eq!(hub.wechat.tokens_issued(None) - before, 1);
    });
}

#[test]
fn a_refresh_token_that_wechat_rotates_is_kept() {
    run(async {
        let hub = Hub::exclusive().await;
        hub.wechat.configure(|habits| {
            habits.rotate_refresh_tokens = true;
            habits.token_grace = 0;
        });
        let tenant = hub.create_tenant().await;
        let account = hub.add_service_account(1);
        tenant.bind(&account).await;
        for _ in 0..3 {
            hub.wechat.invalidate_tokens(Some(&account.app_id));
            let path = format!("/v1/accounts/{}/imports", account.app_id);
            let started = tenant.api.post(&path, &serde_json::json!({})).await;
            assert_eq!(started.status, 202, "{started:?} {}", hub.log());
            tenant.await_import(&account.app_id).await;
        }
        assert_eq!(hub.wechat.tokens_issued(Some(&account.app_id)), 4);
    });
}
