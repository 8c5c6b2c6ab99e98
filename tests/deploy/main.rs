//! `template.yaml`, deployed: CloudFormation makes the stack with the release bootstraps in it, and the hub that comes
//! out binds an account, imports its followers, answers a push and sends a message.
//!
//! AWS is ministack here, an emulator in Python, which is no part of the project: without it the test says so and
//! passes. `OAHUB_MINISTACK` names the program where it is not on the PATH; `infra/validate/ministack.txt` what
//! to install. The bootstraps are those of `OAHUB_BOOTSTRAPS`, else those that are built as for a deployment (and have
//! to be there already, as `OAHUB_TEST_PROFILE=release cargo test -p oahub-tests --test runtime` leaves them):
//!
//!     OAHUB_MINISTACK=… cargo test -p oahub-tests --test deploy -- --nocapture
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod emulator;
mod stack;

use std::path::PathBuf;

use oahub_tests::{binary, hub::Hub, run, tenant::text, wait::until};
use serde_json::json;

use emulator::Emulator;

#[expect(clippy::disallowed_methods, reason = "how a person steers the test, not a setting of the hub")]
fn given(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// What the test needs and a machine may lack; or what is missing.
fn tools() -> Result<(PathBuf, PathBuf), String> {
    let on_path = || {
        let path = given("PATH").unwrap_or_default();
        std::env::split_paths(&path).map(|folder| folder.join("ministack")).find(|program| program.is_file())
    };
    let ministack = given("OAHUB_MINISTACK").map(PathBuf::from).or_else(on_path);
    let ministack = ministack.ok_or("ministack is not installed (OAHUB_MINISTACK names it)")?;
    let bootstraps = given("OAHUB_BOOTSTRAPS").map_or_else(binary::deployed_directory, PathBuf::from);
    if !bootstraps.join("bootstrap-message-callback").is_file() {
        return Err(format!(
            "no release bootstraps in {} (OAHUB_BOOTSTRAPS names them)",
            bootstraps.display()
        ));
    }
    Ok((ministack, bootstraps))
}

#[test]
fn the_stack_binds_imports_answers_and_sends() {
    let (ministack, bootstraps) = match tools() {
        Ok(tools) => tools,
        Err(missing) => {
            println!("skipped: {missing}");
            return;
        }
    };
    run(async {
        let emulator = Emulator::start(&ministack).await;
        let wechat = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let wechat_url = format!("http://{}", wechat.local_addr().unwrap());
        let url = stack::deploy(&emulator, &bootstraps, &wechat_url).await;
        let hub = Hub::deployed(wechat, url);
        hub.push_ticket().await;

        let tenant = hub.tenant().await;
        let account = hub.service_account(250);
        tenant.bind(&account).await;
        let import = tenant.imported(&account.app_id).await;
        assert_eq!(import["followers_imported"], 250, "{import}");

        let rules =
            json!({"keywords": [{"keyword": "menu", "match": "exact", "reply": text("flat white 28")}]});
        tenant.rules(&account.app_id, &rules).await;
        let fan = hub.follower(&account).openid;
        until("a reply by the rules", async || {
            let delivery = hub.say(&account, &fan, "menu").await;
            format!("{delivery:?}").contains("flat white 28").then_some(())
        })
        .await;

        let sent = tenant.send(&account.app_id, &json!({"to": fan, "content": text("see you")})).await;
        assert_eq!(sent["status"], "sent", "{sent}");
        let timeline = tenant.timeline(&account.app_id, &fan).await;
        let types: Vec<_> = timeline.iter().map(|event| event["type"].as_str().unwrap()).collect();
        assert!(types.contains(&"message_received") && types.contains(&"message_sent"), "{types:?}");
        stack::remove(&emulator).await;
    });
}
