//! Items written by any release can still be read.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use dynoxide::Database;
use jiff::Timestamp;
use oahub_harness::{deployment::SimulatedDeployment, dynamo};
use oahub_tests::fixtures::{
    APP_ID, NEW_YEAR_2025, TENANT_ID, account, binding, event, fan, import, message, user_info,
};
use serde_json::{Value, json};
use shared::{
    ids,
    model::{
        account::AccountStatus,
        api_key::ApiKey,
        audit::{Actor, AuditEntry, STARTED, SUCCEEDED},
        authorization,
        binding::{Binding, BindingOutcome, BindingStatus},
        binding_refusal::BindingRefusal,
        consent::ConsentPage,
        credentials::AccessToken,
        event::{StoredEvent, TimelineOwner},
        failure_code::FailureCode,
        fan::FanId,
        import::ImportStatus,
        job_failure::JobFailure,
        listed_page::ListedPage,
        message::{Channel, MessageError, MessageStatus},
        platform_status::PlatformStatus,
        push_decision::FanActivity,
        quota::QuotaRefusal,
        reply_rules::ReplyRules,
        scope::Scope,
        tenant::{Tenant, TenantStatus},
        token::Due,
        waiting_line::{self, WaitingLine, WaitingMessage},
    },
    queue::jobs::{ImportJob, ImportRef},
    quota::QuotaApi,
    secret::Secret,
    services::Services,
    store::{
        api_keys::{KeyRevocation, LastKey},
        audit::AuditFilter,
        fans::FanDetails,
        idempotency::IdempotencyCheck,
        message_leases::{LeaseAttempt, LeaseRetake},
        messages::EndedMessage,
        refresh_wheel::wheel_slot,
        send_context::SendContextRequest,
        tenants::TenantChange,
        timeline::EventInsert,
    },
    timers,
    wechat::user::UserInfo,
};

use crate::{compare_with_golden, on_paused_time, releases};

const TABLES: [&str; 5] =
    ["PlatformTable", "CredentialsTable", "CustomersTable", "TimelineTable", "WorkTable"];
/// When a timer is due, unix seconds.
const TIMER_DUE: i64 = NEW_YEAR_2025 + 7200;
const QUEUED_MESSAGE: WaitingMessage<'static> = WaitingMessage {
    fan: FanId { tenant: TENANT_ID, app_id: APP_ID, open_id: "o1" },
    channel: Channel::Template,
    message: "msg_1",
    created_at: NEW_YEAR_2025 * 1000,
};
const QUOTA_REFUSAL: QuotaRefusal =
    QuotaRefusal { refused_until: NEW_YEAR_2025 + 3600, refused_at: NEW_YEAR_2025, errcode: 45009 };

fn failure() -> JobFailure {
    JobFailure { job: "f1".into(), why: "WeChat: -1: system error".into(), at: NEW_YEAR_2025, receives: 40 }
}

/// Empty tables, and the store over them.
pub async fn empty_store() -> (Arc<SimulatedDeployment>, Arc<Services>) {
    let world = SimulatedDeployment::new(1);
    world.backends.faults.disable_latency();
    world.create_tables().await;
    let app = world.services();
    (world, app)
}

fn token(text: &str) -> AccessToken {
    AccessToken { token: Secret::new(text), issued_at: NEW_YEAR_2025, expires_in: 7200 }
}

/// The timeline of the account itself.
const ACCOUNT_OWNER: TimelineOwner<'_> = TimelineOwner::Account { tenant: TENANT_ID, app_id: APP_ID };

fn broadcast_event() -> StoredEvent {
    StoredEvent {
        kind: "broadcast_delivered".into(),
        open_id: String::new(),
        detail: r#"{"MsgType":"event","Event":"MASSSENDJOBFINISH","Status":"send success"}"#.into(),
        reply: None,
        sends: None,
        ..event("E0123")
    }
}

