//! Pages of listings are bounded by the bytes they read and return, not by the caller's limit alone.

use std::time::Duration;

use oahub_harness::deployment::SimulatedDeployment;
use serde_json::json;
use shared::{
    ids,
    store::{
        Store,
        audit::{AUDIT_ID_PREFIX, Actor, AuditEntry, AuditFilter, SUCCEEDED},
        fans::{Fan, FanDetails, FanId},
        timeline::StoredEvent,
    },
    wechat::user::UserInfo,
};
use tokio::time::Instant;

use crate::on_paused_time;

const FAN: FanId<'_> = FanId { tenant: "ten_1", app_id: "wx1", open_id: "o1" };

async fn put(store: &Store, number: i64, kind: &str, bytes: usize) {
    let event: StoredEvent = serde_json::from_value(json!({
        "sk": format!("M{number}"), "type": kind, "at": 1_735_689_600 + number, "app_id": "wx1", "open_id": "o1",
        "detail": json!({"Content": "x".repeat(bytes)}).to_string(),
    }))
    .unwrap();
    store.insert_event_once(FAN, &event).await.unwrap();
}

#[test]
fn large_events_come_in_pages_that_lambda_can_answer() {
    on_paused_time(async {
        let world = SimulatedDeployment::new(1);
        world.create_tables().await;
        let app = world.services();
        for number in 0..12 {
            put(&app.store, number, "message_received", 256 * 1024).await;
        }
        let (mut seen, mut before, mut pages) = (Vec::new(), None, 0);
        loop {
            let (events, next) = app.store.events(&[FAN], None, 200, before.as_deref()).await.unwrap();
            let bytes: usize = events.iter().map(|event| event.detail.len()).sum();
            assert!(bytes <= 1024 * 1024 || events.len() == 1, "{bytes} bytes in one page");
            seen.extend(events.into_iter().map(|event| event.identity));
            pages += 1;
            before = next;
            if before.is_none() {
                break;
            }
        }
        let all: Vec<_> = (0..12).rev().map(|number| format!("M{number}")).collect();
        assert_eq!((seen, pages), (all, 4));
    });
}

/// DynamoDB ends a page at 1 MB of what it looked at, whatever a filter leaves of it: an empty page is not the end.
#[test]
fn a_page_of_which_the_filter_leaves_nothing_leads_on() {
    on_paused_time(async {
        let world = SimulatedDeployment::new(1);
        world.create_tables().await;
        let app = world.services();
        let store = &app.store;
        put(store, 0, "subscribed", 10).await;
        for number in 1..=12 {
            put(store, number, "message_received", 256 * 1024).await;
        }
        let (mut seen, mut before) = (Vec::new(), None);
        loop {
            let (events, next) =
                store.events(&[FAN], Some("subscribed"), 10, before.as_deref()).await.unwrap();
            seen.extend(events.into_iter().map(|event| event.identity));
            before = next;
            if before.is_none() {
                break;
            }
        }
        assert_eq!(seen, ["M0"], "an event behind 3 MB of others");

        let entry = |n: i64, operation: &str| AuditEntry {
            id: ids::earliest_at(AUDIT_ID_PREFIX, 1_735_689_600_000 + n),
            at: 1_735_689_600_000 + n,
            actor: Actor::key("key_1"),
            operation: operation.into(),
            target: "x".repeat(2_000),
            outcome: SUCCEEDED.into(),
        };
        store.begin_audit("ten_1", &entry(0, "account.deleted")).await.unwrap();
        for n in 1..=1_100 {
            store.begin_audit("ten_1", &entry(n, "reply_rules.replaced")).await.unwrap();
        }
        let filter = AuditFilter { operation: Some("account.deleted"), ..AuditFilter::default() };
        let (mut seen, mut before, mut pages) = (Vec::new(), None, 0);
        loop {
            let (entries, next) = store.audit_entries("ten_1", filter, 200, before.as_deref()).await.unwrap();
            seen.extend(entries.into_iter().map(|entry| entry.operation));
            pages += 1;
            before = next;
            if before.is_none() {
                break;
            }
        }
        assert_eq!((seen, pages), (vec!["account.deleted".to_owned()], 2), "an entry behind 2 MB of others");

        let remark = "x".repeat(60_000);
        let infos: Vec<_> = (0..600)
            .map(|n| UserInfo {
                openid: format!("o{n:03}"),
                subscribe: Some(1),
                remark: remark.clone(),
                tagid_list: if n == 599 { vec![7] } else { Vec::new() },
                ..UserInfo::default()
            })
            .collect();
        let details: Vec<_> =
            infos.iter().map(|info| FanDetails { info, as_of: 1_735_689_600, import_id: None }).collect();
        store.insert_fans("ten_1", "wx1", &details).await.unwrap();
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let tagged = |fan: &Fan| fan.tag_ids.contains(&7);
            let (people, next) = store.list_customers("ten_1", 200, cursor, tagged).await.unwrap();
            seen.extend(people.into_iter().flat_map(|person| person.fans).map(|fan| fan.open_id));
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, ["o599"], "a customer among 36 MB of others");
    });
}

#[test]
fn the_newest_of_one_type_takes_few_requests_however_far_back_it_is() {
    on_paused_time(async {
        let world = SimulatedDeployment::new(1);
        world.create_tables().await;
        let app = world.services();
        put(&app.store, 0, "subscribed", 10).await;
        for number in 1..500 {
            put(&app.store, number, "message_received", 10).await;
        }
        let since = Instant::now();
        let (events, _) = app.store.events(&[FAN], Some("subscribed"), 1, None).await.unwrap();
        assert_eq!(events.len(), 1);
        // a simulated request takes at most 20 ms: 250 of them in sequence would take 2.5 s
        assert!(since.elapsed() < Duration::from_millis(200), "{:?}", since.elapsed());
    });
}
