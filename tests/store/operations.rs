//! Every write of the store, by function name, with the items it needs and its result as text.

use std::collections::BTreeSet;

use futures::FutureExt;
use jiff::Timestamp;
use oahub_tests::fixtures::{APP, DAY, TENANT, account, event, fan, import, message};
use serde_json::json;
use shared::{
    model::{consent::Page, reply_rules::ReplyRules, scope::Scope, token::Due, window::WindowKind},
    secret::Secret,
    store::{
        Store,
        accounts::AccountRecord,
        api_keys::ApiKey,
        audit::{self, Actor, AuditEntry, AuditFilter},
        bindings::{Binding, BindingEnd, BindingStatus},
        claims::{Claim, Reclaim, WindowUse},
        consents::{self, OpenedPage},
        context::Wanted,
        credentials::{LEASE_SECONDS, Refusal, Token},
        failures::Failure,
        fans::{Details, Touch},
        idempotency::Begun,
        import_pages::ListedPage,
        imports::{ImportStatus, Started},
        lines::{self, Waiting},
        messages::{Channel, Ended, Message, MessageStatus},
        quotas::QuotaRefusal,
        tenants::{Tenant, TenantChange, TenantDeleted, TenantStatus},
        timeline::Stored,
        timers::StoredTimer,
    },
    timers,
    wechat::user::UserInfo,
};

const OTHER: &str = "wx5a1b2c3d4e5f6072";

/// The function (after a comma, the row's special case), and a text that only the write's request contains.
pub const ALL: &[(&str, &str)] = &[
    ("create_tenant", "TransactItems"),
    ("create_key", "KEY#key_2"),
    ("known_key", "last_used_at"),
    ("revoke_key", "revoked_at"),
    ("change_tenant", ":deleted"),
    ("delete_tenant", "revision = :seen"),
    ("tell_accounts", "SUSPENDED"),
    ("erase_access", "REPLY_RULES"),
    ("bind_account", "TransactItems"),
    ("bind_account, again", "TransactItems"),
    ("hand_over_account", "TransactItems"),
    ("unbind_account", "TransactItems"),
    ("delete_account", "\"Delete\""),
    ("release_account", "\"Delete\""),
    ("put_reply_rules", "\"Item\""),
    ("create_binding", "attribute_not_exists(pk)"),
    ("delete_binding", "tenant_id = :tenant"),
    ("note_authorization", "event_at"),
    ("authorization_came_to_nothing", "REMOVE #event_at"),
    ("note_consent", "under_way_until"),
    ("binding_under_way", "under_way_until"),
    ("binding_settled", "REMOVE #under_way_until"),
    ("keep_component_event", "seen_until"),
    ("may_ask_about_code", "size(asked)"),
    ("code_counts_not", "DELETE #asked"),
    ("consented_at", "consented_at"),
    ("keep_pre_auth_code", "\"Item\""),
    ("keep_pre_auth_code, its second write", "pre_auth_expires"),
    ("end_binding, bound", "NOT #status = :bound"),
    ("end_binding, refused", "NOT #status = :bound"),
    ("keep_ticket", "ticket_at"),
    ("claim_ticket_push", "push_asked_at"),
    ("note_status", "tokens_expiring"),
    ("lease_component", "lease_until"),
    ("lease_authorizer", "lease_until"),
    ("keep_component_token", "expires_in"),
    ("keep_authorizer_token", "expires_in"),
    ("release_component", "REMOVE #lease_until"),
    ("release_authorizer", "REMOVE #lease_until"),
    ("authorize", "authorized_by"),
    ("recover_refresh_token", ":lost"),
    ("authorize_instead", "version = :seen"),
    ("forget_authorizer", "version = :seen"),
    ("keep_refresh_tick", "minute"),
    ("touch_fan, who follows", "follow_used"),
    ("touch_fan, who writes", "message_used"),
    ("touch_fan, a second time in one second", "NOT contains("),
    ("insert_fans", "INSERT"),
    ("update_fan", "union_id"),
    ("mark_gone", "gone_import"),
    ("redirect_customer", "merged_into"),
    ("put_event", "at_key"),
    ("start_import", "TransactItems"),
    ("keep_page", "open_id_lines"),
    ("count_page", "followers_listed"),
    ("keep_receipt", "chunk_0"),
    ("finish_page", "pages_done"),
    ("finish_shard", "shards_done"),
    ("advance_shard", "shard_4_by"),
    ("advance_shard, from where it stands", "shard_4_by"),
    ("take_up_import", "taken_up_by"),
    ("pause_import", "paused_until"),
    ("resume_import", "resumed_by"),
    ("end_import", "TransactItems"),
    ("create_message", "attribute_not_exists(pk)"),
    ("claim_messages", "first_claimed_at"),
    ("claim_messages, with windows", "window_used_by"),
    ("use_window", "window_used_by"),
    ("reclaim_message", "claimed_by = :before"),
    ("switch_channel", "SET #channel"),
    ("requeue_message", "tries"),
    ("keep_messages", "wechat_msg_id"),
    ("keep_messages, that WeChat settled", "wechat_msg_id"),
    ("settle_message", ":sent"),
    ("begin_request", "attribute_not_exists(pk)"),
    ("begin_request, whose first died", "in_flight_until = :seen"),
    ("end_request", "answer"),
    ("abandon_request", "SET #in_flight_until"),
    ("join_line", "newest"),
    ("end_line", "newest = :newest"),
    ("put_timer", "\"Item\""),
    ("delete_timers", "DeleteRequest"),
    ("lease_timers", "lease_until"),
    ("release_timers", "REMOVE #lease_until"),
    ("keep_quota_refusal", "refused_until"),
    ("note_failure", "FAILED"),
    ("count_requests", "requests"),
    ("audit", "attribute_not_exists(pk)"),
    ("end_audit", "SET #outcome"),
];

