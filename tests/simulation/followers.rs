//! What the hub knows of an account's followers: who follows, and their details.

use std::collections::BTreeSet;

use oahub_harness::{dynamo::text_of, records::AcknowledgedPush};
use serde_json::Value;
use wechat_simulator::xml::first_value;

use crate::{
    oracle::{Items, Timeline, fan_key, table},
    run::{Run, SubscriptionChange},
};

/// Someone who followed this shortly before an import may be missing from its list.
const LIST_LAG_SECONDS: i64 = 600;

fn acknowledged(landed: &[AcknowledgedPush], status: &SubscriptionChange) -> bool {
    landed.iter().any(|p| p.must_be_stored && p.plaintext == status.plaintext)
}

fn subscription_changes_of<'r>(run: &'r Run, account: usize, open_id: &str) -> Vec<&'r SubscriptionChange> {
    run.subscription_changes.iter().filter(|s| s.account == account && s.open_id == open_id).collect()
}

/// Whether a user follows, according to WeChat.
fn follows_in_wechat(run: &Run, account: usize, open_id: &str) -> bool {
    let account = run.world.sim().account(&run.apps[account]).unwrap();
    account.followers.get(open_id).is_some_and(|follower| follower.subscribed)
}

/// 1 The newest push decides. Within one second every push counts, and the last to arrive decides: one that
/// first arrived after another was answered is later. A later import may have corrected it.
pub fn follow_as_the_last_push_said(
    run: &Run,
    timeline: &Timeline,
    landed: &[AcknowledgedPush],
    account: usize,
    open_id: &str,
) {
    let theirs = subscription_changes_of(run, account, open_id);
    let Some(newest) = theirs.iter().map(|s| s.at).max() else { return };
    let tied = || theirs.iter().filter(|s| s.at == newest);
    let known: Vec<_> = tied().filter(|s| acknowledged(landed, s)).collect();
    if known.is_empty() {
        return;
    }
    let fan = &table(run, "CustomersTable")[&(fan_key(run, account, open_id), "FAN".into())];
    let status_at = fan["status_at"].as_i64().unwrap();
    assert!(status_at >= newest, "promise 1: {open_id} at {newest}: {fan}");
    let counted = |s: &SubscriptionChange| {
        let event = timeline.event(&fan_key(run, account, open_id), &s.plaintext).unwrap();
        fan["status_ids"].as_array().unwrap().contains(&event["sk"])
    };
    if status_at == newest {
        let lost: Vec<_> = known.iter().filter(|s| !counted(s)).collect();
        assert!(lost.is_empty(), "promise 1: {lost:?} of one second are lost: {fan}");
    }
    let arrivals = run.world.arrivals.lock().unwrap();
    let later = |than: &SubscriptionChange| {
        let answered = arrivals[&than.plaintext].answered_at_ms;
        known.iter().any(|s| answered.is_some_and(|at| arrivals[&s.plaintext].arrived_at_ms > at))
    };
    let may_stand = tied().filter(|s| !acknowledged(landed, s) || !later(s)).map(|s| s.subscribed);
    let may: BTreeSet<bool> = may_stand.chain([follows_in_wechat(run, account, open_id)]).collect();
    let subscribed = fan["subscribed"] == true;
    assert!(may.contains(&subscribed), "promise 1: {open_id} at {newest}, of {known:?}: {fan}");
}

/// 1 A fan whose follow was acknowledged has the details that WeChat returns.
pub fn have_the_details_that_wechat_tells(
    run: &Run,
    landed: &[AcknowledgedPush],
    fans: &Items,
    account: usize,
) {
    let app = &run.apps[account];
    let withdrawn_at =
        run.world.withdrawals.lock().unwrap().iter().filter(|(a, _)| a == app).map(|w| w.1).max();
    for open_id in &run.fans[account] {
        let theirs = subscription_changes_of(run, account, open_id);
        let Some(last) = theirs.iter().max_by_key(|s| s.at) else { continue };
        let tied = theirs.iter().filter(|s| s.at == last.at).count() > 1;
        let follower = run.world.sim().account(app).unwrap().followers.get(open_id).unwrap();
        let must_have_details = last.subscribed
            && !tied // an unfollow in the same second may have removed the details
            && acknowledged(landed, last)
            && run.world.bound_since(app, last.at)
            && withdrawn_at.is_none_or(|at| at < last.at)
            && follower.unescaped.is_empty(); // a response with it may not be valid JSON
        if must_have_details {
            let fan = &fans[&(fan_key(run, account, open_id), "FAN".into())];
            assert_eq!(fan["subscribe_scene"], follower.subscribe_scene.as_str(), "promise 1: {fan}");
            assert_eq!(fan["union_id"].as_str(), follower.unionid.as_deref(), "promise 1: {fan}");
        }
    }
}

