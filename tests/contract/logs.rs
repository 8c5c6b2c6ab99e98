//! What the hub's log holds, and what it never does.

use oahub_tests::{
    hub::{self, Hub, VERIFICATION_TOKEN},
    run,
};
use serde_json::json;

/// The longest line, bytes. CloudWatch cuts at 256 KB, which a push may have by itself; nothing that the hub has to say needs
/// an eighth of it, so a longer line is a body that was logged whole.
const MAX_LINE_BYTES: usize = 32 * 1024;

/// Checks that no line has a whole body in it.
#[track_caller]
pub fn assert_lines_are_short(log: &str) {
    let longest = log.lines().max_by_key(|line| line.len()).unwrap_or_default();
    let beginning: String = longest.chars().take(300).collect();
    assert!(longest.len() <= MAX_LINE_BYTES, "a line of {} bytes: {beginning}…", longest.len());
}

/// A hub's log of a binding, a forged return from WeChat, a push, and a message before and after the account's token was
/// refused; and the tenant's key.
async fn log_of_a_day(hub: &Hub) -> (String, String) {
    let tenant = hub.create_tenant().await;
    let account = hub.add_service_account(1);
    tenant.bind(&account).await;
    let link = tenant.create_binding().await;
    let forged = format!("{}/bind/callback?binding={}&auth_code=queryauthcode@@@forged", hub.url, link.id);
    let _ = hub.open(&forged).await;
    let fan = hub.newest_follower(&account).openid;
    hub.say(&account, &fan, "hello").await;
    let message = json!({"to": fan, "content": oahub_tests::tenant::text_content("hi")});
    tenant.send_and_await(&account.app_id, &message).await;
    hub.wechat.invalidate_tokens(Some(&account.app_id));
    tenant.send_and_await(&account.app_id, &message).await;
    (hub.log(), tenant.api.key.clone().unwrap())
}

#[test]
fn logs_hold_no_secret() {
    run(async {
        for (level, hub) in [("usual", Hub::exclusive().await), ("trace", Hub::with_log("trace").await)] {
            let (log, key) = log_of_a_day(&hub).await;
            assert!(!log.is_empty(), "{level}");
            assert_eq!(log.contains("TRACE"), level == "trace", "the level is {level}");
            let made = [
                "ticket@@@",
                "preauthcode@@@",
                "queryauthcode@@@",
                "refreshtoken@@@",
                "component_access",
                "authorizer_",
            ];
            let set = [
                hub::COMPONENT_APP_SECRET,
                VERIFICATION_TOKEN,
                hub::VERIFICATION_TOKEN_PREVIOUS,
                hub::AES_KEY,
                hub::AES_KEY_PREVIOUS,
                hub::ADMIN_KEY,
                key.as_str(),
            ];
            for secret in set.into_iter().chain(made) {
                let line = log.lines().find(|line| line.contains(secret));
                assert_eq!(line, None, "{secret} is logged at the {level} level");
            }
            assert_lines_are_short(&log);
        }
    });
}