/// When tokens are due.
const TURN: Due = Due::Wheel { slot: 7 };

/// The page of every consent in these rows.
fn opened() -> Page<'static> {
    Page { tenant: TENANT, opened_at: DAY, expires_at: DAY + 600 }
}

async fn page_of(code: &str, store: &Store) -> OpenedPage {
    store.opened_page(&consents::fingerprint(code)).await.unwrap().unwrap()
}

/// Stores what must exist before every write.
pub async fn prepare(store: &Store) {
    store.keep_ticket(&Secret::new("ticket@@@1"), DAY).await.unwrap();
    for app_id in [APP, OTHER] {
        store.authorize(app_id, "c1", Some(&token("t1")), &Secret::new("r1")).await.unwrap();
    }
    store.bind_account(account(APP), Some(opened()), TURN).await.unwrap();
    store.create_binding(&binding("bnd_0")).await.unwrap();
    store.keep_pre_auth_code(&binding("bnd_0"), "code@@@0", DAY + 600).await.unwrap();
    store.touch_fan(fan("o1"), &Touch::Message, DAY, "M0").await.unwrap();
    store
        .insert_fans(TENANT, APP, &[Details { info: &info("o2"), as_of: DAY, import_id: None }])
        .await
        .unwrap();
    store.start_import(&import("imp_0", APP, DAY)).await.unwrap();
    for id in ["msg_0", "msg_1"] {
        store.create_message(&message(id)).await.unwrap();
    }
}

/// Performs one write; returns its result as text. In parts, since one large future overflows a test's stack.
pub async fn act(what: &str, store: &Store) -> String {
    let name = what.split(',').next().unwrap();
    let parts = [
        accounts(name, what, store).boxed_local(),
        keys(name, store).boxed_local(),
        credentials(name, store).boxed_local(),
        followers(name, what, store).boxed_local(),
        messages(name, what, store).boxed_local(),
        others(name, what, store).boxed_local(),
    ];
    for part in parts {
        if let Some(seen) = part.await {
            return seen;
        }
    }
    panic!("{what} is nothing that the store does")
}

fn new(done: bool) -> String {
    if done { "done" } else { "refused" }.to_owned()
}

fn salt() -> Secret {
    Secret::new("salt")
}

fn tenant(created_at: Timestamp) -> Tenant {
    let (id, name, time_zone) = (TENANT.into(), "Tea house".into(), "Asia/Shanghai".into());
    Tenant { id, name, time_zone, status: TenantStatus::Active, created_at, revision: 0 }
}

fn api_key(id: &str) -> ApiKey {
    let scopes = Scope::ALL.map(|scope| scope.name().to_owned()).into();
    ApiKey { id: id.into(), tenant_id: TENANT.into(), scopes, created_at: DAY, ..ApiKey::default() }
}

