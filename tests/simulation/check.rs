//! The design's promises, as far as a history can break them. Each check names what it found.

use std::collections::{BTreeMap, BTreeSet};

use oahub_harness::{
    backends::START_TIME,
    deployment::SimulatedDeployment,
    dynamo::text_of,
    faults::{Fault, FaultRates},
    rare_states::RareState,
    records::AcknowledgedPush,
};
use serde_json::Value;

use crate::{
    followers,
    oracle::{self, Items, Timeline, fan_key, table},
    run::{Run, tenant_of},
};

/// Faults that keep a push from opening a window at the hub, or at WeChat.
const PUSH_FAULTS: [Fault; 4] = [Fault::PushLost, Fault::PushUnanswered, Fault::PushTwice, Fault::PushLate];

/// 1 Acknowledged means stored: the event, what it changes on the fan, and the jobs that follow.
pub fn acknowledged_is_stored(run: &Run) {
    let (timeline, fans, work) = (Timeline::of(run), table(run, "CustomersTable"), table(run, "WorkTable"));
    let landed = run.world.acknowledged.lock().unwrap().clone();
    for push in landed.iter().filter(|p| p.must_be_stored) {
        let account = run.apps.iter().position(|a| *a == push.app_id).unwrap();
        let of_account = oracle::is_about_account(&push.plaintext);
        let pk = match of_account {
            true => format!("ACCOUNT#{}#{}", run.tenants[tenant_of(account)], push.app_id),
            false => fan_key(run, account, &push.open_id),
        };
        let event = timeline.event(&pk, &push.plaintext);
        assert!(event.is_some(), "promise 1: an acknowledged push is lost: {push:?}");
        let fan = (fan_key(run, account, &push.open_id), "FAN".into());
        assert_eq!(fans.contains_key(&fan), !of_account, "promise 1: whose is {push:?}");
    }
    for typed in &run.typed_texts {
        let Some(push) = landed.iter().find(|p| p.must_be_stored && p.plaintext == typed.plaintext) else {
            continue;
        };
        let event = timeline.event(&fan_key(run, typed.account, &push.open_id), &push.plaintext).unwrap();
        let detail: Value = serde_json::from_str(event["detail"].as_str().unwrap()).unwrap();
        assert_eq!(detail["Content"], typed.text, "promise 1: another text than was typed: {event}");
        assert_eq!(event["type"], "message_received", "promise 1: a text is something else: {event}");
    }
    for account in 0..run.apps.len() {
        for open_id in &run.fans[account] {
            rules_sent_their_messages(run, &timeline, &landed, &work, (account, open_id));
        }
    }
    followers::delivery_reports_are_stored(&landed, &work);
    for account in 0..run.apps.len() {
        for open_id in &run.fans[account] {
            followers::follow_as_the_last_push_said(run, &timeline, &landed, account, open_id);
        }
        followers::have_the_details_that_wechat_tells(run, &landed, &fans, account);
    }
}

/// 1 Each acknowledged push whose rule sends a message has one, and it ended. 2 No push has two.
fn rules_sent_their_messages(
    run: &Run,
    timeline: &Timeline,
    landed: &[AcknowledgedPush],
    work: &Items,
    (account, open_id): (usize, &String),
) {
    let (app, pk) = (&run.apps[account], fan_key(run, account, open_id));
    let theirs = landed.iter().filter(|p| p.must_be_stored && p.app_id == *app && p.open_id == *open_id);
    let distinct: BTreeSet<&str> = theirs.map(|push| push.plaintext.as_str()).collect();
    let sends = |event: &Value| event["sends"].is_string();
    let must = distinct.iter().filter(|push| timeline.event(&pk, push).is_some_and(sends)).count();
    let may = timeline.events(&pk).filter(|event| sends(event)).count();
    let of_rules: Vec<_> = work
        .values()
        .filter(|m| text_of(m, "pk").starts_with("MESSAGE#") && m["app_id"] == **app && m["to"] == **open_id)
        .filter(|m| text_of(m, "content").contains("miniprogrampage"))
        .collect();
    let sent = of_rules.len();
    assert!(must <= sent, "promise 1: a rule's message is lost: {sent} for {must} pushes of {open_id}");
    assert!(sent <= may, "promise 2: {sent} messages of rules for {may} events of {open_id}");
    let received = run.world.sim().received(app, open_id);
    let shown = received.iter().filter(|line| line.text.starts_with("[mini program more")).count();
    assert!(shown <= may, "promise 2: {shown} messages of rules came for {may} events of {open_id}");
    if let Some(message) = of_rules.iter().find(|message| !has_ended(message)) {
        panic!("promise 1: a rule's message never ended: {message}");
    }
    if sent > 0 {
        run.world.backends.rare_states.reached(RareState::RuleSentMessage);
    }
}

