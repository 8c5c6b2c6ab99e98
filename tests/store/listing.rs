//! Pages of listings are bounded by the bytes they read and return, not by the caller's limit alone.

use std::time::Duration;

use oahub_harness::deployment::SimulatedDeployment;
use oahub_tests::fixtures::{APP_ID, NEW_YEAR_2025, TENANT_ID, import};
use serde_json::json;
use shared::{
    ids,
    model::{
        audit::{AUDIT_ID_PREFIX, Actor, AuditEntry, SUCCEEDED},
        event::StoredEvent,
        fan::{Fan, FanId},
        import::{Import, ImportStatus},
    },
    store::{Store, audit::AuditFilter, fans::FanDetails},
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
    store.timeline().insert_once(FAN, &event).await.unwrap();
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
            let (events, next) =
                app.store.timeline().list(&[FAN], None, 200, before.as_deref()).await.unwrap();
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
                store.timeline().list(&[FAN], Some("subscribed"), 10, before.as_deref()).await.unwrap();
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
        store.audit().begin("ten_1", &entry(0, "account.deleted")).await.unwrap();
        for n in 1..=1_100 {
            store.audit().begin("ten_1", &entry(n, "reply_rules.replaced")).await.unwrap();
        }
        let filter = AuditFilter { operation: Some("account.deleted"), ..AuditFilter::default() };
        let (mut seen, mut before, mut pages) = (Vec::new(), None, 0);
        loop {
            let (entries, next) = store.audit().list("ten_1", filter, 200, before.as_deref()).await.unwrap();
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
        store.fans().insert("ten_1", "wx1", &details).await.unwrap();
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let tagged = |fan: &Fan| fan.tag_ids.contains(&7);
            let (people, next) = store.customers().list("ten_1", 200, cursor, tagged).await.unwrap();
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
        let (events, _) = app.store.timeline().list(&[FAN], Some("subscribed"), 1, None).await.unwrap();
        assert_eq!(events.len(), 1);
        // a simulated request takes at most 20 ms: 250 of them in sequence would take 2.5 s
        assert!(since.elapsed() < Duration::from_millis(200), "{:?}", since.elapsed());
    });
}

/// An account's imports are in one partition, whichever tenant they are of, and DynamoDB ends a page after 1 MB.
#[test]
fn a_list_of_imports_goes_on_to_as_many_pages_as_it_takes() {
    const OTHER_TENANT: &str = "ten_2";
    const MINE_FIRST: [(&str, usize, usize); 2] = [(TENANT_ID, 5, 0), (OTHER_TENANT, 250, 0)];
    for (what, stored, limit, before, expected) in [
        ("one's own behind two pages of another tenant's", MINE_FIRST, 50, None, 0..5),
        ("as many of these as are asked for", MINE_FIRST, 2, None, 3..5),
        ("those before the third of them", MINE_FIRST, 50, Some(2), 0..2),
        (
            "one's own, of which a page has ten",
            [(TENANT_ID, 30, 100_000), (OTHER_TENANT, 0, 0)],
            25,
            None,
            5..30,
        ),
        (
            "none among two pages of another tenant's",
            [(OTHER_TENANT, 150, 0), (TENANT_ID, 0, 0)],
            50,
            None,
            0..0,
        ),
    ] {
        on_paused_time(async {
            let world = SimulatedDeployment::new(1);
            world.create_tables().await;
            let store = &world.services().store;
            let id = |number: usize| format!("imp_{number:03}");
            let all = stored.into_iter().flat_map(|(tenant, count, bytes)| vec![(tenant, bytes); count]);
            for (number, (tenant, bytes)) in all.enumerate() {
                let new = Import {
                    tenant_id: tenant.into(),
                    error: Some("x".repeat(bytes)),
                    ..import(&id(number), APP_ID, NEW_YEAR_2025)
                };
                store.imports().start(&new).await.unwrap();
                store.imports().end(APP_ID, &new.id, ImportStatus::Failed, None).await.unwrap();
            }
            let found =
                store.imports().list(TENANT_ID, APP_ID, limit, before.map(id).as_deref()).await.unwrap();
            let newest_first: Vec<_> = expected.rev().map(id).collect();
            assert_eq!(found.into_iter().map(|import| import.id).collect::<Vec<_>>(), newest_first, "{what}");
        });
    }
}