/// API keys and tenants' status.
async fn keys(name: &str, store: &Store) -> Option<String> {
    let all = [
        "create_key",
        "known_key",
        "revoke_key",
        "change_tenant",
        "delete_tenant",
        "tell_accounts",
        "erase_access",
    ];
    if !all.contains(&name) {
        return None;
    }
    let at = Timestamp::from_second(DAY).unwrap();
    store.create_tenant(&tenant(at), &api_key("key_1"), &Secret::new("oak_1")).await.unwrap();
    let suspended = TenantChange { status: Some(TenantStatus::Suspended), ..TenantChange::default() };
    let second = Secret::new("oak_2");
    let seen = match name {
        "create_key" => format!("{:?}", store.create_key(&api_key("key_2"), &second).await.unwrap()),
        "known_key" => {
            let known = store.known_key(&Secret::new("oak_1")).await.unwrap().unwrap();
            format!("{}, {}", known.key.id, known.key.last_used_at.is_some())
        }
        "revoke_key" => {
            store.create_key(&api_key("key_2"), &second).await.unwrap();
            let revoked = store.revoke_key(TENANT, "key_2").await.unwrap();
            format!("{revoked:?}, {:?}", store.revoke_key(TENANT, "key_1").await.unwrap())
        }
        "tell_accounts" => {
            store.tell_accounts(TENANT, true).await.unwrap();
            format!("{}", store.account_entry_now(APP).await.unwrap().unwrap().suspended)
        }
        "erase_access" => {
            store.erase_access(TENANT).await.unwrap();
            format!("{:?}", store.any_account(APP).await.unwrap())
        }
        "change_tenant" => {
            format!("{:?}", store.change_tenant(TENANT, &suspended).await.unwrap().unwrap().status)
        }
        _ => {
            store.unbind_account(APP, DAY + 10_000, DAY + 10_000).await.unwrap();
            store.change_tenant(TENANT, &suspended).await.unwrap();
            let TenantDeleted::Yes(gone) = store.delete_tenant(TENANT).await.unwrap() else {
                panic!("it stays")
            };
            format!("{:?}", gone.status)
        }
    };
    let ids: Vec<_> = store.keys(TENANT).await.unwrap().into_iter().map(|key| key.id).collect();
    Some(format!("{seen}, then {ids:?}"))
}

/// Tenants, accounts and bindings.
async fn accounts(name: &str, what: &str, store: &Store) -> Option<String> {
    Some(match name {
        "create_tenant" => {
            let created_at = Timestamp::from_second(DAY).unwrap();
            let tenant = tenant(created_at);
            store.create_tenant(&tenant, &api_key("key_1"), &Secret::new("oak_1")).await.unwrap();
            format!(
                "{:?}",
                store.known_key(&Secret::new("oak_1")).await.unwrap().map(|known| known.key.id.clone())
            )
        }
        "bind_account" => {
            let app = if what.contains("again") { APP } else { OTHER };
            let bound = store.bind_account(account(app), Some(opened()), TURN).await.unwrap();
            format!("{bound:?}, {} bound", store.accounts_bound().await.unwrap())
        }
        "hand_over_account" => {
            let owner = store.any_account(APP).await.unwrap().unwrap();
            let new = AccountRecord { tenant_id: "ten_9".into(), ..account(APP) };
            let done = store.hand_over_account(&owner, new, TURN).await.unwrap();
            let (theirs, _) = store.accounts(TENANT, 10, None).await.unwrap();
            let (ours, _) = store.accounts("ten_9", 10, None).await.unwrap();
            let bound = store.accounts_bound().await.unwrap();
            format!("{done}, {} and {}, {bound} bound", theirs.len(), ours.len())
        }
        "unbind_account" => {
            let changed = store.unbind_account(APP, DAY + 10_000, DAY + 10_000).await.unwrap();
            format!("{changed}, {} bound", store.accounts_bound().await.unwrap())
        }
        "delete_account" => {
            store.unbind_account(APP, DAY + 10_000, DAY + 10_000).await.unwrap();
            format!("{:?}", store.delete_account(TENANT, APP).await.unwrap())
        }
        "release_account" => {
            store.unbind_account(APP, DAY + 10_000, DAY + 10_000).await.unwrap();
            format!("{:?}", store.release_account(APP).await.unwrap())
        }
        "put_reply_rules" => {
            let rules = json!({"on_subscribe": null, "keywords": [], "default": {"msgtype": "text", "text": {"content": "Hello"}}});
            store.put_reply_rules(TENANT, APP, &ReplyRules::parse(rules).unwrap()).await.unwrap();
            new(store.reply_rules(TENANT, APP).await.unwrap().default.is_some())
        }
        "create_binding" => {
            store.create_binding(&binding("bnd_1")).await.unwrap();
            new(store.binding(TENANT, "bnd_1").await.unwrap().is_some())
        }
        "delete_binding" => {
            let was = store.delete_binding(TENANT, "bnd_0").await.unwrap();
            format!("{was}, {} now", store.binding(TENANT, "bnd_0").await.unwrap().is_some())
        }
        "note_authorization" => {
            store.note_authorization(&page_of("code@@@0", store).await).await.unwrap();
            new(store.binding(TENANT, "bnd_0").await.unwrap().unwrap().event_at.is_some())
        }
        "authorization_came_to_nothing" => {
            let page = page_of("code@@@0", store).await;
            store.note_authorization(&page).await.unwrap();
            store.authorization_came_to_nothing(&page).await.unwrap();
            new(store.binding(TENANT, "bnd_0").await.unwrap().unwrap().event_at.is_none())
        }
        "keep_pre_auth_code" => {
            store.keep_pre_auth_code(&binding("bnd_0"), "code@@@1", DAY + 600).await.unwrap();
            format!("{:?}", page_of("code@@@1", store).await)
        }
        "end_binding" => {
            let reason = what.contains("refused").then_some("unverified_account");
            let ended = store
                .end_binding("bnd_0", BindingEnd { app_id: APP, name: "A", reason, code: "c" })
                .await
                .unwrap();
            format!("{:?}", ended.unwrap().status)
        }
        "note_consent" => {
            let page = page_of("code@@@0", store).await;
            store.note_consent(APP, "c", Some(&page), DAY).await.unwrap();
            format!("{:?}", store.consent_event(APP).await.unwrap())
        }
        "binding_under_way" => {
            store.binding_under_way(APP).await.unwrap();
            format!("{:?}", store.consent_event(APP).await.unwrap())
        }
        "binding_settled" => {
            store.binding_under_way(APP).await.unwrap();
            store.binding_settled(APP).await.unwrap();
            format!("{:?}", store.consent_event(APP).await.unwrap())
        }
        "keep_component_event" => {
            store.keep_component_event("e").await.unwrap();
            format!("{:?}", store.component_event_seen("e").await.unwrap().is_some())
        }
        "may_ask_about_code" => {
            let page = page_of("code@@@0", store).await;
            let may = store.may_ask_about_code(&page).await.unwrap().is_some();
            format!("{may}, {} asked", store.binding(TENANT, "bnd_0").await.unwrap().unwrap().asked.len())
        }
        "code_counts_not" => {
            let owner = store.may_ask_about_code(&page_of("code@@@0", store).await).await.unwrap();
            store.code_counts_not("bnd_0", owner.unwrap()).await.unwrap();
            format!("{} asked", store.binding(TENANT, "bnd_0").await.unwrap().unwrap().asked.len())
        }
        "consented_at" => {
            let page = page_of("code@@@0", store).await;
            let first = store.consented_at(&page).await.unwrap();
            format!("{first}, {}", store.consented_at(&page).await.unwrap())
        }
        _ => return None,
    })
}

