//! Imports are exact: complete, resumable, and never override what a follower did since.

use std::{collections::BTreeSet, ffi::OsString, path::Path};

use oahub_tests::{
    hub::{self, Hub},
    push::now,
    run,
    tenant::Tenant,
    wait::{until, until_within},
};
use serde_json::{Value, json};
use std::time::Duration;
use wechat_simulator::{FaultKind, FollowerAction, InjectedFault, SimulatedAccount};

const USER_GET_PATH: &str = "/cgi-bin/user/get";
const USER_INFO_BATCH_PATH: &str = "/cgi-bin/user/info/batchget";
const USER_INFO_PATH: &str = "/cgi-bin/user/info";
/// After a crash, jobs in flight are received again only after their visibility timeout.
const REDELIVERY_TIMEOUT: Duration = Duration::from_secs(120);
/// What 25,000 followers may leave in the data folder, bytes: 4,000 for each, of which they take half.
const MAX_FOLDER_BYTES: u64 = 100_000_000;

/// The lengths of a folder's files.
fn file_lengths(folder: &Path) -> Vec<(OsString, u64)> {
    let files = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    files.map(|file| (file.file_name(), file.metadata().unwrap().len())).collect()
}

/// Compares the hub's fans with the account's followers.
async fn assert_same_followers(tenant: &Tenant<'_>, account: &SimulatedAccount) {
    let customers = tenant.api.list_all(&format!("/v1/customers?app_id={}", account.app_id)).await;
    let fans: Vec<&Value> =
        customers.iter().flat_map(|customer| customer["fans"].as_array().unwrap()).collect();
    assert!(
        fans.iter().all(|fan| fan["subscribed"] == true && fan["subscribed_at"].is_string()),
        "some do not follow"
    );
    let imported: BTreeSet<&str> = fans.iter().map(|fan| fan["open_id"].as_str().unwrap()).collect();
    assert_eq!(imported.len(), fans.len(), "somebody is there twice");
    let followers = tenant.hub.wechat.account(&account.app_id).unwrap().followers;
    let all = followers.page("", usize::MAX).unwrap();
    assert!(imported == all.iter().map(String::as_str).collect(), "{} of {}", imported.len(), all.len());
}

fn import_counts(import: &Value) -> [u64; 3] {
    ["followers_total", "followers_listed", "followers_imported"].map(|name| import[name].as_u64().unwrap())
}

fn account_fault(path: &str, account: &SimulatedAccount, kind: FaultKind, times: u32) -> InjectedFault {
    InjectedFault::once(path, kind).for_account(&account.app_id).times(times)
}

#[test]
fn twenty_five_thousand_followers_are_imported_exactly() {
    run(async {
        let mut hub = Hub::exclusive().await;
        let tenant = hub.create_tenant().await;
        let account = hub.add_service_account(25_000);
        let (_, binding) = tenant.try_bind(&account).await;
        assert_eq!(binding["status"], "bound");
        let import = until_within(REDELIVERY_TIMEOUT, "the import", async || {
            let import = tenant.newest_import(&account.app_id).await?;
            (import["status"] == "completed").then_some(import)
        })
        .await;
        assert_eq!(import_counts(&import), [25_000; 3]);
        assert!(import["finished_at"].is_string() && import["error"].is_null(), "{import}");
        assert_same_followers(&tenant, &account).await;
        // the database's log is as long as the import was busy, and cut at a stop
        assert!(hub.terminate().await.success(), "{}", hub.log());
        let files = file_lengths(&hub.data_folder());
        let bytes: u64 = files.iter().map(|(_, length)| length).sum();
        assert!(bytes < MAX_FOLDER_BYTES, "{bytes} bytes: {files:?}");
    });
}

#[test]
fn an_import_that_is_killed_goes_on_and_ends_exactly() {
    run(async {
        let mut hub = Hub::exclusive().await;
        hub.wechat.configure(|habits| habits.followers_page = 1000);
        let account = hub.add_service_account(6000);
        let (api, id) = {
            let tenant = hub.create_tenant().await;
            let (_, binding) = tenant.try_bind(&account).await;
            assert_eq!(binding["status"], "bound");
            (tenant.api.clone(), tenant.id.clone())
        };
        for enough in [300, 2500] {
            {
                let tenant = Tenant { hub: &hub, api: api.clone(), id: id.clone() };
                until("the middle of the import", async || {
                    let import = tenant.newest_import(&account.app_id).await?;
                    (import["followers_imported"].as_u64()? >= enough).then_some(())
                })
                .await;
            }
            hub.kill();
            hub.start_program().await;
        }
        let tenant = Tenant { hub: &hub, api, id };
        let import = until_within(REDELIVERY_TIMEOUT, "the rest", async || {
            let import = tenant.newest_import(&account.app_id).await?;
            assert_ne!(import["status"], "failed", "{import}");
            (import["status"] == "completed").then_some(import)
        })
        .await;
        assert_eq!(import_counts(&import), [6000; 3]);
        assert_same_followers(&tenant, &account).await;
        assert_eq!(tenant.api.list_all(&format!("/v1/accounts/{}/imports", account.app_id)).await.len(), 1);
    });
}

