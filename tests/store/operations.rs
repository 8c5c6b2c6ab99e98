//! Every write of the store, by function name, with the items it needs and its result as text.

use std::collections::BTreeSet;

use futures::FutureExt;
use jiff::Timestamp;
use oahub_tests::fixtures::{APP_ID, NEW_YEAR_2025, TENANT_ID, account, event, fan, import, message};
use serde_json::json;
use shared::{
    model::{
        account::AccountRecord,
        api_key::ApiKey,
        audit::{self, Actor, AuditEntry},
        authorization::{self, AuthorizationPage},
        binding::{Binding, BindingOutcome, BindingStatus},
        binding_refusal::BindingRefusal,
        consent::ConsentPage,
        credentials::{AccessToken, TokenRefusal},
        import::ImportStatus,
        job_failure::JobFailure,
        listed_page::ListedPage,
        message::{Channel, MessageRecord, MessageStatus},
        push_decision::FanActivity,
        quota::QuotaRefusal,
        reply_rules::ReplyRules,
        scope::Scope,
        tenant::{Tenant, TenantStatus},
        timer::StoredTimer,
        token::Due,
        waiting_line::{self, WaitingMessage},
        window::WindowKind,
    },
    secret::Secret,
    store::{
        Store,
        api_keys::LastKey,
        audit::AuditFilter,
        credentials::TOKEN_LEASE_SECONDS,
        fans::FanDetails,
        idempotency::IdempotencyCheck,
        imports::{ImportStart, ResumedBy},
        message_leases::{LeaseAttempt, LeaseRetake, WindowUse},
        messages::EndedMessage,
        send_context::SendContextRequest,
        tenants::{TenantChange, TenantDeletion},
        timeline::EventInsert,
    },
    timers,
    wechat::user::UserInfo,
};

const OTHER_APP_ID: &str = "wx5a1b2c3d4e5f6072";

/// The function (after a comma, the row's special case), and a text that only the write's request contains.
pub const WRITES: &[(&str, &str)] = &[
    ("create_tenant", "TransactItems"),
    ("create_key", "KEY#key_2"),
    ("find_key", "last_used_at"),
    ("revoke_key", "revoked_at"),
    ("change_tenant", ":deleted"),
    ("delete_tenant", "revision = :seen"),
    ("mark_accounts_suspended", ":its"),
    ("erase_access", "REPLY_RULES"),
    ("bind_account", "TransactItems"),
    ("bind_account, again", "TransactItems"),
    ("transfer_account", "TransactItems"),
    ("unbind_account", "TransactItems"),
    ("delete_account", "\"Delete\""),
    ("release_account", "\"Delete\""),
    ("store_reply_rules", "\"Item\""),
    ("create_binding", "attribute_not_exists(pk)"),
    ("delete_binding", "tenant_id = :tenant"),
    ("record_authorization_event", "event_at"),
    ("clear_authorization_event", "REMOVE #event_at"),
    ("record_consent_event", "under_way_until"),
    ("mark_binding_in_progress", "under_way_until"),
    ("clear_binding_in_progress", "REMOVE #under_way_until"),
    ("mark_component_event_seen", "seen_until"),
    ("begin_code_query", "size(asked)"),
    ("uncount_code_query", "DELETE #asked"),
    ("record_consent_time", "consented_at"),
    ("store_pre_auth_code", "\"Item\""),
    ("store_pre_auth_code, its second write", "pre_auth_expires"),
    ("end_binding, bound", "NOT #status = :bound"),
    ("end_binding, refused", "NOT #status = :bound"),
    ("store_ticket", "ticket_at"),
    ("lease_ticket_push", "push_asked_at"),
    ("store_platform_status", "tokens_expiring"),
    ("lease_component", "lease_until"),
    ("lease_authorizer", "lease_until"),
    ("store_component_token", "expires_in"),
    ("store_authorizer_token", "expires_in"),
    ("release_component", "REMOVE #lease_until"),
    ("release_authorizer", "REMOVE #lease_until"),
    ("store_authorization", "authorized_by"),
    ("recover_refresh_token", ":lost"),
    ("store_authorization_if_unchanged", "version = :seen"),
    ("delete_unbound_authorizer", "version = :seen"),
    ("store_refresh_tick", "minute"),
    ("record_fan_activity, who follows", "follow_used"),
    ("record_fan_activity, who writes", "message_used"),
    ("record_fan_activity, a second time in one second", "NOT contains("),
    ("insert_fans", "INSERT"),
    ("update_fan", "union_id"),
    ("mark_unsubscribed", "gone_import"),
    ("redirect_customer", "merged_into"),
    ("insert_event_once", "at_key"),
    ("start_import", "TransactItems"),
    ("store_listed_page", "open_id_lines"),
    ("count_page", "followers_listed"),
    ("store_chunk_receipt", "chunk_0"),
    ("mark_page_done", "pages_done"),
    ("mark_shard_done", "shards_done"),
    ("advance_shard", "shard_4_by"),
    ("advance_shard, from where it stands", "shard_4_by"),
    ("record_import_requeue", "taken_up_by"),
    ("pause_import", "paused_until"),
    ("resume_import", "resumed_by"),
    ("end_import", "TransactItems"),
    ("create_message", "attribute_not_exists(pk)"),
    ("lease_messages", "first_claimed_at"),
    ("lease_messages, with windows", "window_used_by"),
    ("use_window", "window_used_by"),
    ("retake_message", "claimed_by = :before"),
    ("switch_channel", "SET #channel"),
    ("requeue_message", "tries"),
    ("store_ended_messages", "wechat_msg_id"),
    ("store_ended_messages, that WeChat settled", "wechat_msg_id"),
    ("restore_sent_records", "INSERT INTO"),
    ("record_delivery_status", ":sent"),
    ("begin_request", "attribute_not_exists(pk)"),
    ("begin_request, whose first died", "in_flight_until = :seen"),
    ("end_request", "answer"),
    ("abandon_request", "SET #in_flight_until"),
    ("join_waiting_line", "newest"),
    ("end_waiting_line", "newest = :newest"),
    ("store_timer", "\"Item\""),
    ("delete_timers", "DeleteRequest"),
    ("lease_timer_shard", "lease_until"),
    ("release_timer_shard", "REMOVE #lease_until"),
    ("store_quota_refusal", "refused_until"),
    ("record_job_failure", "FAILED"),
    ("count_requests", "requests"),
    ("begin_audit", "attribute_not_exists(pk)"),
    ("end_audit", "SET #outcome"),
];