/// Tickets and tokens.
async fn credentials(name: &str, store: &Store) -> Option<String> {
    Some(match name {
        "note_status" => {
            let component = store.component().await.unwrap();
            store.note_status(&component, Some(7)).await.unwrap();
            format!("{:?}", store.platform_status().await.unwrap())
        }
        "keep_ticket" => {
            store.keep_ticket(&Secret::new("ticket@@@2"), DAY + 600).await.unwrap();
            store.component().await.unwrap().ticket.unwrap().expose().to_owned()
        }
        "claim_ticket_push" => {
            let ours = store.claim_ticket_push(600).await.unwrap();
            format!("{ours}, {}", store.claim_ticket_push(600).await.unwrap())
        }
        "lease_component" => new(store.lease_component(0, "lse_1".into()).await.unwrap().is_some()),
        "lease_authorizer" => new(store.lease_authorizer(APP, 1, "lse_1".into()).await.unwrap().is_some()),
        "keep_component_token" => {
            store.lease_component(0, "lse_1".into()).await.unwrap().unwrap();
            let kept = store.keep_component_token("lse_1", &token("c1")).await.unwrap();
            format!("{kept}, version {}", store.component().await.unwrap().version)
        }
        "keep_authorizer_token" => {
            store.lease_authorizer(APP, 1, "lse_1".into()).await.unwrap().unwrap();
            let refresh = Secret::new("r2");
            let kept = store.keep_authorizer_token(APP, "lse_1", &token("t2"), &refresh, None).await.unwrap();
            format!("{kept}, version {}", store.authorizer(APP).await.unwrap().unwrap().version)
        }
        "release_component" => {
            store.lease_component(0, "lse_1".into()).await.unwrap().unwrap();
            store.release_component("lse_1", None).await.unwrap();
            new(store.component().await.unwrap().lease_until == 0)
        }
        "release_authorizer" => {
            store.lease_authorizer(APP, 1, "lse_1".into()).await.unwrap().unwrap();
            let refusal = Refusal { until: DAY + 30, wait: 30, errcode: Some(50002) };
            store.release_authorizer(APP, "lse_1", false, Some(refusal)).await.unwrap();
            new(store.authorizer(APP).await.unwrap().unwrap().lease_until == 0)
        }
        "authorize" => {
            let refresh = Secret::new("r3");
            let version = store.authorize(APP, "c3", Some(&token("t3")), &refresh).await.unwrap().version;
            format!("version {version}, {}", store.authorizer(APP).await.unwrap().unwrap().version)
        }
        "recover_refresh_token" => {
            let (lost, found) = (Secret::new("r1"), Secret::new("r9"));
            new(store.recover_refresh_token(APP, &lost, &found).await.unwrap())
        }
        "authorize_instead" => {
            let (seen, refresh) = (store.authorizer(APP).await.unwrap(), Secret::new("r3"));
            let stored = store.authorize_instead(APP, seen.as_ref(), "c3", None, &refresh).await.unwrap();
            let now = store.authorizer(APP).await.unwrap().unwrap();
            format!("version {}, {}, {:?}", stored.unwrap().version, now.version, now.due)
        }
        "forget_authorizer" => {
            for app_id in [APP, OTHER] {
                let seen = store.authorizer(app_id).await.unwrap().unwrap();
                store.forget_authorizer(app_id, &seen).await.unwrap();
            }
            let mut is_there = Vec::new();
            for app_id in [APP, OTHER] {
                is_there.push(store.authorizer(app_id).await.unwrap().is_some());
            }
            format!("{is_there:?}")
        }
        "keep_refresh_tick" => {
            store.keep_refresh_tick(DAY / 60).await.unwrap();
            format!("{:?}", store.refresh_tick().await.unwrap())
        }
        _ => return None,
    })
}

