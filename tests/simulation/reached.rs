//! The rare states of a history that are seen only at its end, in what is stored and in what WeChat counted.

use std::collections::BTreeSet;

use oahub_harness::{deployment::SimulatedDeployment, dynamo::text_of, rare_states::RareState};

use crate::{oracle::table, run::Run};

const REFRESH: &str = "/cgi-bin/component/api_authorizer_token";
const USED_UP: i64 = 45009;
/// WeChat's calls that send a message.
const SENDS: [&str; 2] = ["/cgi-bin/message/custom/send", "/cgi-bin/message/template/send"];

/// Records whether WeChat refused to refresh a token.
pub fn note_refused_refreshes(world: &SimulatedDeployment) {
    if !world.sim().calls(REFRESH).errors.is_empty() {
        world.backends.rare_states.reached(RareState::TokenRefreshRefused);
    }
}

/// Records what is seen at the end of a history.
pub fn note_all(run: &Run) {
    let reached = |state, is_reached: bool| {
        if is_reached {
            run.world.backends.rare_states.reached(state);
        }
    };
    note_refused_refreshes(&run.world);
    let quota = |path: &&str| run.world.sim().calls(path).errors.contains_key(&USED_UP);
    reached(RareState::QuotaOfMessages, SENDS.iter().any(quota));
    for item in table(run, "WorkTable").values() {
        let pk = text_of(item, "pk");
        if pk.starts_with("IMPORT#") {
            reached(RareState::ImportResumed, !item["resumed_by"].is_null());
            reached(RareState::ImportCut, text_of(item, "error").contains("start another import"));
        } else if pk.starts_with("MESSAGE#") {
            let retaken = item["claimed_at"].as_i64() > item["first_claimed_at"].as_i64();
            let sent = matches!(text_of(item, "status").as_str(), "sent" | "delivered");
            reached(RareState::MessageRetaken, sent && retaken && !item["first_claimed_at"].is_null());
            reached(RareState::MessageOutcomeUnknown, item["error"]["code"] == "outcome_unknown");
        }
    }
    let fans = table(run, "CustomersTable");
    reached(RareState::FollowerFoundGone, fans.values().any(|fan| fan["gone_import"].is_string()));
    let acknowledged = run.world.acknowledged.lock().unwrap();
    let mut seen = BTreeSet::new();
    for change in &run.subscription_changes {
        if acknowledged.iter().any(|push| push.must_be_stored && push.plaintext == change.plaintext) {
            seen.insert((change.account, &change.open_id, change.at, change.subscribed));
        }
    }
    let tied = seen
        .iter()
        .any(|(account, open_id, at, subscribed)| seen.contains(&(*account, *open_id, *at, !subscribed)));
    reached(RareState::FollowAndUnfollowInOneSecond, tied);
}
