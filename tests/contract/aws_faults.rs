//! AWS under load: throttled partitions, transaction conflicts, lagging indexes, lost ticks.

use oahub_tests::{hub::Hub, run, tenant::text_content, wait::until};
use serde_json::json;

#[test]
fn what_aws_does_under_load_costs_time_and_nothing_else() {
    run(async {
        let hub = Hub::with_flags(&[
            "--aws-partition-writes",
            "60",
            "--aws-partition-reads",
            "200",
            "--aws-conflicts",
            "10",
            "--aws-index-lag",
            "300",
            "--aws-ticks-lost",
            "300",
            "--aws-ticks-doubled",
            "300",
            "--aws-concurrency",
            "10",
        ])
        .await;
        let (tenant, account) = (hub.create_tenant().await, hub.add_service_account(450));
        tenant.bind(&account).await;
        let import = tenant.await_import(&account.app_id).await;
        let counts = ["followers_total", "followers_listed", "followers_imported"];
        assert!(counts.iter().all(|name| import[*name] == 450), "{import}");
        until("everybody in the listing", async || {
            let customers = tenant.api.list_all(&format!("/v1/customers?app_id={}", account.app_id)).await;
            (customers.len() == 450).then_some(())
        })
        .await;
        let open_id = hub.newest_follower(&account).openid;
        hub.say(&account, &open_id, "hello").await;
        let message = json!({"to": open_id, "content": text_content("It is ready.")});
        let sent = tenant.send_and_await(&account.app_id, &message).await;
        assert_eq!(sent["status"], "sent", "{sent}");
        assert_eq!(hub.wechat.received(&account.app_id, &open_id).len(), 1, "once");
    });
}

/// All listed pages of an import lay in one partition, which every reconciling shard reads: a large one
/// was throttled, and a throttled job started over.
#[test]
fn an_import_of_many_lists_gets_through_where_a_partition_gives_little() {
    run(async {
        let hub = Hub::with_flags(&["--aws-partition-reads", "30"]).await;
        hub.wechat.configure(|habits| habits.followers_page = 10);
        let (tenant, account) = (hub.create_tenant().await, hub.add_service_account(450));
        tenant.bind(&account).await;
        let import = tenant.await_import(&account.app_id).await;
        assert_eq!(import["followers_imported"], 450, "{import}");
    });
}