/// Fans, events and imports.
async fn followers(name: &str, what: &str, store: &Store) -> Option<String> {
    Some(match name {
        "touch_fan" => {
            let follow = Touch::Followed { scene: Some("shelf".into()) };
            match what.rsplit(", ").next().unwrap() {
                "who follows" => store.touch_fan(fan("o3"), &follow, DAY, "E1").await.unwrap(),
                "who writes" => store.touch_fan(fan("o1"), &Touch::Message, DAY + 1, "M1").await.unwrap(),
                _ => {
                    for (touch, identity) in [(&follow, "E1"), (&Touch::Unfollowed, "E2")] {
                        store.touch_fan(fan("o3"), touch, DAY, identity).await.unwrap();
                    }
                    let left = !store.fan(fan("o3")).await.unwrap().unwrap().subscribed;
                    store.touch_fan(fan("o3"), &follow, DAY, "E1").await.unwrap(); // comes once more
                    assert!(left, "the second one of a second counts");
                }
            }
            let fan = store.fan(fan("o3")).await.unwrap().unwrap_or_default();
            format!("{}, {:?}", fan.subscribed, fan.qr_scene_str)
        }
        "insert_fans" => {
            let (known, fresh) = (info("o2"), [info("o7"), info("o8")]);
            let all =
                [&known, &fresh[0], &fresh[1]].map(|info| Details { info, as_of: DAY, import_id: None });
            // a retried insert finds the fan and updates it instead: the stored item is the same
            let new = store.insert_fans(TENANT, APP, &all).await.unwrap();
            format!("{}, {}", new[0], store.fans(TENANT, APP, &["o2", "o7", "o8"]).await.unwrap().len())
        }
        "update_fan" => {
            let before = store.fan(fan("o2")).await.unwrap().unwrap();
            let mut info = info("o2");
            info.unionid = "u2".into();
            let details = Details { info: &info, as_of: DAY + 1, import_id: Some("imp_0") };
            let left = store.update_fan(&before, &details).await.unwrap();
            format!("{:?}", left == Some(before.customer_id))
        }
        "mark_gone" => {
            let marked = store.mark_gone(fan("o2"), "imp_0", DAY + 10_000).await.unwrap();
            format!("{marked}, {}", store.fan(fan("o2")).await.unwrap().unwrap().subscribed)
        }
        "redirect_customer" => {
            let here = store.fan(fan("o2")).await.unwrap().unwrap().customer_id;
            store.redirect_customer(TENANT, "cus_old", &here).await.unwrap();
            format!("{}", store.customer(TENANT, "cus_old").await.unwrap().unwrap().fans.len())
        }
        "put_event" => {
            let stored = store.put_event(fan("o1"), &event("M1")).await.unwrap();
            let seen = store.put_event(fan("o1"), &event("M1")).await.unwrap();
            let (events, _) = store.events(&[fan("o1")], None, 10, None).await.unwrap();
            let (stored, seen) = (matches!(stored, Stored::New), matches!(seen, Stored::Seen(_)));
            format!("{stored}, {seen}, {}", events.len())
        }
        "start_import" => {
            store.end_import(APP, "imp_0", ImportStatus::Failed, None).await.unwrap();
            new(matches!(store.start_import(&import("imp_1", APP, DAY)).await.unwrap(), Started::New))
        }
        "keep_page" => {
            let kept = store.keep_page(&import("imp_0", APP, DAY), 0, &page()).await.unwrap();
            let other = ListedPage { open_ids: vec!["o9".into()], ..page() };
            let again = store.keep_page(&import("imp_0", APP, DAY), 0, &other).await.unwrap();
            format!("{:?}, {:?}", kept.open_ids, again.open_ids)
        }
        "count_page" => {
            let counted = store.count_page(&import("imp_0", APP, DAY), 0, &page(), "job").await.unwrap();
            format!("{} listed on {} pages", counted.followers_listed, counted.pages_listed)
        }
        "keep_receipt" => format!("{:?}", store.keep_receipt("imp_0", 0, 0, 100).await.unwrap()),
        "finish_page" => {
            format!("{:?}", store.finish_page(APP, "imp_0", 0, 2).await.unwrap().pages_done)
        }
        "finish_shard" => format!("{:?}", store.finish_shard(APP, "imp_0", 3).await.unwrap().shards_done),
        "advance_shard" => {
            let at = |from, to, by| {
                let import = import("imp_0", APP, DAY);
                async move { store.advance_shard(&import, 4, from, to, by).await.unwrap() }
            };
            let from = what.contains("stands").then_some("cus_1");
            let ours = at(from, "cus_2", "job").await;
            let others = at(from, "cus_2", "other").await;
            let place = store.shard_places(APP, "imp_0").await.unwrap().remove(&4).unwrap();
            format!("{ours}, {others}, {place:?}")
        }
        "take_up_import" => {
            let ours = store.take_up_import(&import("imp_0", APP, DAY), "job").await.unwrap();
            let others = store.take_up_import(&import("imp_0", APP, DAY), "other").await.unwrap();
            format!("{ours}, {others}")
        }
        "pause_import" => new(store.pause_import(APP, "imp_0", DAY + 600, "quota").await.unwrap()),
        "resume_import" => {
            store.pause_import(APP, "imp_0", DAY + 600, "quota").await.unwrap();
            new(store.resume_import(APP, "imp_0", "job").await.unwrap())
        }
        "end_import" => {
            let ended = store.end_import(APP, "imp_0", ImportStatus::Completed, None).await.unwrap();
            format!("{ended}, {}", store.running_import(APP).await.unwrap().is_none())
        }
        _ => return None,
    })
}

