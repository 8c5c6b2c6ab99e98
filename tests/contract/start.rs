//! How the program starts and stops.

use oahub_tests::{
    hub::{Hub, settings},
    process::{Process, TempDirectory},
    run,
    wait::until,
};
use serde_json::json;

const UNREACHABLE_URL: &str = "http://127.0.0.1:9";

#[test]
fn it_says_where_it_listens_once_it_answers() {
    run(async {
        let directory = TempDirectory::new();
        let data = directory.path().join("data").display().to_string();
        let settings = settings(UNREACHABLE_URL, "https://hub.example");
        let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let arguments = ["--listen", "127.0.0.1:0", "--wechat", "live", "--data", &data];
        let mut process = Process::spawn(&arguments, &settings, &directory.path().join("log"));
        let line = process.next_line().await.unwrap();
        let url = line.strip_prefix("oahub ready on ").unwrap().to_owned();
        let health = get_json(&url, "/healthz").await;
        assert_eq!(health, json!({"status": "ok"}));
        assert!(process.terminate().await.success());
    });
}

async fn get_json(url: &str, path: &str) -> serde_json::Value {
    oahub_tests::api::ApiClient { url: url.to_owned(), key: None }.get(path).await.expect(200)
}

#[test]
fn a_setting_that_is_missing_or_malformed_is_named_without_its_value() {
    run(async {
        for (name, value) in [
            ("OAHUB_COMPONENT_APP_ID", None),
            ("OAHUB_COMPONENT_APP_ID", Some("gh_3c884a361561")),
            ("OAHUB_COMPONENT_APP_SECRET", None),
            ("OAHUB_COMPONENT_TOKEN", Some("tw")),
            ("OAHUB_COMPONENT_AES_KEY", None),
            ("OAHUB_COMPONENT_AES_KEY", Some("tooshortforakey")),
            ("OAHUB_COMPONENT_AES_KEY_PREVIOUS", Some("alsotooshort")),
            ("OAHUB_WECHAT_API_URL", Some("no-scheme.example")),
            ("OAHUB_PUBLIC_URL", None),
            ("OAHUB_PUBLIC_URL", Some("hub.example")),
            ("OAHUB_PUBLIC_URL", Some("http://hub.example")),
            ("OAHUB_PUBLIC_URL", Some("https://hub.example/x?y=1")),
            ("OAHUB_COMPONENT_TOKEN_PREVIOUS", Some("tw")),
            ("OAHUB_ADMIN_KEY", None),
            ("OAHUB_ADMIN_KEY", Some("simulated-admin-key")),
            ("OAHUB_ADMIN_KEY_PREVIOUS", Some("a-short-key")),
            ("OAHUB_REJECT_STALE_CALLBACKS", Some("perhaps")),
        ] {
            let directory = TempDirectory::new();
            let data = directory.path().join("data").display().to_string();
            let log = directory.path().join("log");
            let mut given = settings(UNREACHABLE_URL, "https://hub.example");
            given.retain(|(other, _)| *other != name);
            given.extend(value.map(|value| (name, value.to_owned())));
            let given: Vec<_> = given.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let arguments = ["--listen", "127.0.0.1:0", "--wechat", "live", "--data", &data];
            let mut process = Process::spawn(&arguments, &given, &log);
            assert_eq!(process.next_line().await, None, "{name} {value:?}: it started");
            let code = process.wait_for_exit().await.code();
            let said = std::fs::read_to_string(&log).unwrap();
            assert!(code.is_some_and(|code| code != 0), "{name} {value:?}: {code:?}");
            assert_eq!(
                said.lines().filter(|line| line.contains(name)).count(),
                1,
                "{name} {value:?}: {said}"
            );
            assert!(said.contains("must be"), "{name} {value:?}: it does not say what is right: {said}");
            let printed = value.is_some_and(|value| said.contains(value));
            assert!(!printed, "{name}: the value is printed: {said}");
        }
    });
}

#[test]
fn all_settings_that_are_missing_are_named_at_once() {
    run(async {
        let directory = TempDirectory::new();
        let data = directory.path().join("data").display().to_string();
        let log = directory.path().join("log");
        let arguments = ["--listen", "127.0.0.1:0", "--wechat", "live", "--data", &data];
        let mut process = Process::spawn(&arguments, &[], &log);
        assert_eq!(process.next_line().await, None, "it started without settings");
        assert!(process.wait_for_exit().await.code().is_some_and(|code| code != 0));
        let said = std::fs::read_to_string(&log).unwrap();
        for name in [
            "COMPONENT_APP_ID",
            "COMPONENT_APP_SECRET",
            "COMPONENT_TOKEN",
            "COMPONENT_AES_KEY",
            "PUBLIC_URL",
            "ADMIN_KEY",
        ] {
            let lines =
                said.lines().filter(|line| line.contains(&format!("OAHUB_{name} is missing: it must be ")));
            assert_eq!(lines.count(), 1, "{name}: {said}");
        }
        assert_eq!(said.matches("is missing").count(), 6, "{said}");
    });
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    run(async {
        let mut hub = Hub::exclusive().await;
        let account = hub.add_service_account(3);
        let (key, open_id) = {
            let tenant = hub.create_tenant().await;
            tenant.bind(&account).await;
            let open_id = hub.newest_follower(&account).openid;
            hub.say(&account, &open_id, "the last words").await;
            (tenant.api.clone(), open_id)
        };
        hub.kill();
        hub.start_program().await;
        let listed = key.get("/v1/accounts").await.expect(200);
        assert_eq!(listed["data"][0]["app_id"], account.app_id.as_str());
        let found =
            key.get(&format!("/v1/customers?app_id={}&open_id={open_id}", account.app_id)).await.expect(200);
        let id = found["data"][0]["id"].as_str().unwrap().to_owned();
        let events = key.get(&format!("/v1/customers/{id}/timeline?type=message_received")).await.expect(200);
        assert_eq!(events["data"][0]["detail"]["Content"], "the last words");
        assert_eq!(hub.terminate().await.code(), Some(0));
        hub.start_program().await;
        assert_eq!(key.get("/v1/accounts").await.expect(200)["data"].as_array().unwrap().len(), 1);
    });
}

#[test]
fn sigterm_lets_what_is_in_flight_end() {
    run(async {
        let mut hub = Hub::exclusive().await;
        let account = hub.add_service_account(1);
        let open_id = hub.newest_follower(&account).openid;
        let (id, api) = {
            let tenant = hub.create_tenant().await;
            tenant.bind(&account).await;
            hub.say(&account, &open_id, "hello").await;
            hub.wechat.configure(|habits| habits.latency_ms = 1500);
            let message = json!({"to": open_id, "content": oahub_tests::tenant::text_content("on its way")});
            let path = format!("/v1/accounts/{}/messages", account.app_id);
            let sent = tenant.api.post(&path, &message).await.expect(202);
            let id = sent["id"].as_str().unwrap().to_owned();
            until("the worker has it", async || {
                let message = tenant.api.get(&format!("/v1/messages/{id}")).await.expect(200);
                (message["status"] == "sending").then_some(())
            })
            .await;
            (id, tenant.api.clone())
        };
        assert_eq!(hub.terminate().await.code(), Some(0));
        assert_eq!(hub.wechat.received(&account.app_id, &open_id).len(), 1, "{}", hub.log());
        hub.start_program().await;
        assert_eq!(api.get(&format!("/v1/messages/{id}")).await.expect(200)["status"], "sent");
    });
}