/// When tokens are due.
const DUE: Due = Due::Wheel { slot: 7 };

/// The page of every consent in these rows.
fn consent_page() -> ConsentPage<'static> {
    ConsentPage { tenant: TENANT_ID, opened_at: NEW_YEAR_2025, expires_at: NEW_YEAR_2025 + 600 }
}

async fn page_of(code: &str, store: &Store) -> AuthorizationPage {
    store.authorization_page(&authorization::code_fingerprint(code)).await.unwrap().unwrap()
}

/// Stores what must exist before every write.
pub async fn prepare(store: &Store) {
    store.store_ticket(&Secret::new("ticket@@@1"), NEW_YEAR_2025).await.unwrap();
    for app_id in [APP_ID, OTHER_APP_ID] {
        store.store_authorization(app_id, "c1", Some(&token("t1")), &Secret::new("r1")).await.unwrap();
    }
    store.bind_account(account(APP_ID), Some(consent_page()), DUE).await.unwrap();
    store.create_binding(&binding("bnd_0")).await.unwrap();
    store.store_pre_auth_code(&binding("bnd_0"), "code@@@0", NEW_YEAR_2025 + 600).await.unwrap();
    store.record_fan_activity(fan("o1"), &FanActivity::Message, NEW_YEAR_2025, "M0").await.unwrap();
    store
        .insert_fans(
            TENANT_ID,
            APP_ID,
            &[FanDetails { info: &info("o2"), as_of: NEW_YEAR_2025, import_id: None }],
        )
        .await
        .unwrap();
    store.start_import(&import("imp_0", APP_ID, NEW_YEAR_2025)).await.unwrap();
    for id in ["msg_0", "msg_1"] {
        store.create_message(&message(id)).await.unwrap();
    }
}