fn has_ended(message: &Value) -> bool {
    matches!(message["status"].as_str(), Some("sent" | "delivered" | "failed"))
}

/// 2 Exactly once: the same reply to the same push, and no message twice.
pub fn no_duplicates(run: &Run) {
    let mut answers: BTreeMap<(String, String, String), Option<String>> = BTreeMap::new();
    for push in run.world.acknowledged.lock().unwrap().iter().filter(|p| p.must_be_stored) {
        let key = (push.app_id.clone(), push.open_id.clone(), push.plaintext.clone());
        let first = answers.entry(key).or_insert_with(|| push.reply.clone());
        assert_eq!(*first, push.reply, "promise 2: another answer to the same push {}", push.plaintext);
    }
    let work = table(run, "WorkTable");
    let messages: Vec<&Value> = work.values().filter(|m| text_of(m, "pk").starts_with("MESSAGE#")).collect();
    for sent in &run.sent {
        let received = run.world.sim().received(&run.apps[sent.account], &sent.open_id);
        let shown = received.iter().filter(|line| line.text.contains(&sent.text)).count();
        let most = if sent.keyed { 1 } else { sent.times };
        assert!(shown <= most, "promise 2: {} was received {shown} times: {sent:?}", sent.text);
        let about = |m: &&&Value| {
            m["content"].to_string().contains(&sent.text) || m["template"].to_string().contains(&sent.text)
        };
        let theirs: Vec<_> = messages.iter().filter(about).collect();
        let of = |status: &[&str]| {
            theirs.iter().filter(|m| status.contains(&text_of(m, "status").as_str())).count()
        };
        let sure = of(&["sent", "delivered"]);
        let unknown = theirs.iter().filter(|m| m["error"]["code"] == "outcome_unknown").count();
        assert!(sure <= shown && shown <= sure + unknown, "promise 2: {shown} received, {theirs:?}");
        for id in &sent.accepted {
            let message = theirs.iter().find(|m| text_of(m, "pk") == format!("MESSAGE#{id}"));
            assert!(message.is_some_and(|m| has_ended(m)), "promise 1: {id} never ended: {message:?}");
        }
    }
}

/// 3 The budget of a callback, 4 never two refreshes of one token: violations recorded during the run.
pub fn nothing_forbidden(run: &Run) {
    let complaints = run.world.violations.lock().unwrap().clone();
    assert!(complaints.is_empty(), "promise 3: {complaints:?}");
    let refused = run.world.backends.iam_monitor.refused.lock().unwrap().clone();
    assert!(refused.is_empty(), "template.yaml gives too little: {refused:?}");
    let complaints = run.world.backends.refresh_monitor.violations();
    assert!(complaints.is_empty(), "promise 4: {complaints:?}");
}

/// 4 When the event of a revocation is lost, the refresher finds out.
pub fn bound_accounts_have_grants(run: &Run) {
    for app in run.apps.iter().filter(|app| run.world.is_bound(app)) {
        let granted = run.world.sim().account(app).unwrap().authorization.is_some();
        assert!(granted, "promise 4: {app} is bound without a grant");
    }
}