/// 1 WeChat's delivery report of a template message is stored on it.
pub fn delivery_reports_are_stored(landed: &[AcknowledgedPush], work: &Items) {
    for push in landed.iter().filter(|p| p.must_be_stored && p.plaintext.contains("TEMPLATESENDJOBFINISH")) {
        let id = first_value(&push.plaintext, "MsgID").unwrap();
        let about = (format!("WECHAT#{}#{id}", push.app_id), "MESSAGE".to_owned());
        let Some(known) = work.get(&about) else { continue }; // WeChat's response was lost, and the message id with it
        let message = &work[&(format!("MESSAGE#{}", text_of(known, "message_id")), "MESSAGE".into())];
        let heard = matches!(message["status"].as_str(), Some("delivered" | "failed"));
        assert!(heard, "promise 1: a report of {id} is lost: {message}");
    }
}

/// 5 A fan that an import found missing has an unsubscribed event.
pub fn removed_by_import_has_an_event(run: &Run) {
    let timeline = table(run, "TimelineTable");
    for ((pk, _), fan) in table(run, "CustomersTable") {
        let Some(import) = fan["gone_import"].as_str() else { continue };
        let event = timeline.get(&(pk, format!("R{import}")));
        assert!(
            event.is_some_and(|e| e["type"] == "unsubscribed"),
            "promise 5: gone without an event: {fan}"
        );
    }
}

/// 5 An import fails only for a reason: if it says that its tenant lost the account, that was so. The account may
/// have been lost before the import began: the hub learns of a withdrawal when WeChat's event comes or a token is refused.
pub fn failed_for_a_reason(run: &Run, import: &Value) {
    let (why, app) = (text_of(import, "error"), text_of(import, "app_id"));
    let time = |member: &str| import[member].as_i64().unwrap();
    let (began, ended) = (time("started_at"), time("finished_at"));
    let gone = ["not authorized any more", "was deleted", "account_not_bound", "was bound anew", "61003"];
    let cut = "start another import";
    if gone.iter().any(|reason| why.contains(reason)) {
        let renewals = run.world.backends.renewals();
        let renewed = |withdrawn_at: i64| {
            renewals.iter().any(|r| r.app_id == app && r.authorized_at > withdrawn_at && r.at <= began)
        };
        let withdrawals = run.world.withdrawals.lock().unwrap();
        let withdrawn = withdrawals.iter().any(|(a, at)| *a == app && *at <= ended && !renewed(*at));
        let changes = run.world.backends.binding_changes();
        let changed = changes.iter().any(|c| c.app_id == app && c.at >= began);
        assert!(withdrawn || changed, "promise 5: failed without its reason: {import}");
    } else {
        assert!(why.contains(cut), "promise 5: failed for what reason? {import}");
    }
}

/// 5 After an import that began after the binding, the hub knows who follows, for all users whose pushes
/// since shortly before were acknowledged.
pub fn are_known_after_the_bindings_import(run: &Run, landed: &[AcknowledgedPush], account: usize) {
    let app = &run.apps[account];
    if !run.world.is_bound(app) {
        return;
    }
    let work = table(run, "WorkTable");
    let changes = run.world.backends.binding_changes();
    let bound_at = changes.iter().filter(|c| c.app_id == *app).map(|c| c.at).max();
    let imports = work
        .values()
        .filter(|i| text_of(i, "pk") == format!("IMPORT#{app}") && text_of(i, "sk") != "RUNNING");
    let Some(newest) = imports.max_by_key(|i| text_of(i, "id")) else { return };
    let began = newest["started_at"].as_i64().unwrap();
    if newest["status"] != "completed" || bound_at.is_none_or(|at| began < at) {
        return;
    }
    let known = table(run, "CustomersTable");
    let sim = run.world.sim().account(app).unwrap();
    let mut everybody: BTreeSet<String> = sim.followers.page("", 10_000).unwrap().into_iter().collect();
    everybody.extend(run.fans[account].iter().cloned());
    for open_id in everybody {
        let theirs = subscription_changes_of(run, account, &open_id);
        let unacknowledged =
            |s: &&&SubscriptionChange| s.at >= began - LIST_LAG_SECONDS && !acknowledged(landed, s);
        let seconds: BTreeSet<i64> = theirs.iter().map(|s| s.at).collect();
        if theirs.iter().filter(unacknowledged).count() > 0 || seconds.len() < theirs.len() {
            continue;
        }
        let fan = known.get(&(fan_key(run, account, &open_id), "FAN".into()));
        let follows = fan.is_some_and(|fan| fan["subscribed"] == true);
        let truth = follows_in_wechat(run, account, &open_id);
        assert_eq!(follows, truth, "promise 5: {open_id} of {app} after {newest}: {fan:?}, {theirs:?}");
    }
}