#[test]
fn a_used_up_quota_pauses_an_import_and_post_resumes_it() {
    run(async {
        let hub = Hub::exclusive().await;
        let tenant = hub.create_tenant().await;
        let account = hub.add_service_account(250);
        hub.wechat.inject_fault(account_fault(
            USER_INFO_BATCH_PATH,
            &account,
            FaultKind::Error { errcode: 45009 },
            u32::MAX,
        ));
        let _ = tenant.try_bind(&account).await;
        let paused = until("a pause", async || {
            let import = tenant.newest_import(&account.app_id).await?;
            (import["status"] == "paused").then_some(import)
        })
        .await;
        assert!(paused["paused_until"].is_string() && paused["error"].is_string(), "{paused}");
        hub.wechat.clear_faults();
        let path = format!("/v1/accounts/{}/imports", account.app_id);
        let resumed = tenant.api.post(&path, &json!({})).await.expect(202);
        assert_eq!(resumed["id"], paused["id"]);
        let import = tenant.await_import(&account.app_id).await;
        assert_eq!((&import["id"], import_counts(&import)), (&paused["id"], [250; 3]));
        assert!(import["paused_until"].is_null() && import["error"].is_null(), "{import}");
        assert_same_followers(&tenant, &account).await;
    });
}

#[test]
fn one_import_runs_at_a_time() {
    run(async {
        let hub = hub::shared().await;
        let tenant = hub.create_tenant().await;
        let account = hub.add_service_account(10);
        hub.wechat.inject_fault(account_fault(USER_GET_PATH, &account, FaultKind::Delay { ms: 1500 }, 1));
        let _ = tenant.try_bind(&account).await;
        let path = format!("/v1/accounts/{}/imports", account.app_id);
        tenant.api.post(&path, &json!({})).await.expect_problem(409, "import_running");
        let first = tenant.await_import(&account.app_id).await;
        let second = tenant.api.post(&path, &json!({})).await.expect(202);
        assert_ne!(first["id"], second["id"]);
        assert_eq!(import_counts(&tenant.await_import(&account.app_id).await), [10; 3]);
        let one = tenant.api.get(&format!("{path}/{}", first["id"].as_str().unwrap())).await.expect(200);
        assert_eq!(one["status"], "completed");
        assert_same_followers(&tenant, &account).await;
    });
}

#[test]
fn the_next_import_may_begin_as_soon_as_one_has_ended() {
    run(async {
        let hub = hub::shared().await;
        let tenant = hub.create_tenant().await;
        let account = hub.add_service_account(1);
        tenant.bind(&account).await;
        for _ in 0..10 {
            let path = format!("/v1/accounts/{}/imports", account.app_id);
            let _ = tenant.api.post(&path, &json!({})).await.expect(202);
            tenant.await_import(&account.app_id).await;
        }
    });
}

#[test]
fn who_leaves_during_an_import_stays_gone() {
    run(async {
        let hub = hub::shared().await;
        let tenant = hub.create_tenant().await;
        let account = hub.add_service_account(20);
        let open_id = hub.newest_follower(&account).openid;
        hub.wechat.inject_fault(account_fault(
            USER_INFO_BATCH_PATH,
            &account,
            FaultKind::Delay { ms: 1500 },
            1,
        ));
        let _ = tenant.try_bind(&account).await;
        until("the list", async || {
            let import = tenant.newest_import(&account.app_id).await?;
            (import["followers_listed"] == 20).then_some(())
        })
        .await;
        hub.act(&account, &open_id, FollowerAction::Unfollow).await;
        let import = tenant.await_import(&account.app_id).await;
        assert_eq!(import["followers_imported"], 20, "whom WeChat listed counts: {import}");
        let customer = tenant.customer(&account.app_id, &open_id).await.unwrap();
        assert_eq!(customer["fans"][0]["subscribed"], false);
        assert_eq!(tenant.api.list_all("/v1/customers?subscribed=true").await.len(), 19);
    });
}

#[test]
fn the_next_import_notices_who_left_and_who_came_while_nobody_listened() {
    run(async {
        let hub = hub::shared().await;
        let tenant = hub.create_tenant().await;
        let account = hub.add_service_account(8);
        tenant.bind(&account).await;
        // the hub stores seconds: two events within one second have no order
        let bound = now();
        until("the next second", async || (now() > bound).then_some(())).await;
        let gone = hub.newest_follower(&account).openid;
        let come = hub.wechat.add_follower(&account.app_id, None, None, None).unwrap().openid;
        hub.wechat
            .change_account(&account.app_id, |account| {
                account.followers.update(&gone, |follower| follower.subscribed = false);
                account.followers.update(&come, |follower| follower.subscribed = true);
            })
            .unwrap();
        let started = tenant
            .api
            .post(&format!("/v1/accounts/{}/imports", account.app_id), &json!({}))
            .await
            .expect(202);
        let import = until("the second import", async || {
            let import = tenant.newest_import(&account.app_id).await?;
            (import["id"] == started["id"] && import["status"] == "completed").then_some(import)
        })
        .await;
        assert_eq!(import_counts(&import), [8; 3]);
        let fan =
            async |open_id: &str| tenant.customer(&account.app_id, open_id).await.unwrap()["fans"][0].clone();
        assert_eq!(fan(&gone).await["subscribed"], false);
        assert!(fan(&gone).await["unsubscribed_at"].is_string());
        assert_eq!(fan(&come).await["subscribed"], true);
        assert_eq!(tenant.api.list_all("/v1/customers").await.len(), 9, "nobody is deleted");
    });
}