/// Messages.
async fn messages(name: &str, what: &str, store: &Store) -> Option<String> {
    let template = Some(Channel::Template);
    Some(match name {
        "create_message" => new(store.create_message(&message("msg_9")).await.unwrap().is_none()),
        "claim_messages" => {
            let window = [window(0)];
            let uses = if what.contains("windows") { &window[..] } else { &[] };
            let (claims, used) = claim(store, &["msg_0", "msg_1", "msg_none"], uses).await;
            let (again, _) = claim(store, &["msg_0"], &[]).await;
            format!("{claims:?}, {used:?}, {again:?}")
        }
        "use_window" => {
            let used = store.use_window(store.owner(), &window(0)).await.unwrap();
            let again = store.use_window(store.owner(), &window(0)).await.unwrap();
            format!("{used}, {again}, {}", store.fan(fan("o1")).await.unwrap().unwrap().message_used)
        }
        "reclaim_message" => {
            let message = store.message(TENANT, "msg_0").await.unwrap().unwrap();
            let mut taken = Vec::new();
            for _ in 0..2 {
                let owner = store.owner();
                let claim = Reclaim {
                    message: &message,
                    owner,
                    at: DAY,
                    channel: template,
                    may_have_happened: false,
                };
                taken.push(store.reclaim_message(&claim).await.unwrap());
            }
            format!("{taken:?}")
        }
        "switch_channel" => {
            let owner = store.owner();
            store.claim_messages(owner, DAY, &[("msg_0", None)], &[]).await.unwrap();
            let ours = store.switch_channel("msg_0", owner, Channel::Template).await.unwrap();
            let others =
                store.switch_channel("msg_0", store.owner(), Channel::CustomerService).await.unwrap();
            format!("{ours}, {others}")
        }
        "requeue_message" => {
            let owner = store.owner();
            store.claim_messages(owner, DAY, &[("msg_0", template)], &[]).await.unwrap();
            let ours = store.requeue_message("msg_0", owner, false).await.unwrap();
            let others = store.requeue_message("msg_0", store.owner(), false).await.unwrap();
            // it is for those now who look at what was given back
            let (first, _) = claim(store, &["msg_0"], &[]).await;
            format!("{ours:?}, {others:?}, {first:?}")
        }
        "keep_messages" => {
            let (owner, stranger) = (store.owner(), store.owner());
            store.claim_messages(owner, DAY, &[("msg_0", template), ("msg_1", template)], &[]).await.unwrap();
            let mut sent = message("msg_0");
            (sent.status, sent.channel) = (MessageStatus::Sent, template);
            (sent.wechat_msg_id, sent.sent_at) = (Some("200163836".into()), Some(DAY * 1000));
            let ended = Ended { owner, message: sent.clone(), event: Some(event("Smsg_0")) };
            if what.contains("settled") {
                store.keep_messages(std::slice::from_ref(&ended)).await.unwrap();
                store.settle_message("msg_0", MessageStatus::Delivered, None).await.unwrap();
            }
            let other =
                Ended { owner: stranger, message: Message { id: "msg_1".into(), ..sent }, event: None };
            let kept = store.keep_messages(&[ended, other]).await.unwrap();
            let kept: Vec<_> = kept.into_iter().map(Result::unwrap).collect();
            let status = |id| async move { store.message(TENANT, id).await.unwrap().unwrap().status };
            let found = store.message_of_wechat(TENANT, APP, "200163836").await.unwrap().is_some();
            format!("{kept:?}, {:?}, {:?}, {found}", status("msg_0").await, status("msg_1").await)
        }
        "settle_message" => {
            let owner = store.owner();
            store.claim_messages(owner, DAY, &[("msg_0", template)], &[]).await.unwrap();
            let sent = Message { status: MessageStatus::Sent, channel: template, ..message("msg_0") };
            store.keep_messages(&[Ended { owner, message: sent, event: None }]).await.unwrap();
            new(store.settle_message("msg_0", MessageStatus::Delivered, None).await.unwrap())
        }
        _ => return None,
    })
}