/// Performs one write; returns its result as text. In parts, since one large future overflows a test's stack.
pub async fn perform(what: &str, store: &Store) -> String {
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

fn insert_result(done: bool) -> String {
    if done { "done" } else { "refused" }.to_owned()
}

fn salt() -> Secret {
    Secret::new("salt")
}

fn tenant(created_at: Timestamp) -> Tenant {
    let (id, name, time_zone) = (TENANT_ID.into(), "Tea house".into(), "Asia/Shanghai".into());
    Tenant { id, name, time_zone, status: TenantStatus::Active, created_at, revision: 0 }
}

fn api_key(id: &str) -> ApiKey {
    let scopes = Scope::ALL.map(|scope| scope.name().to_owned()).into();
    ApiKey {
        id: id.into(),
        tenant_id: TENANT_ID.into(),
        scopes,
        created_at: NEW_YEAR_2025,
        ..ApiKey::default()
    }
}

/// API keys and tenants' status.
async fn keys(name: &str, store: &Store) -> Option<String> {
    let all = [
        "create_key",
        "find_key",
        "revoke_key",
        "change_tenant",
        "delete_tenant",
        "mark_accounts_suspended",
        "erase_access",
    ];
    if !all.contains(&name) {
        return None;
    }
    let at = Timestamp::from_second(NEW_YEAR_2025).unwrap();
    store.create_tenant(&tenant(at), &api_key("key_1"), &Secret::new("oak_1")).await.unwrap();
    let suspended = TenantChange { status: Some(TenantStatus::Suspended), ..TenantChange::default() };
    let second = Secret::new("oak_2");
    let seen = match name {
        "create_key" => format!("{:?}", store.create_key(&api_key("key_2"), &second).await.unwrap()),
        "find_key" => {
            let known = store.find_key(&Secret::new("oak_1")).await.unwrap().unwrap();
            format!("{}, {}", known.key.id, known.key.last_used_at.is_some())
        }
        "revoke_key" => {
            store.create_key(&api_key("key_2"), &second).await.unwrap();
            let revoked = store.revoke_key(TENANT_ID, "key_2", LastKey::Keep).await.unwrap();
            format!("{revoked:?}, {:?}", store.revoke_key(TENANT_ID, "key_1", LastKey::Keep).await.unwrap())
        }
        "mark_accounts_suspended" => {
            store.mark_accounts_suspended(TENANT_ID, true).await.unwrap();
            format!("{}", store.account_entry_uncached(APP_ID).await.unwrap().unwrap().suspended)
        }
        "erase_access" => {
            store.erase_access(TENANT_ID).await.unwrap();
            format!("{:?}", store.account_of_any_tenant(APP_ID).await.unwrap())
        }
        "change_tenant" => {
            format!("{:?}", store.change_tenant(TENANT_ID, &suspended).await.unwrap().unwrap().status)
        }
        _ => {
            store.unbind_account(APP_ID, NEW_YEAR_2025 + 10_000, NEW_YEAR_2025 + 10_000).await.unwrap();
            store.change_tenant(TENANT_ID, &suspended).await.unwrap();
            let TenantDeletion::Deleted(gone) = store.delete_tenant(TENANT_ID).await.unwrap() else {
                panic!("it stays")
            };
            format!("{:?}", gone.status)
        }
    };
    let ids: Vec<_> = store.keys(TENANT_ID).await.unwrap().into_iter().map(|key| key.id).collect();
    Some(format!("{seen}, then {ids:?}"))
}

/// Tenants, accounts and bindings.
async fn accounts(name: &str, what: &str, store: &Store) -> Option<String> {
    Some(match name {
        "create_tenant" => {
            let created_at = Timestamp::from_second(NEW_YEAR_2025).unwrap();
            let tenant = tenant(created_at);
            store.create_tenant(&tenant, &api_key("key_1"), &Secret::new("oak_1")).await.unwrap();
            format!(
                "{:?}",
                store.find_key(&Secret::new("oak_1")).await.unwrap().map(|known| known.key.id.clone())
            )
        }
        "bind_account" => {
            let app = if what.contains("again") { APP_ID } else { OTHER_APP_ID };
            let bound = store.bind_account(account(app), Some(consent_page()), DUE).await.unwrap();
            format!("{bound:?}, {} bound", store.accounts_bound().await.unwrap())
        }
        "transfer_account" => {
            let owner = store.account_of_any_tenant(APP_ID).await.unwrap().unwrap();
            let new = AccountRecord { tenant_id: "ten_9".into(), ..account(APP_ID) };
            let done = store.transfer_account(&owner, new, DUE).await.unwrap();
            let (theirs, _) = store.accounts(TENANT_ID, 10, None).await.unwrap();
            let (ours, _) = store.accounts("ten_9", 10, None).await.unwrap();
            let bound = store.accounts_bound().await.unwrap();
            format!("{done}, {} and {}, {bound} bound", theirs.len(), ours.len())
        }
        "unbind_account" => {
            let changed =
                store.unbind_account(APP_ID, NEW_YEAR_2025 + 10_000, NEW_YEAR_2025 + 10_000).await.unwrap();
            format!("{changed}, {} bound", store.accounts_bound().await.unwrap())
        }
        "delete_account" => {
            store.unbind_account(APP_ID, NEW_YEAR_2025 + 10_000, NEW_YEAR_2025 + 10_000).await.unwrap();
            format!("{:?}", store.delete_account(TENANT_ID, APP_ID).await.unwrap())
        }
        "release_account" => {
            store.unbind_account(APP_ID, NEW_YEAR_2025 + 10_000, NEW_YEAR_2025 + 10_000).await.unwrap();
            format!("{:?}", store.release_account(APP_ID).await.unwrap())
        }
        "store_reply_rules" => {
            let rules = json!({"on_subscribe": null, "keywords": [], "default": {"msgtype": "text", "text": {"content": "Hello"}}});
            assert!(
                store.store_reply_rules(TENANT_ID, APP_ID, &ReplyRules::parse(rules).unwrap()).await.unwrap()
            );
            insert_result(store.reply_rules(TENANT_ID, APP_ID).await.unwrap().default.is_some())
        }
        "create_binding" => {
            store.create_binding(&binding("bnd_1")).await.unwrap();
            insert_result(store.binding(TENANT_ID, "bnd_1").await.unwrap().is_some())
        }
        "delete_binding" => {
            let was = store.delete_binding(TENANT_ID, "bnd_0").await.unwrap();
            format!("{was}, {} now", store.binding(TENANT_ID, "bnd_0").await.unwrap().is_some())
        }
        "record_authorization_event" => {
            store.record_authorization_event(&page_of("code@@@0", store).await).await.unwrap();
            insert_result(store.binding(TENANT_ID, "bnd_0").await.unwrap().unwrap().event_at.is_some())
        }
        "clear_authorization_event" => {
            let page = page_of("code@@@0", store).await;
            store.record_authorization_event(&page).await.unwrap();
            store.clear_authorization_event(&page).await.unwrap();
            insert_result(store.binding(TENANT_ID, "bnd_0").await.unwrap().unwrap().event_at.is_none())
        }
        "store_pre_auth_code" => {
            store.store_pre_auth_code(&binding("bnd_0"), "code@@@1", NEW_YEAR_2025 + 600).await.unwrap();
            format!("{:?}", page_of("code@@@1", store).await)
        }
        "end_binding" => {
            let reason = what.contains("refused").then_some(BindingRefusal::UnverifiedAccount);
            let ended = store
                .end_binding("bnd_0", BindingOutcome { app_id: APP_ID, name: "A", reason, code: "c" })
                .await
                .unwrap();
            format!("{:?}", ended.unwrap().status)
        }
        "record_consent_event" => {
            let page = page_of("code@@@0", store).await;
            store.record_consent_event(APP_ID, "c", Some(&page), NEW_YEAR_2025).await.unwrap();
            format!("{:?}", store.consent_event(APP_ID).await.unwrap())
        }
        "mark_binding_in_progress" => {
            store.mark_binding_in_progress(APP_ID).await.unwrap();
            format!("{:?}", store.consent_event(APP_ID).await.unwrap())
        }
        "clear_binding_in_progress" => {
            store.mark_binding_in_progress(APP_ID).await.unwrap();
            store.clear_binding_in_progress(APP_ID).await.unwrap();
            format!("{:?}", store.consent_event(APP_ID).await.unwrap())
        }
        "mark_component_event_seen" => {
            store.mark_component_event_seen("e").await.unwrap();
            format!("{:?}", store.component_event_seen_at("e").await.unwrap().is_some())
        }
        "begin_code_query" => {
            let page = page_of("code@@@0", store).await;
            let may = store.begin_code_query(&page).await.unwrap().is_some();
            format!("{may}, {} asked", store.binding(TENANT_ID, "bnd_0").await.unwrap().unwrap().asked.len())
        }
        "uncount_code_query" => {
            let owner = store.begin_code_query(&page_of("code@@@0", store).await).await.unwrap();
            store.uncount_code_query("bnd_0", owner.unwrap()).await.unwrap();
            format!("{} asked", store.binding(TENANT_ID, "bnd_0").await.unwrap().unwrap().asked.len())
        }
        "record_consent_time" => {
            let page = page_of("code@@@0", store).await;
            let first = store.record_consent_time(&page).await.unwrap();
            format!("{first}, {}", store.record_consent_time(&page).await.unwrap())
        }
        _ => return None,
    })
}

/// Tickets and tokens.
async fn credentials(name: &str, store: &Store) -> Option<String> {
    Some(match name {
        "store_platform_status" => {
            let component = store.component().await.unwrap();
            store.store_platform_status(&component, Some(7)).await.unwrap();
            format!("{:?}", store.platform_status().await.unwrap())
        }
        "store_ticket" => {
            store.store_ticket(&Secret::new("ticket@@@2"), NEW_YEAR_2025 + 600).await.unwrap();
            store.component().await.unwrap().ticket.unwrap().expose().to_owned()
        }
        "lease_ticket_push" => {
            let ours = store.lease_ticket_push(600).await.unwrap();
            format!("{ours}, {}", store.lease_ticket_push(600).await.unwrap())
        }
        "lease_component" => insert_result(store.lease_component(0, "lse_1".into()).await.unwrap().is_some()),
        "lease_authorizer" => {
            insert_result(store.lease_authorizer(APP_ID, 1, "lse_1".into()).await.unwrap().is_some())
        }
        "store_component_token" => {
            store.lease_component(0, "lse_1".into()).await.unwrap().unwrap();
            let kept = store.store_component_token("lse_1", &token("c1")).await.unwrap();
            format!("{kept}, version {}", store.component().await.unwrap().version)
        }
        "store_authorizer_token" => {
            store.lease_authorizer(APP_ID, 1, "lse_1".into()).await.unwrap().unwrap();
            let refresh = Secret::new("r2");
            let kept =
                store.store_authorizer_token(APP_ID, "lse_1", &token("t2"), &refresh, None).await.unwrap();
            format!("{kept}, version {}", store.authorizer(APP_ID).await.unwrap().unwrap().version)
        }
        "release_component" => {
            store.lease_component(0, "lse_1".into()).await.unwrap().unwrap();
            store.release_component("lse_1", None).await.unwrap();
            insert_result(store.component().await.unwrap().lease_until == 0)
        }
        "release_authorizer" => {
            store.lease_authorizer(APP_ID, 1, "lse_1".into()).await.unwrap().unwrap();
            let refusal = TokenRefusal { until: NEW_YEAR_2025 + 30, wait: 30, errcode: Some(50002) };
            store.release_authorizer(APP_ID, "lse_1", false, Some(refusal)).await.unwrap();
            insert_result(store.authorizer(APP_ID).await.unwrap().unwrap().lease_until == 0)
        }
        "store_authorization" => {
            let refresh = Secret::new("r3");
            let version =
                store.store_authorization(APP_ID, "c3", Some(&token("t3")), &refresh).await.unwrap().version;
            format!("version {version}, {}", store.authorizer(APP_ID).await.unwrap().unwrap().version)
        }
        "recover_refresh_token" => {
            let (lost, found) = (Secret::new("r1"), Secret::new("r9"));
            insert_result(store.recover_refresh_token(APP_ID, &lost, &found).await.unwrap())
        }
        "store_authorization_if_unchanged" => {
            let (seen, refresh) = (store.authorizer(APP_ID).await.unwrap(), Secret::new("r3"));
            let stored = store
                .store_authorization_if_unchanged(APP_ID, seen.as_ref(), "c3", None, &refresh)
                .await
                .unwrap();
            let now = store.authorizer(APP_ID).await.unwrap().unwrap();
            format!("version {}, {}, {:?}", stored.unwrap().version, now.version, now.due)
        }
        "delete_unbound_authorizer" => {
            for app_id in [APP_ID, OTHER_APP_ID] {
                let seen = store.authorizer(app_id).await.unwrap().unwrap();
                store.delete_unbound_authorizer(app_id, &seen).await.unwrap();
            }
            let mut is_there = Vec::new();
            for app_id in [APP_ID, OTHER_APP_ID] {
                is_there.push(store.authorizer(app_id).await.unwrap().is_some());
            }
            format!("{is_there:?}")
        }
        "store_refresh_tick" => {
            store.store_refresh_tick(NEW_YEAR_2025 / 60).await.unwrap();
            format!("{:?}", store.refresh_tick().await.unwrap())
        }
        _ => return None,
    })
}

/// Fans, events and imports.
async fn followers(name: &str, what: &str, store: &Store) -> Option<String> {
    Some(match name {
        "record_fan_activity" => {
            let follow = FanActivity::Followed { scene: Some("shelf".into()) };
            match what.rsplit(", ").next().unwrap() {
                "who follows" => {
                    store.record_fan_activity(fan("o3"), &follow, NEW_YEAR_2025, "E1").await.unwrap()
                }
                "who writes" => store
                    .record_fan_activity(fan("o1"), &FanActivity::Message, NEW_YEAR_2025 + 1, "M1")
                    .await
                    .unwrap(),
                _ => {
                    for (touch, identity) in [(&follow, "E1"), (&FanActivity::Unfollowed, "E2")] {
                        store.record_fan_activity(fan("o3"), touch, NEW_YEAR_2025, identity).await.unwrap();
                    }
                    let left = !store.fan(fan("o3")).await.unwrap().unwrap().subscribed;
                    store.record_fan_activity(fan("o3"), &follow, NEW_YEAR_2025, "E1").await.unwrap(); // comes once more
                    assert!(left, "the second one of a second counts");
                }
            }
            let fan = store.fan(fan("o3")).await.unwrap().unwrap_or_default();
            format!("{}, {:?}", fan.subscribed, fan.qr_scene_str)
        }
        "insert_fans" => {
            let (known, fresh) = (info("o2"), [info("o7"), info("o8")]);
            let all = [&known, &fresh[0], &fresh[1]].map(|info| FanDetails {
                info,
                as_of: NEW_YEAR_2025,
                import_id: None,
            });
            // a retried insert finds the fan and updates it instead: the stored item is the same
            let new = store.insert_fans(TENANT_ID, APP_ID, &all).await.unwrap();
            format!("{}, {}", new[0], store.fans(TENANT_ID, APP_ID, &["o2", "o7", "o8"]).await.unwrap().len())
        }
        "update_fan" => {
            let before = store.fan(fan("o2")).await.unwrap().unwrap();
            let mut info = info("o2");
            info.unionid = "u2".into();
            let details = FanDetails { info: &info, as_of: NEW_YEAR_2025 + 1, import_id: Some("imp_0") };
            let left = store.update_fan(&before, &details).await.unwrap();
            format!("{:?}", left == Some(before.customer_id))
        }
        "mark_unsubscribed" => {
            let marked = store.mark_unsubscribed(fan("o2"), "imp_0", NEW_YEAR_2025 + 10_000).await.unwrap();
            format!("{marked}, {}", store.fan(fan("o2")).await.unwrap().unwrap().subscribed)
        }
        "redirect_customer" => {
            let here = store.fan(fan("o2")).await.unwrap().unwrap().customer_id;
            store.redirect_customer(TENANT_ID, "cus_old", &here).await.unwrap();
            format!("{}", store.customer(TENANT_ID, "cus_old").await.unwrap().unwrap().fans.len())
        }
        "insert_event_once" => {
            let stored = store.insert_event_once(fan("o1"), &event("M1")).await.unwrap();
            let seen = store.insert_event_once(fan("o1"), &event("M1")).await.unwrap();
            let (events, _) = store.events(&[fan("o1")], None, 10, None).await.unwrap();
            let (stored, seen) =
                (matches!(stored, EventInsert::New), matches!(seen, EventInsert::Existing(_)));
            format!("{stored}, {seen}, {}", events.len())
        }
        "start_import" => {
            store.end_import(APP_ID, "imp_0", ImportStatus::Failed, None).await.unwrap();
            insert_result(matches!(
                store.start_import(&import("imp_1", APP_ID, NEW_YEAR_2025)).await.unwrap(),
                ImportStart::New
            ))
        }
        "store_listed_page" => {
            let kept =
                store.store_listed_page(&import("imp_0", APP_ID, NEW_YEAR_2025), 0, &page()).await.unwrap();
            let other = ListedPage { open_ids: vec!["o9".into()], ..page() };
            let again =
                store.store_listed_page(&import("imp_0", APP_ID, NEW_YEAR_2025), 0, &other).await.unwrap();
            format!("{:?}, {:?}", kept.open_ids, again.open_ids)
        }
        "count_page" => {
            let counted =
                store.count_page(&import("imp_0", APP_ID, NEW_YEAR_2025), 0, &page(), "job").await.unwrap();
            format!("{} listed on {} pages", counted.followers_listed, counted.pages_listed)
        }
        "store_chunk_receipt" => {
            format!("{:?}", store.store_chunk_receipt("imp_0", 0, 0, 100).await.unwrap())
        }
        "mark_page_done" => {
            format!("{:?}", store.mark_page_done(APP_ID, "imp_0", 0, 2).await.unwrap().pages_done)
        }
        "mark_shard_done" => {
            format!("{:?}", store.mark_shard_done(APP_ID, "imp_0", 3).await.unwrap().shards_done)
        }
        "advance_shard" => {
            let at = |from, to, by| {
                let import = import("imp_0", APP_ID, NEW_YEAR_2025);
                async move { store.advance_shard(&import, 4, from, to, by).await.unwrap() }
            };
            let from = what.contains("stands").then_some("cus_1");
            let ours = at(from, "cus_2", "job").await;
            let others = at(from, "cus_2", "other").await;
            let place = store.shard_progress(APP_ID, "imp_0").await.unwrap().remove(&4).unwrap();
            format!("{ours}, {others}, {place:?}")
        }
        "record_import_requeue" => {
            let ours =
                store.record_import_requeue(&import("imp_0", APP_ID, NEW_YEAR_2025), "job").await.unwrap();
            let others =
                store.record_import_requeue(&import("imp_0", APP_ID, NEW_YEAR_2025), "other").await.unwrap();
            format!("{ours}, {others}")
        }
        "pause_import" => {
            insert_result(store.pause_import(APP_ID, "imp_0", NEW_YEAR_2025 + 600, "quota").await.unwrap())
        }
        "resume_import" => {
            store.pause_import(APP_ID, "imp_0", NEW_YEAR_2025 + 600, "quota").await.unwrap();
            insert_result(store.resume_import(APP_ID, "imp_0", ResumedBy::Job("job")).await.unwrap())
        }
        "end_import" => {
            let ended = store.end_import(APP_ID, "imp_0", ImportStatus::Completed, None).await.unwrap();
            format!("{ended}, {}", store.running_import(APP_ID).await.unwrap().is_none())
        }
        _ => return None,
    })
}

/// Messages.
async fn messages(name: &str, what: &str, store: &Store) -> Option<String> {
    let template = Some(Channel::Template);
    Some(match name {
        "create_message" => insert_result(store.create_message(&message("msg_9")).await.unwrap().is_none()),
        "lease_messages" => {
            let window = [window(0)];
            let uses = if what.contains("windows") { &window[..] } else { &[] };
            let (claims, used) = lease_result(store, &["msg_0", "msg_1", "msg_none"], uses).await;
            let (again, _) = lease_result(store, &["msg_0"], &[]).await;
            format!("{claims:?}, {used:?}, {again:?}")
        }
        "use_window" => {
            let used = store.use_window(store.new_writer_id(), &window(0)).await.unwrap();
            let again = store.use_window(store.new_writer_id(), &window(0)).await.unwrap();
            format!("{used}, {again}, {}", store.fan(fan("o1")).await.unwrap().unwrap().message_used)
        }
        "retake_message" => {
            let message = store.message(TENANT_ID, "msg_0").await.unwrap().unwrap();
            let mut taken = Vec::new();
            for _ in 0..2 {
                let owner = store.new_writer_id();
                let claim = LeaseRetake {
                    message: &message,
                    owner,
                    at: NEW_YEAR_2025,
                    channel: template,
                    may_have_happened: false,
                };
                taken.push(store.retake_message(&claim).await.unwrap());
            }
            format!("{taken:?}")
        }
        "switch_channel" => {
            let owner = store.new_writer_id();
            store.lease_messages(owner, NEW_YEAR_2025, &[("msg_0", None)], &[]).await.unwrap();
            let ours = store.switch_channel("msg_0", owner, Channel::Template).await.unwrap();
            let others =
                store.switch_channel("msg_0", store.new_writer_id(), Channel::CustomerService).await.unwrap();
            format!("{ours}, {others}")
        }
        "requeue_message" => {
            let owner = store.new_writer_id();
            store.lease_messages(owner, NEW_YEAR_2025, &[("msg_0", template)], &[]).await.unwrap();
            let ours = store.requeue_message("msg_0", owner, false).await.unwrap();
            let others = store.requeue_message("msg_0", store.new_writer_id(), false).await.unwrap();
            // it is for those now who look at what was given back
            let (first, _) = lease_result(store, &["msg_0"], &[]).await;
            format!("{ours:?}, {others:?}, {first:?}")
        }
        "store_ended_messages" => {
            let (owner, stranger) = (store.new_writer_id(), store.new_writer_id());
            store
                .lease_messages(owner, NEW_YEAR_2025, &[("msg_0", template), ("msg_1", template)], &[])
                .await
                .unwrap();
            let mut sent = message("msg_0");
            (sent.status, sent.channel) = (MessageStatus::Sent, template);
            (sent.wechat_msg_id, sent.sent_at) = (Some("200163836".into()), Some(NEW_YEAR_2025 * 1000));
            let ended = EndedMessage { owner, message: sent.clone(), event: Some(event("Smsg_0")) };
            if what.contains("settled") {
                store.store_ended_messages(std::slice::from_ref(&ended)).await.unwrap();
                store.record_delivery_status("msg_0", MessageStatus::Delivered, None).await.unwrap();
            }
            let other = EndedMessage {
                owner: stranger,
                message: MessageRecord { id: "msg_1".into(), ..sent },
                event: None,
            };
            let kept = store.store_ended_messages(&[ended, other]).await.unwrap();
            let kept: Vec<_> = kept.into_iter().map(Result::unwrap).collect();
            let status = |id| async move { store.message(TENANT_ID, id).await.unwrap().unwrap().status };
            let found = store.message_by_wechat_id(TENANT_ID, APP_ID, "200163836").await.unwrap().is_some();
            format!("{kept:?}, {:?}, {:?}, {found}", status("msg_0").await, status("msg_1").await)
        }
        "restore_sent_records" => {
            let mut sent = message("msg_0");
            (sent.status, sent.channel) = (MessageStatus::Sent, template);
            (sent.wechat_msg_id, sent.sent_at) = (Some("200163836".into()), Some(NEW_YEAR_2025 * 1000));
            store.restore_sent_records(&sent).await.unwrap();
            let found = store.message_by_wechat_id(TENANT_ID, APP_ID, "200163836").await.unwrap();
            insert_result(found.is_some_and(|found| found.id == sent.id))
        }
        "record_delivery_status" => {
            let owner = store.new_writer_id();
            store.lease_messages(owner, NEW_YEAR_2025, &[("msg_0", template)], &[]).await.unwrap();
            let sent = MessageRecord { status: MessageStatus::Sent, channel: template, ..message("msg_0") };
            store.store_ended_messages(&[EndedMessage { owner, message: sent, event: None }]).await.unwrap();
            insert_result(
                store.record_delivery_status("msg_0", MessageStatus::Delivered, None).await.unwrap(),
            )
        }
        _ => return None,
    })
}

/// Requests, timers, quotas and audit.
async fn others(name: &str, what: &str, store: &Store) -> Option<String> {
    Some(match name {
        "begin_request" => {
            let salt = salt();
            let begin = || store.begin_request(TENANT_ID, "POST /v1/bindings", "key-1", "fingerprint", &salt);
            if what.contains("died") {
                begin().await.unwrap();
                store.abandon_request(TENANT_ID, "POST /v1/bindings", "key-1").await.unwrap();
            }
            let (first, second) = (begin().await.unwrap(), begin().await.unwrap());
            format!("{}, {}", idempotency_result(&first), idempotency_result(&second))
        }
        "end_request" => {
            let (route, key) = ("POST /v1/bindings", "key-1");
            store.begin_request(TENANT_ID, route, key, "fingerprint", &salt()).await.unwrap();
            store.end_request(TENANT_ID, route, key, 201, "{}").await.unwrap();
            idempotency_result(
                &store.begin_request(TENANT_ID, route, key, "fingerprint", &salt()).await.unwrap(),
            )
            .to_owned()
        }
        "abandon_request" => {
            let (route, key) = ("POST /v1/bindings", "key-1");
            store.begin_request(TENANT_ID, route, key, "fingerprint", &salt()).await.unwrap();
            store.abandon_request(TENANT_ID, route, key).await.unwrap();
            idempotency_result(
                &store.begin_request(TENANT_ID, route, key, "fingerprint", &salt()).await.unwrap(),
            )
            .to_owned()
        }
        "count_requests" => {
            store.count_requests(TENANT_ID, "read", (NEW_YEAR_2025 / 5, 5), 10).await.unwrap();
            "counted".to_owned() // a lost response may count twice, a small part of one window
        }
        "store_timer" | "delete_timers" => {
            let timer = StoredTimer {
                queue: "import".into(),
                body: "{}".into(),
                group: TENANT_ID.into(),
                once: "once".into(),
            };
            for id in ["one", "two", "three"] {
                store.store_timer("line", NEW_YEAR_2025 * 1000, id, &timer).await.unwrap();
            }
            let mut due = 0;
            for shard in timers::all_shards() {
                let page = store.due_timers(shard, NEW_YEAR_2025 * 1000, 10, None).await.unwrap();
                if what == "delete_timers" {
                    store.delete_timers(&page.timers).await.unwrap();
                }
                due += store.due_timers(shard, NEW_YEAR_2025 * 1000, 10, None).await.unwrap().timers.len();
            }
            format!("{due} due")
        }
        "join_waiting_line" | "end_waiting_line" => {
            let by = Channel::Template;
            let one = WaitingMessage { fan: fan("o1"), channel: by, message: "msg_1", created_at: 1 };
            store.join_waiting_line(&one, NEW_YEAR_2025 * 1000, true).await.unwrap();
            let two = WaitingMessage { message: "msg_2", created_at: 2, ..one };
            store.join_waiting_line(&two, NEW_YEAR_2025 * 1000 + 1, false).await.unwrap();
            store.join_waiting_line(&one, NEW_YEAR_2025 * 1000 + 2, true).await.unwrap(); // again, and is not the newest by that
            if what == "end_waiting_line" {
                store.end_waiting_line(fan("o1"), by, &waiting_line::position(1, "msg_1")).await.unwrap(); // it is not the newest
                store.end_waiting_line(fan("o1"), by, &waiting_line::position(2, "msg_2")).await.unwrap();
            }
            let wanted =
                SendContextRequest { waiting_lines: vec![(fan("o1"), by)], ..SendContextRequest::default() };
            format!("{:?}", store.send_context(&wanted).await.unwrap().waiting_line(fan("o1"), by).unwrap())
        }
        "lease_timer_shard" => {
            let ours = store.lease_timer_shard(3, "swp_1").await.unwrap();
            format!("{ours}, {}", store.lease_timer_shard(3, "swp_2").await.unwrap())
        }
        "release_timer_shard" => {
            store.lease_timer_shard(3, "swp_1").await.unwrap();
            store.release_timer_shard(3, "swp_1").await.unwrap();
            insert_result(store.lease_timer_shard(3, "swp_2").await.unwrap())
        }
        "store_quota_refusal" => {
            let refusal = QuotaRefusal {
                refused_until: NEW_YEAR_2025 + 3600,
                refused_at: NEW_YEAR_2025,
                errcode: 45009,
            };
            store.store_quota_refusal(APP_ID, "user_get", &refusal).await.unwrap();
            format!("{:?}", store.quota_refusal(APP_ID, "user_get").await.unwrap())
        }
        "record_job_failure" => {
            let failure = JobFailure { job: "f1".into(), why: "no".into(), at: NEW_YEAR_2025, receives: 40 };
            store.record_job_failure(&failure).await.unwrap();
            format!("{:?}", store.job_failures(&["f1"]).await.unwrap())
        }
        "begin_audit" | "end_audit" => {
            let entry = AuditEntry {
                id: shared::ids::derived_at(audit::AUDIT_ID_PREFIX, NEW_YEAR_2025 * 1000, &["1"]),
                at: NEW_YEAR_2025 * 1000,
                actor: Actor::operator("operator"),
                operation: "tenant.created".into(),
                target: TENANT_ID.into(),
                outcome: audit::STARTED.into(),
            };
            store.begin_audit(TENANT_ID, &entry).await.unwrap();
            if what == "end_audit" {
                store.end_audit(TENANT_ID, &entry, audit::SUCCEEDED).await.unwrap();
            }
            let (entries, _) =
                store.audit_entries(TENANT_ID, AuditFilter::default(), 10, None).await.unwrap();
            entries.into_iter().map(|entry| entry.outcome).collect()
        }
        _ => return None,
    })
}

async fn lease_result(store: &Store, ids: &[&str], uses: &[WindowUse<'_>]) -> (Vec<&'static str>, Vec<bool>) {
    let claims: Vec<_> = ids.iter().map(|id| (*id, Some(Channel::CustomerService))).collect();
    let (claims, used) =
        store.lease_messages(store.new_writer_id(), NEW_YEAR_2025, &claims, uses).await.unwrap();
    let word = |claim: LeaseAttempt| match claim {
        LeaseAttempt::Acquired => "ours",
        LeaseAttempt::AlreadyTaken(Some(message)) if message.status == MessageStatus::Sending => "another's",
        LeaseAttempt::AlreadyTaken(Some(_)) => "taken before",
        LeaseAttempt::AlreadyTaken(None) => "gone",
        LeaseAttempt::Failed(error) => panic!("{error}"),
    };
    (claims.into_iter().map(word).collect(), used)
}

fn idempotency_result(begun: &IdempotencyCheck) -> &'static str {
    match begun {
        IdempotencyCheck::Proceed { .. } => "first",
        IdempotencyCheck::Replay { .. } => "answered",
        IdempotencyCheck::InProgress => "in progress",
        IdempotencyCheck::KeyReused => "reused",
    }
}

fn window(used: u32) -> WindowUse<'static> {
    let mut windows = shared::model::window::Windows::default();
    (windows.message_at, windows.message_used) = (Some(NEW_YEAR_2025), used);
    WindowUse { fan: fan("o1"), kind: WindowKind::Message, windows }
}

fn token(text: &str) -> AccessToken {
    AccessToken { token: Secret::new(text), issued_at: NEW_YEAR_2025, expires_in: 7200 + TOKEN_LEASE_SECONDS }
}

fn binding(id: &str) -> Binding {
    let at = |seconds: i64| Timestamp::from_second(seconds).unwrap();
    Binding {
        id: id.into(),
        tenant_id: TENANT_ID.into(),
        status: BindingStatus::Pending,
        app_id: None,
        account_name: None,
        only_app_id: None,
        reason: None,
        return_url: None,
        created_at: at(NEW_YEAR_2025),
        expires_at: at(NEW_YEAR_2025 + 3600),
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
        "subscribe": 1, "openid": open_id, "language": "zh_CN", "subscribe_time": NEW_YEAR_2025 - 100,
        "remark": "VIP", "groupid": 0, "tagid_list": [2, 128], "subscribe_scene": "ADD_SCENE_QR_CODE",
        "qr_scene": 98765, "qr_scene_str": "",
    }))
    .unwrap()
}