/// Writes one item of every family, through the store.
async fn write(app: &Services) {
    let store = &app.store;
    store.idempotency().begin(TENANT_ID, "POST /v1/bindings", "key-1", "fingerprint", &salt()).await.unwrap();
    store.idempotency().end(TENANT_ID, "POST /v1/bindings", "key-1", 201, r#"{"id":"bnd_1"}"#).await.unwrap();
    store.tenants().create(&tenant(), &key(), &Secret::new("oak_1")).await.unwrap();
    let due = Due::Wheel { slot: 7 };
    store
        .authorizers()
        .store_authorization(
            APP_ID,
            &authorization::code_fingerprint("queryauthcode@@@1"),
            Some(&token("authorizer")),
            &Secret::new("refresh@@@1"),
        )
        .await
        .unwrap();
    let page =
        ConsentPage { tenant: TENANT_ID, opened_at: NEW_YEAR_2025 - 60, expires_at: NEW_YEAR_2025 + 540 };
    store.accounts().bind(account(APP_ID), Some(page), due).await.unwrap();
    let rules = json!({
        "on_subscribe": {"msgtype": "text", "text": {"content": "Welcome"}},
        "keywords": [{"keyword": "menu", "match": "contains", "reply": {"msgtype": "text", "text": {"content": "Tea"}}}],
        "default": {"msgtype": "transfer_customer_service"},
    });
    assert!(
        store.reply_rules().replace(TENANT_ID, APP_ID, &ReplyRules::parse(rules).unwrap()).await.unwrap()
    );
    let at = |seconds: i64| Timestamp::from_second(seconds).unwrap();
    let binding = Binding {
        only_app_id: Some(APP_ID.into()),
        return_url: Some("https://tea.example/settings".into()),
        ..binding("bnd_1")
    };
    store.bindings().create(&binding).await.unwrap();
    let page =
        store.bindings().store_pre_auth_code(&binding, "preauthcode@@@1", NEW_YEAR_2025 + 600).await.unwrap();
    store.bindings().record_authorization_event(&page).await.unwrap();
    store.consents().record_event(APP_ID, "queryauthcode@@@1", Some(&page), NEW_YEAR_2025).await.unwrap();
    assert!(store.bindings().begin_code_query(&page).await.unwrap().is_some());
    let ended = BindingOutcome {
        app_id: APP_ID,
        name: "Harbour Coffee",
        reason: Some(BindingRefusal::UnverifiedAccount),
        code: "fingerprint",
    };
    store.bindings().end("bnd_1", ended).await.unwrap();
    store.component_events().mark_seen("fingerprint").await.unwrap();

    store.component().store_ticket(&Secret::new("ticket@@@1"), NEW_YEAR_2025).await.unwrap();
    let lease = store.component().lease(0, "lse_1".into()).await.unwrap().unwrap();
    assert!(store.component().store_token(&lease.owner, &token("component")).await.unwrap());
    store.refresh_wheel().store_tick(NEW_YEAR_2025 / 60).await.unwrap();
    store.platform_status().store(&store.component().get().await.unwrap(), Some(7)).await.unwrap();

    let follow = FanActivity::Followed { scene: Some("shelf".into()) };
    store.fans().record_activity(fan("o1"), &follow, NEW_YEAR_2025, "E1").await.unwrap();
    store.fans().record_activity(fan("o1"), &FanActivity::Message, NEW_YEAR_2025 + 1, "M1").await.unwrap();
    let info = UserInfo { unionid: "u2".into(), ..user_info("o2") };
    let details = FanDetails { info: &info, as_of: NEW_YEAR_2025, import_id: Some("imp_1") };
    assert_eq!(store.fans().insert(TENANT_ID, APP_ID, &[details]).await.unwrap(), [true]);
    store
        .customers()
        .redirect(TENANT_ID, "cus_old", &shared::model::fan::unionid_customer_id(TENANT_ID, "u2"))
        .await
        .unwrap();
    assert!(matches!(store.timeline().insert_once(fan("o1"), &event("M1")).await.unwrap(), EventInsert::New));
    assert!(matches!(
        store.timeline().insert_once(ACCOUNT_OWNER, &broadcast_event()).await.unwrap(),
        EventInsert::New
    ));

    store.imports().start(&import("imp_1", APP_ID, NEW_YEAR_2025)).await.unwrap();
    let page =
        ListedPage { open_ids: vec!["o1".into(), "o2".into()], next_cursor: None, total: 2, cut: None };
    let running = store.imports().get(APP_ID, "imp_1").await.unwrap().unwrap();
    store.import_progress().store_page(&running, 0, &page).await.unwrap();
    store.import_progress().count_page(&running, 0, &page, "job-1").await.unwrap();
    store.import_progress().store_receipt("imp_1", 0, 0, 2).await.unwrap();
    store.import_progress().mark_page_done(APP_ID, "imp_1", 0, 2).await.unwrap();
    store.import_progress().mark_shard_done(APP_ID, "imp_1", 3).await.unwrap();
    assert!(store.import_progress().advance_shard(&running, 4, None, "cus_1", "job-2").await.unwrap());
    assert!(store.imports().record_requeue(&running, "job-3").await.unwrap());
    store.imports().pause(APP_ID, "imp_1", NEW_YEAR_2025 + 600, "quota").await.unwrap();

    store.messages().create(&message("msg_1")).await.unwrap();
    let (mut sent, owner) = (message("msg_2"), store.new_writer_id());
    store.messages().create(&sent).await.unwrap();
    store.messages().create(&message("msg_3")).await.unwrap();
    let claims = [("msg_2", Some(Channel::Template)), ("msg_3", None)];
    store.message_leases().acquire(owner, NEW_YEAR_2025, &claims, &[]).await.unwrap();
    (sent.status, sent.channel) = (MessageStatus::Sent, Some(Channel::Template));
    (sent.wechat_msg_id, sent.sent_at) = (Some("200163836".into()), Some(NEW_YEAR_2025 * 1000));
    let mut failed = message("msg_3");
    failed.status = MessageStatus::Failed;
    let error = MessageError { code: FailureCode::WechatError, errcode: Some(40003), detail: "no".into() };
    failed.error = Some(error);
    let ended = [
        EndedMessage { owner, message: sent, event: Some(event("Smsg_2")) },
        EndedMessage { owner, message: failed, event: None },
    ];
    for noted in store.messages().store_ended(&ended).await.unwrap() {
        assert!(noted.unwrap());
    }
    let of = ImportRef { import_id: "imp_1".into(), app_id: APP_ID.into(), tenant_id: TENANT_ID.into() };
    let resume = ImportJob::ResumeV1 { import: of };
    timers::set(app, "imp_1", at(TIMER_DUE), timers::TimerJob::Import(&resume)).await.unwrap();
    assert!(store.timers().lease_shard(3, "swp_1").await.unwrap());
    store.quotas().store_refusal(APP_ID, QuotaApi::UserGet.name(), &QUOTA_REFUSAL).await.unwrap();
    store.waiting_lines().join(&QUEUED_MESSAGE, TIMER_DUE * 1000, true).await.unwrap();
    for status in [TenantStatus::Suspended, TenantStatus::Active] {
        let change = TenantChange { status: Some(status), ..TenantChange::default() };
        store.tenants().change(TENANT_ID, &change).await.unwrap();
        if status == TenantStatus::Suspended {
            store.accounts().mark_suspended(TENANT_ID, true).await.unwrap();
        }
    }
    store.request_counts().add(TENANT_ID, "read", (NEW_YEAR_2025 / 5, 5), 10).await.unwrap();
    store.job_failures().record(&failure()).await.unwrap();
    store.audit().begin(TENANT_ID, &audit_entry()).await.unwrap();
    store.audit().end(TENANT_ID, &audit_entry(), SUCCEEDED).await.unwrap();
}

fn salt() -> Secret {
    Secret::new("salt-1")
}

fn audit_entry() -> AuditEntry {
    AuditEntry {
        id: ids::earliest_at("aud", NEW_YEAR_2025 * 1000),
        at: NEW_YEAR_2025 * 1000,
        actor: Actor::key("key_1"),
        operation: "account.deleted".into(),
        target: APP_ID.into(),
        outcome: STARTED.into(),
    }
}

fn tenant() -> Tenant {
    Tenant {
        id: TENANT_ID.into(),
        name: "Tea house".into(),
        time_zone: "Asia/Shanghai".into(),
        status: TenantStatus::Active,
        created_at: Timestamp::from_second(NEW_YEAR_2025).unwrap(),
        revision: 0,
    }
}

fn key() -> ApiKey {
    ApiKey {
        id: "key_1".into(),
        tenant_id: TENANT_ID.into(),
        name: "First key".into(),
        prefix: "oak_1".into(),
        scopes: Scope::ALL.map(|scope| scope.name().to_owned()).into(),
        created_at: NEW_YEAR_2025,
        expires_at: None,
        last_used_at: Some(NEW_YEAR_2025),
        made_by: Some(Actor::operator("operator")),
    }
}

/// Reads one item of every family, through the store.
async fn read(app: &Services) {
    let store = &app.store;
    let stored = store.tenants().get(TENANT_ID).await.unwrap().unwrap();
    // since 0.2 it was suspended and activated
    assert_eq!(Tenant { revision: tenant().revision, ..stored.clone() }, tenant());
    let known = store.api_keys().find(&Secret::new("oak_1")).await.unwrap().unwrap();
    assert!(known.tenant.id == TENANT_ID && Scope::ALL.into_iter().all(|scope| known.key.grants(scope)));
    let keys = store.api_keys().list(TENANT_ID).await.unwrap();
    assert_eq!(
        keys.as_slice(),
        std::slice::from_ref(&known.key),
        "a key is listed, whatever release made it"
    );
    assert_eq!(
        store.api_keys().revoke(TENANT_ID, &keys[0].id, LastKey::Keep).await.unwrap(),
        KeyRevocation::LastKey
    );
    assert_eq!(store.tenants().list(10, None).await.unwrap().0, [stored]);
    let bound = store.accounts().get(TENANT_ID, APP_ID).await.unwrap().unwrap();
    assert_eq!((bound.status, bound.verified, bound.granted.len()), (AccountStatus::Bound, true, 8));
    assert_eq!(store.accounts().list(TENANT_ID, 10, None).await.unwrap().0.len(), 1);
    assert_eq!(store.accounts().count_bound().await.unwrap(), 1);
    let rules = store.reply_rules().get(TENANT_ID, APP_ID).await.unwrap();
    assert!(rules.on_subscribe.is_some() && rules.default.is_some() && rules.keywords.len() == 1);
    let binding = store.bindings().get(TENANT_ID, "bnd_1").await.unwrap().unwrap();
    assert_eq!(binding.status, BindingStatus::Refused);
    assert_eq!(binding.reason, Some(BindingRefusal::UnverifiedAccount));
    assert_eq!(binding.return_url.as_deref(), Some("https://tea.example/settings"));

    let component = store.component().get().await.unwrap();
    assert_eq!(component.ticket.unwrap().expose(), "ticket@@@1");
    assert_eq!((component.token.unwrap().expires_in, component.version), (7200, 1));
    let tokens = store.authorizers().get(APP_ID).await.unwrap().unwrap();
    assert_eq!(tokens.refresh_token.expose(), "refresh@@@1");
    assert_eq!((tokens.token.as_ref().unwrap().issued_at, wheel_slot(&tokens)), (NEW_YEAR_2025, Some(7)));
    assert_eq!(tokens.tenant_id, TENANT_ID);
    assert_eq!(store.refresh_wheel().due_in_slot(7).await.unwrap(), [APP_ID]);
    assert_eq!(store.refresh_wheel().last_tick().await.unwrap(), Some(NEW_YEAR_2025 / 60));

    let follower = store.fans().get(fan("o1")).await.unwrap().unwrap();
    assert_eq!((follower.subscribed, follower.message_at), (true, Some(NEW_YEAR_2025 + 1)));
    assert_eq!(follower.qr_scene_str.as_deref(), Some("shelf"));
    let person = store.customers().get(TENANT_ID, "cus_old").await.unwrap().unwrap();
    let imported = person.fans.iter().find(|f| f.open_id == "o2").unwrap();
    assert_eq!((imported.tag_ids.as_slice(), imported.remark.as_deref()), ([2, 128].as_slice(), Some("VIP")));
    assert_eq!(imported.seen_import.as_deref(), Some("imp_1"));
    let EventInsert::Existing(seen) = store.timeline().insert_once(fan("o1"), &event("M1")).await.unwrap()
    else {
        panic!("an event that was stored is taken for new")
    };
    assert_eq!(*seen, event("M1"));
    let timeline = store.timeline().list(&[fan("o1")], None, 10, None).await.unwrap().0;
    let kinds: Vec<_> = timeline.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(
        kinds,
        ["message_sent", "message_received", "message_sent", "message_received"],
        "with replies"
    );

    let paused = store.imports().running(APP_ID).await.unwrap().unwrap();
    assert_eq!((paused.status, paused.paused_until), (ImportStatus::Paused, Some(NEW_YEAR_2025 + 600)));
    assert_eq!((paused.followers_imported(), paused.all_pages_imported()), (2, true));
    assert_eq!(paused.shards_done, [3]);
    assert_eq!(store.import_progress().page("imp_1", 0).await.unwrap().unwrap().open_ids.len(), 2);
    assert_eq!(
        store.import_progress().all_receipts("imp_1").await.unwrap(),
        BTreeMap::from([(0, BTreeMap::from([(0, 2)]))])
    );
    assert_eq!(
        store.messages().get(TENANT_ID, "msg_1").await.unwrap().unwrap().status,
        MessageStatus::Queued
    );
    let (owner, at) = (store.new_writer_id(), NEW_YEAR_2025);
    let (mut claims, _) = store.message_leases().acquire(owner, at, &[("msg_1", None)], &[]).await.unwrap();
    match claims.pop() {
        Some(LeaseAttempt::Acquired) => {}
        Some(LeaseAttempt::AlreadyTaken(Some(message))) => {
            let claim = LeaseRetake { message: &message, owner, at, channel: None, may_have_happened: false };
            assert!(
                store.message_leases().retake(&claim).await.unwrap(),
                "a message of 0.1 can be taken by nobody"
            );
        }
        other => panic!("{other:?}"),
    }
    let sent = store.messages().by_wechat_id(TENANT_ID, APP_ID, "200163836").await.unwrap().unwrap();
    assert_eq!((sent.status, sent.channel), (MessageStatus::Sent, Some(Channel::Template)));
    let failed = store.messages().get(TENANT_ID, "msg_3").await.unwrap().unwrap();
    assert_eq!(failed.error.unwrap().errcode, Some(40003));
    let begun = store
        .idempotency()
        .begin(TENANT_ID, "POST /v1/bindings", "key-1", "fingerprint", &salt())
        .await
        .unwrap();
    assert!(matches!(begun, IdempotencyCheck::Replay { status: 201, .. }), "a repetition is taken for new");

    // and what had been started can be completed
    assert!(store.imports().end(APP_ID, "imp_1", ImportStatus::Completed, None).await.is_ok());
    assert!(store.imports().running(APP_ID).await.unwrap().is_none());
}

/// Reads the items introduced after the first release.
async fn read_since_first_release(app: &Services) {
    let account = app.store.accounts().entry_uncached(APP_ID).await.unwrap().unwrap();
    assert!(account.suspended && account.rules == ReplyRules::default(), "what is suspended answers nothing");
    let status = app.store.platform_status().get().await.unwrap();
    let expected = PlatformStatus {
        ticket_at: Some(NEW_YEAR_2025),
        component_token_expires_at: Some(NEW_YEAR_2025 + 7200),
        tokens_expiring: 7,
    };
    assert_eq!(status, expected);
    assert_eq!(
        app.store.request_counts().add(TENANT_ID, "read", (NEW_YEAR_2025 / 5, 5), 5).await.unwrap(),
        15
    );
    let audit = app.store.audit().list(TENANT_ID, AuditFilter::default(), 10, None).await.unwrap().0;
    assert_eq!(audit, [AuditEntry { outcome: SUCCEEDED.into(), ..audit_entry() }]);
    assert_eq!(
        app.store.timeline().list(&[ACCOUNT_OWNER], None, 10, None).await.unwrap().0,
        [broadcast_event()]
    );
    let store = &app.store;
    let mut timers = Vec::new();
    for shard in timers::all_shards() {
        assert!(store.timers().due(shard, TIMER_DUE * 1000 - 1, 10, None).await.unwrap().timers.is_empty());
        timers.extend(store.timers().due(shard, TIMER_DUE * 1000, 10, None).await.unwrap().timers);
    }
    let [timer] = timers.as_slice() else { panic!("{timers:?}") };
    assert_eq!((timer.timer.queue.as_str(), timer.timer.group.as_str()), ("import", TENANT_ID));
    assert!(serde_json::from_str::<ImportJob>(&timer.timer.body).is_ok());
    let (fans, lines) = (vec![QUEUED_MESSAGE.fan], vec![(QUEUED_MESSAGE.fan, QUEUED_MESSAGE.channel)]);
    let wanted = SendContextRequest {
        fans,
        waiting_lines: lines,
        accounts: vec![APP_ID],
        ..SendContextRequest::default()
    };
    let context = store.send_contexts().read(&wanted).await.unwrap();
    let newest = waiting_line::position(QUEUED_MESSAGE.created_at, QUEUED_MESSAGE.message);
    let line = WaitingLine { until: TIMER_DUE * 1000, first: QUEUED_MESSAGE.message.into(), newest };
    assert_eq!(context.waiting_line(QUEUED_MESSAGE.fan, QUEUED_MESSAGE.channel).unwrap(), Some(line));
    assert!(context.fan(fan("o1")).unwrap().is_some() && context.account(APP_ID).unwrap().is_some());
    assert_eq!(store.quotas().refusal(APP_ID, QuotaApi::UserGet.name()).await.unwrap(), Some(QUOTA_REFUSAL));
    assert_eq!(store.job_failures().get_many(&["f1"]).await.unwrap()["f1"], failure());
}

/// All items of all tables, as DynamoDB has them, sorted by table and key.
fn dump(db: &Database) -> Value {
    let of = |table: &str| -> Value {
        let answer = dynamo::call_ok(db, "Scan", &json!({ "TableName": table }));
        let mut items: Vec<Value> = answer["Items"].as_array().unwrap().iter().map(normalized).collect();
        items.sort_by_key(|item| (item["pk"].to_string(), item["sk"].to_string()));
        items.into()
    };
    TABLES.iter().map(|table| ((*table).to_owned(), of(table))).collect::<serde_json::Map<_, _>>().into()
}

/// With sorted members, and with the random ids of writers replaced.
fn normalized(value: &Value) -> Value {
    const RANDOM_ATTRIBUTES: [&str; 3] = ["authorized_by", "claimed_by", "written_by"];
    match value {
        Value::Object(members) => {
            let shown = |(name, value): (&String, &Value)| match RANDOM_ATTRIBUTES.contains(&name.as_str()) {
                true if value["S"] != "" => (name.clone(), json!({"S": "0123456789abcdef"})),
                _ => (name.clone(), normalized(value)),
            };
            let members: BTreeMap<_, _> = members.iter().map(shown).collect();
            members.into_iter().collect::<serde_json::Map<_, _>>().into()
        }
        Value::Array(values) => values.iter().map(normalized).collect(),
        other => other.clone(),
    }
}

#[test]
fn what_is_written_today_is_what_the_examples_say() {
    on_paused_time(async {
        let (world, app) = empty_store().await;
        write(&app).await;
        compare_with_golden("items", &dump(&world.backends.db));
        read(&app).await;
        read_since_first_release(&app).await;
    });
}

#[test]
fn what_a_release_wrote_is_read() {
    for (release, examples) in releases("items") {
        on_paused_time(async {
            let (world, app) = empty_store().await;
            for table in TABLES {
                let items = examples[table].as_array().unwrap();
                assert!(!items.is_empty(), "{release} has nothing in {table}");
                for item in items {
                    dynamo::call_ok(
                        &world.backends.db,
                        "PutItem",
                        &json!({ "TableName": table, "Item": item }),
                    );
                }
            }
            println!("items of {release}");
            if release != "0.1" {
                read_since_first_release(&app).await;
            }
            read(&app).await;
        });
    }
}

/// The table at the head of `shared/src/store/keys.rs` names every family.
#[test]
fn every_item_family_has_an_example() {
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/src/store/keys.rs");
    let keys = fs::read_to_string(keys).unwrap();
    let examples = releases("items").into_iter().find(|(release, _)| release == crate::UNRELEASED).unwrap().1;
    let mut families = 0;
    for row in keys.lines().filter_map(|line| line.strip_prefix("//! | ")) {
        let cells: Vec<_> = row.split(" | ").collect();
        let [table, what, pk, sk, ..] = cells.as_slice() else { continue };
        let named = |cell: &str| cell.trim_matches('`').split('<').next().unwrap().to_owned();
        let table = match *table {
            "platform" => "PlatformTable",
            "credentials" => "CredentialsTable",
            "customers" => "CustomersTable",
            "timeline" => "TimelineTable",
            "work" => "WorkTable",
            _ => continue,
        };
        // a key described in words (push identity) matches any
        let fits = |key: &Value, cell: &str| {
            let key = key["S"].as_str().unwrap();
            !cell.starts_with('`') || key.starts_with(&named(cell))
        };
        let found =
            examples[table].as_array().unwrap().iter().any(|i| fits(&i["pk"], pk) && fits(&i["sk"], sk));
        assert!(found, "{what} of {table} has no example: write one in tests/golden/items.rs");
        families += 1;
    }
    assert!(families >= 20, "{families} families were found");
}