/// Requests, timers, quotas and audit.
async fn others(name: &str, what: &str, store: &Store) -> Option<String> {
    Some(match name {
        "begin_request" => {
            let salt = salt();
            let begin = || store.begin_request(TENANT, "POST /v1/bindings", "key-1", "fingerprint", &salt);
            if what.contains("died") {
                begin().await.unwrap();
                store.abandon_request(TENANT, "POST /v1/bindings", "key-1").await.unwrap();
            }
            let (first, second) = (begin().await.unwrap(), begin().await.unwrap());
            format!("{}, {}", begun(&first), begun(&second))
        }
        "end_request" => {
            let (route, key) = ("POST /v1/bindings", "key-1");
            store.begin_request(TENANT, route, key, "fingerprint", &salt()).await.unwrap();
            store.end_request(TENANT, route, key, 201, "{}").await.unwrap();
            begun(&store.begin_request(TENANT, route, key, "fingerprint", &salt()).await.unwrap()).to_owned()
        }
        "abandon_request" => {
            let (route, key) = ("POST /v1/bindings", "key-1");
            store.begin_request(TENANT, route, key, "fingerprint", &salt()).await.unwrap();
            store.abandon_request(TENANT, route, key).await.unwrap();
            begun(&store.begin_request(TENANT, route, key, "fingerprint", &salt()).await.unwrap()).to_owned()
        }
        "count_requests" => {
            store.count_requests(TENANT, "read", (DAY / 5, 5), 10).await.unwrap();
            "counted".to_owned() // a lost response may count twice, a small part of one window
        }
        "put_timer" | "delete_timers" => {
            let timer = StoredTimer {
                queue: "import".into(),
                body: "{}".into(),
                group: TENANT.into(),
                once: "once".into(),
            };
            for id in ["one", "two", "three"] {
                store.put_timer("line", DAY * 1000, id, &timer).await.unwrap();
            }
            let mut due = 0;
            for shard in timers::shards() {
                let page = store.due_timers(shard, DAY * 1000, 10, None).await.unwrap();
                if what == "delete_timers" {
                    store.delete_timers(&page.timers).await.unwrap();
                }
                due += store.due_timers(shard, DAY * 1000, 10, None).await.unwrap().timers.len();
            }
            format!("{due} due")
        }
        "join_line" | "end_line" => {
            let by = Channel::Template;
            let one = Waiting { fan: fan("o1"), channel: by, message: "msg_1", created_at: 1 };
            store.join_line(&one, DAY * 1000, true).await.unwrap();
            let two = Waiting { message: "msg_2", created_at: 2, ..one };
            store.join_line(&two, DAY * 1000 + 1, false).await.unwrap();
            store.join_line(&one, DAY * 1000 + 2, true).await.unwrap(); // again, and is not the newest by that
            if what == "end_line" {
                store.end_line(fan("o1"), by, &lines::place(1, "msg_1")).await.unwrap(); // it is not the newest
                store.end_line(fan("o1"), by, &lines::place(2, "msg_2")).await.unwrap();
            }
            let wanted = Wanted { lines: vec![(fan("o1"), by)], ..Wanted::default() };
            format!("{:?}", store.send_context(&wanted).await.unwrap().line(fan("o1"), by).unwrap())
        }
        "lease_timers" => {
            let ours = store.lease_timers(3, "swp_1").await.unwrap();
            format!("{ours}, {}", store.lease_timers(3, "swp_2").await.unwrap())
        }
        "release_timers" => {
            store.lease_timers(3, "swp_1").await.unwrap();
            store.release_timers(3, "swp_1").await.unwrap();
            new(store.lease_timers(3, "swp_2").await.unwrap())
        }
        "keep_quota_refusal" => {
            let refusal = QuotaRefusal { refused_until: DAY + 3600, refused_at: DAY, errcode: 45009 };
            store.keep_quota_refusal(APP, "user_get", &refusal).await.unwrap();
            format!("{:?}", store.quota_refusal(APP, "user_get").await.unwrap())
        }
        "note_failure" => {
            let failure = Failure { job: "f1".into(), why: "no".into(), at: DAY, receives: 40 };
            store.note_failure(&failure).await.unwrap();
            format!("{:?}", store.failures(&["f1"]).await.unwrap())
        }
        "audit" | "end_audit" => {
            let entry = AuditEntry {
                id: shared::ids::derived_at(audit::PREFIX, DAY * 1000, &["1"]),
                at: DAY * 1000,
                actor: Actor::operator("operator"),
                operation: "tenant.created".into(),
                target: TENANT.into(),
                outcome: audit::STARTED.into(),
            };
            store.audit(TENANT, &entry).await.unwrap();
            if what == "end_audit" {
                store.end_audit(TENANT, &entry, audit::SUCCEEDED).await.unwrap();
            }
            let (entries, _) = store.audit_entries(TENANT, AuditFilter::default(), 10, None).await.unwrap();
            entries.into_iter().map(|entry| entry.outcome).collect()
        }
        _ => return None,
    })
}