/// 4 The stored tokens are WeChat's, and no more were requested than elapsed time and ended tokens explain.
pub async fn stored_tokens_are_wechats(run: &Run, account: usize) {
    let app = &run.apps[account];
    let grant = run.world.sim().account(app).unwrap().authorization.unwrap();
    let item = &table(run, "CredentialsTable")[&(format!("AUTHORIZER#{app}"), "AUTHORIZER".into())];
    let known = [Some(&grant.refresh_token), grant.previous_refresh_token.as_ref().map(|p| &p.0)];
    let stored = text_of(item, "refresh_token");
    assert!(known.contains(&Some(&stored)), "promise 4: the refresh token of {app} is lost");
    let path = format!("/cgi-bin/user/get?access_token={}", text_of(item, "token"));
    let answer = run.world.sim().request("GET", &path, "").await.unwrap();
    assert!(
        answer.body.contains("\"total\""),
        "promise 4: the token of {app} is not WeChat's: {}",
        answer.body
    );
    if run.worst_rates == FaultRates::default() {
        let elapsed = u32::try_from(run.world.now() - START_TIME).unwrap();
        let most = 2 + elapsed / 5_000 + run.ended_tokens[account];
        let asked = run.world.backends.refresh_monitor.refresh_count(app);
        assert!(asked <= most, "promise 4: {asked} refreshes of {app} in {elapsed} seconds");
    }
}

/// Whether an import is still unfinished.
pub fn has_unfinished_imports(run: &Run) -> bool {
    table(run, "WorkTable").keys().any(|(pk, _)| pk == "IMPORTS")
}

/// 5 Every import ended, with exact counts.
pub fn imports_ended_and_counted(run: &Run) {
    let work = table(run, "WorkTable");
    for import in
        work.values().filter(|i| text_of(i, "pk").starts_with("IMPORT#") && text_of(i, "sk") != "RUNNING")
    {
        let status = text_of(import, "status");
        match status.as_str() {
            "completed" => {
                let done = import["pages_done"].as_object().unwrap();
                let imported: u64 = done.values().map(|n| n.as_u64().unwrap()).sum();
                let pages = format!("PAGES#{}#", text_of(import, "id"));
                let lists = work.iter().filter(|((pk, sk), _)| pk.starts_with(&pages) && sk == "LIST");
                let listed: usize =
                    lists.map(|(_, page)| text_of(page, "open_id_lines").lines().count()).sum();
                assert_eq!(imported, listed as u64, "promise 5: {import}");
                assert_eq!(import["followers_listed"], imported, "promise 5: {import}");
            }
            "failed" => followers::failed_for_a_reason(run, import),
            _ => panic!("promise 5: an import never ended: {import}"),
        }
    }
    followers::removed_by_import_has_an_event(run);
}

/// 5 After a full import, the hub knows exactly who follows.
pub fn fans_are_the_followers(run: &Run, account: usize) {
    let app = &run.apps[account];
    let sim = run.world.sim().account(app).unwrap();
    let truth: BTreeSet<String> = sim.followers.page("", 10_000).unwrap().into_iter().collect();
    let prefix = fan_key(run, account, "");
    let fans = table(run, "CustomersTable");
    let theirs = fans.iter().filter(|((pk, _), fan)| pk.starts_with(&prefix) && fan["subscribed"] == true);
    let known: BTreeSet<String> = theirs.map(|(_, fan)| text_of(fan, "open_id")).collect();
    assert_eq!(known, truth, "promise 5: who follows {app}");
}