#[test]
fn what_wechat_answers_wrongly_neither_ends_nor_falsifies_an_import() {
    run(async {
        let hub = hub::shared().await;
        let tenant = hub.create_tenant().await;
        for (what, path, kind) in [
            ("busy", USER_GET_PATH, FaultKind::Error { errcode: -1 }),
            ("an answer that is lost", USER_GET_PATH, FaultKind::LostResponse),
            ("a gateway's page", USER_INFO_BATCH_PATH, FaultKind::Http { status: 502 }),
            ("half an answer", USER_INFO_BATCH_PATH, FaultKind::Garbage),
            ("a count that is wrong", USER_GET_PATH, FaultKind::CountMismatch),
        ] {
            let account = hub.add_service_account(120);
            hub.wechat.inject_fault(account_fault(path, &account, kind, 1));
            tenant.bind(&account).await;
            assert_eq!(
                import_counts(&tenant.newest_import(&account.app_id).await.unwrap())[1..],
                [120; 2],
                "{what}"
            );
            assert_same_followers(&tenant, &account).await;
        }
    });
}

/// WeChat does not escape user texts: one follower's invalid JSON would spoil a batch of a hundred.
#[test]
fn one_followers_details_that_are_no_json_do_not_stop_an_import() {
    run(async {
        let hub = hub::shared().await;
        let tenant = hub.create_tenant().await;
        for (what, typed) in [
            ("a quotation mark", r#"a"b"#),
            ("a backslash at the end", "a\\"),
            ("half a pair of surrogates", r"\ud83d"),
            ("an escaped apostrophe", r"it\'s"),
        ] {
            let account = hub.add_service_account(101);
            let spoiled = hub.newest_follower(&account).openid;
            hub.wechat
                .change_account(&account.app_id, |a| {
                    a.followers.update(&spoiled, |f| f.unescaped = typed.into())
                })
                .unwrap();
            tenant.bind(&account).await;
            assert_eq!(
                import_counts(&tenant.newest_import(&account.app_id).await.unwrap()),
                [101; 3],
                "{what}"
            );
            let customers = tenant.api.list_all(&format!("/v1/customers?app_id={}", account.app_id)).await;
            assert_eq!(customers.len(), 101, "{what}");
            for fan in customers.iter().map(|customer| &customer["fans"][0]) {
                assert_eq!(fan["subscribed"], true, "{what}: {fan}");
                // as listed: that they follow, and nothing else
                assert_eq!(
                    fan["subscribed_at"].is_null(),
                    fan["open_id"] == spoiled.as_str(),
                    "{what}: {fan}"
                );
            }
        }
        let account = hub.add_service_account(101);
        for path in [USER_GET_PATH, USER_INFO_BATCH_PATH, USER_INFO_PATH] {
            hub.wechat.inject_fault(account_fault(path, &account, FaultKind::ByteOrderMark, u32::MAX));
        }
        tenant.bind(&account).await;
        assert_same_followers(&tenant, &account).await;
    });
}

#[test]
fn a_fan_shows_the_scene_of_the_last_follow_as_user_info_has_it() {
    run(async {
        let hub = hub::shared().await;
        let tenant = hub.create_tenant().await;
        let account = hub.add_service_account(1);
        tenant.bind(&account).await;
        let open_id = hub.wechat.add_follower(&account.app_id, None, None, None).unwrap().openid;
        for (what, scene, shown) in [
            ("a number", Some("12"), json!([12, null])),
            ("then a text", Some("shelf7"), json!([null, "shelf7"])),
            ("then a number", Some("12"), json!([12, null])),
            ("then a search", None, json!([null, null])),
            ("digits after zeros", Some("00123"), json!([null, "00123"])),
            ("a telephone number", Some("+8613800000000"), json!([null, "+8613800000000"])),
            ("a negative number", Some("-5"), json!([null, "-5"])),
        ] {
            hub.act(&account, &open_id, FollowerAction::Follow { scene: scene.map(str::to_owned) }).await;
            let fan = until(format!("user/info after {what}"), async || {
                let fan = tenant.customer(&account.app_id, &open_id).await?["fans"][0].clone();
                fan["subscribe_scene"].is_string().then_some(fan)
            })
            .await;
            assert_eq!(json!([fan["qr_scene"], fan["qr_scene_str"]]), shown, "{what}");
            hub.act(&account, &open_id, FollowerAction::Unfollow).await;
            // the hub keeps time in seconds
            let left = now();
            until("the next second", async || (now() > left).then_some(())).await;
        }
    });
}