async fn claim(store: &Store, ids: &[&str], uses: &[WindowUse<'_>]) -> (Vec<&'static str>, Vec<bool>) {
    let claims: Vec<_> = ids.iter().map(|id| (*id, Some(Channel::CustomerService))).collect();
    let (claims, used) = store.claim_messages(store.owner(), DAY, &claims, uses).await.unwrap();
    let word = |claim: Claim| match claim {
        Claim::Ours => "ours",
        Claim::Taken(Some(message)) if message.status == MessageStatus::Sending => "another's",
        Claim::Taken(Some(_)) => "taken before",
        Claim::Taken(None) => "gone",
        Claim::Undone(error) => panic!("{error}"),
    };
    (claims.into_iter().map(word).collect(), used)
}

fn begun(begun: &Begun) -> &'static str {
    match begun {
        Begun::First { .. } => "first",
        Begun::Answered { .. } => "answered",
        Begun::InProgress => "in progress",
        Begun::Reused => "reused",
    }
}

fn window(used: u32) -> WindowUse<'static> {
    let mut windows = shared::model::window::Windows::default();
    (windows.message_at, windows.message_used) = (Some(DAY), used);
    WindowUse { fan: fan("o1"), kind: WindowKind::Message, windows }
}

fn token(text: &str) -> Token {
    Token { token: Secret::new(text), issued_at: DAY, expires_in: 7200 + LEASE_SECONDS }
}

fn binding(id: &str) -> Binding {
    let at = |seconds: i64| Timestamp::from_second(seconds).unwrap();
    Binding {
        id: id.into(),
        tenant_id: TENANT.into(),
        status: BindingStatus::Pending,
        app_id: None,
        account_name: None,
        only_app_id: None,
        reason: None,
        return_url: None,
        created_at: at(DAY),
        expires_at: at(DAY + 3600),
        pre_auth_code: None,
        pre_auth_at: None,
        pre_auth_expires: None,
        event_at: None,
        asked: BTreeSet::new(),
        ended_by: None,
    }
}

fn page() -> ListedPage {
    ListedPage { open_ids: vec!["o1".into(), "o2".into()], next_cursor: None, total: 2, cut: None }
}

fn info(open_id: &str) -> UserInfo {
    serde_json::from_value(json!({
        "subscribe": 1, "openid": open_id, "language": "zh_CN", "subscribe_time": DAY - 100,
        "remark": "VIP", "groupid": 0, "tagid_list": [2, 128], "subscribe_scene": "ADD_SCENE_QR_CODE",
        "qr_scene": 98765, "qr_scene_str": "",
    }))
    .unwrap()
}