/// 13 Consent decides: an account is bound to a tenant only by a consent that began on a page of that tenant
/// after its last unbinding, and unbound only if its authorization was withdrawn after it was last confirmed.
pub fn consent_decides(world: &SimulatedDeployment, keys: &[String], tenants: &[String]) {
    let (consents, withdrawals) = (world.consents.lock().unwrap(), world.withdrawals.lock().unwrap());
    for change in world.backends.binding_changes() {
        let number =
            |item: &Option<Value>, member: &str| item.as_ref().and_then(|i| i[member].as_i64()).unwrap_or(0);
        if change.after["status"] == "bound" {
            let unbound_at = number(&change.before, "unbound_at");
            let tenant = tenants.iter().position(|t| *t == text_of(&change.after, "tenant_id")).unwrap();
            let led = consents.iter().any(|consent| {
                consent.app_id == change.app_id
                    && consent.key == keys[tenant]
                    && consent.opened_at >= unbound_at
                    && consent.consented_at <= change.at
            });
            assert!(led, "promise 13: bound by no consent on a page of its own: {change:?}, of {consents:?}");
            let other = change.before.as_ref().is_some_and(|was| {
                was["deleted"] != true && text_of(was, "tenant_id") != text_of(&change.after, "tenant_id")
            });
            assert!(!other, "promise 13: taken from another tenant: {change:?}");
        } else {
            let stood_at = number(&change.before, "authorized_at");
            let withdrawn = withdrawals.iter().any(|(app, at)| *app == change.app_id && *at >= stood_at);
            assert!(withdrawn, "promise 13: unbound by an older event: {change:?}, of {withdrawals:?}");
        }
    }
}

/// Keys of all fans, for the check that none is deleted.
pub fn all_fan_keys(run: &Run) -> BTreeSet<String> {
    table(run, "CustomersTable").into_keys().filter(|(_, sk)| sk == "FAN").map(|(pk, _)| pk).collect()
}

/// 6 The hub keeps to WeChat's rules: it sends nothing outside a window that it knew to be closed.
pub fn no_forbidden_call(run: &Run) {
    let refused = run.world.sim().calls("/cgi-bin/message/custom/send").errors;
    let of = |code: i64| refused.get(&code).copied().unwrap_or(0);
    if run.unfollows == 0 && !run.worst_rates.any(&PUSH_FAULTS) {
        assert_eq!(of(45015), 0, "promise 6: sent outside of every window");
        if run.acts_that_open_windows == 0 {
            assert_eq!(of(45047), 0, "promise 6: sent more than a window allows");
        }
    }
}

/// 7 A tenant's data is stored under its own keys, and the other tenant sees none of it.
pub async fn tenants_see_their_own(run: &Run) {
    for (pk, fan) in table(run, "CustomersTable").iter().filter(|((_, sk), _)| sk == "FAN") {
        let expected = format!(
            "FAN#{}#{}#{}",
            text_of(fan, "tenant_id"),
            text_of(fan, "app_id"),
            text_of(fan, "open_id")
        );
        assert_eq!(pk.0, expected, "promise 7");
        let account = run.apps.iter().position(|a| *a == text_of(fan, "app_id")).unwrap();
        assert_eq!(text_of(fan, "tenant_id"), run.tenants[tenant_of(account)], "promise 7");
        let people = format!("TENANT#{}#", text_of(fan, "tenant_id"));
        assert!(text_of(fan, "people").starts_with(&people), "promise 7: {fan}");
    }
    let mut paths: Vec<(usize, String)> = Vec::new();
    for (n, app) in run.apps.iter().enumerate() {
        for rest in ["", "/imports", "/reply-rules"] {
            paths.push((tenant_of(n), format!("/v1/accounts/{app}{rest}")));
        }
    }
    let owner = |item: &Value| run.tenants.iter().position(|t| *t == text_of(item, "tenant_id")).unwrap();
    for message in
        table(run, "WorkTable").values().filter(|m| text_of(m, "pk").starts_with("MESSAGE#")).take(2)
    {
        paths.push((owner(message), format!("/v1/messages/{}", text_of(message, "id"))));
    }
    for fan in table(run, "CustomersTable").values().filter(|f| text_of(f, "sk") == "FAN").take(2) {
        let id = text_of(fan, "customer_id");
        paths.push((owner(fan), format!("/v1/customers/{id}")));
        paths.push((owner(fan), format!("/v1/customers/{id}/timeline")));
    }
    for (owner, path) in paths {
        let (status, body) = run.world.api(&run.keys[1 - owner], "GET", &path, None, None).await.unwrap();
        assert_eq!(status, 404, "promise 7: another tenant reads {path}: {body}");
    }
}
