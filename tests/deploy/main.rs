//! Deploys `template.yaml`: CloudFormation creates the stack with the release bootstraps; the deployed hub
//! binds an account, imports its followers, answers a push and sends a message.
//!
//! AWS is ministack here, an emulator in Python, not part of the project: if `OAHUB_MINISTACK` does not name
//! it, the test says so and passes. The bootstraps come from the folder `OAHUB_BOOTSTRAPS`, or are built as
//! for a deployment, which takes minutes, if missing or stale. In the repository's root:
//!
//!     python3 -m venv target/ministack
//!     target/ministack/bin/pip install --require-hashes --requirement infra/validate/ministack.txt
//!     OAHUB_MINISTACK=$PWD/target/ministack/bin/ministack cargo test -p oahub-tests --test deploy -- --nocapture
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod emulator;
mod stack;

use std::path::PathBuf;

use oahub_tests::{binary, hub::Hub, run, tenant::text_content, wait::until};
use serde_json::json;

use emulator::Emulator;

#[expect(clippy::disallowed_methods, reason = "how a person steers the test, not a setting of the hub")]
fn from_environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The emulator and the folder of the bootstraps; [`None`] if the emulator is not configured.
fn tools() -> Option<(PathBuf, PathBuf)> {
    let ministack = PathBuf::from(from_environment("OAHUB_MINISTACK")?);
    assert!(
        ministack.is_absolute() && ministack.is_file(),
        "OAHUB_MINISTACK is {}; it must be the whole path of the program",
        ministack.display()
    );
    let bootstraps = from_environment("OAHUB_BOOTSTRAPS")
        .map_or_else(|| binary::release_functions().to_owned(), PathBuf::from);
    Some((ministack, bootstraps))
}

#[test]
fn the_stack_binds_imports_answers_and_sends() {
    let Some((ministack, bootstraps)) = tools() else {
        println!("skipped: OAHUB_MINISTACK names no emulator (tests/deploy/main.rs says how to install one)");
        return;
    };
    run(async {
        let emulator = Emulator::start(&ministack).await;
        let wechat = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let wechat_url = format!("http://{}", wechat.local_addr().unwrap());
        let url = stack::deploy(&emulator, &bootstraps, &wechat_url).await;
        let hub = Hub::of_deployment(wechat, url);
        hub.push_ticket().await;

        let tenant = hub.create_tenant().await;
        let account = hub.add_service_account(250);
        tenant.bind(&account).await;
        let import = tenant.await_import(&account.app_id).await;
        assert_eq!(import["followers_imported"], 250, "{import}");

        let rules = json!({"keywords": [{"keyword": "menu", "match": "exact", "reply": text_content("flat white 28")}]});
        tenant.set_reply_rules(&account.app_id, &rules).await;
        let fan = hub.newest_follower(&account).openid;
        until("a reply by the rules", async || {
            let delivery = hub.say(&account, &fan, "menu").await;
            format!("{delivery:?}").contains("flat white 28").then_some(())
        })
        .await;

        let sent = tenant
            .send_and_await(&account.app_id, &json!({"to": fan, "content": text_content("see you")}))
            .await;
        assert_eq!(sent["status"], "sent", "{sent}");
        let timeline = tenant.timeline(&account.app_id, &fan).await;
        let types: Vec<_> = timeline.iter().map(|event| event["type"].as_str().unwrap()).collect();
        assert!(types.contains(&"message_received") && types.contains(&"message_sent"), "{types:?}");
        stack::remove(&emulator).await;
    });
}
