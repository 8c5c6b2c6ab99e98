//! Listings of events end by what they read and answer, not by the caller's limit alone.

use std::time::Duration;

use serde_json::json;
use shared::store::{Store, fans::FanId, timeline::StoredEvent};
use tokio::time::Instant;

use crate::{on_paused_time, world::World};

const FAN: FanId<'_> = FanId { tenant: "ten_1", app_id: "wx1", open_id: "o1" };

async fn put(store: &Store, number: i64, kind: &str, bytes: usize) {
    let event: StoredEvent = serde_json::from_value(json!({
        "sk": format!("M{number}"), "type": kind, "at": 1_735_689_600 + number, "app_id": "wx1", "open_id": "o1",
        "detail": json!({"Content": "x".repeat(bytes)}).to_string(),
    }))
    .unwrap();
    store.put_event(FAN, &event).await.unwrap();
}

#[test]
fn large_events_come_in_pages_that_lambda_can_answer() {
    on_paused_time(async {
        let world = World::new(1);
        world.create_tables().await;
        let app = world.app();
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

#[test]
fn the_newest_of_one_type_takes_few_requests_however_far_back_it_is() {
    on_paused_time(async {
        let world = World::new(1);
        world.create_tables().await;
        let app = world.app();
        put(&app.store, 0, "subscribed", 10).await;
        for number in 1..500 {
            put(&app.store, number, "message_received", 10).await;
        }
        let since = Instant::now();
        let (events, _) = app.store.events(&[FAN], Some("subscribed"), 1, None).await.unwrap();
        assert_eq!(events.len(), 1);
        // a request of the world takes 20 ms at most, and each is another: 250 of them would take 2.5 s
        assert!(since.elapsed() < Duration::from_millis(200), "{:?}", since.elapsed());
    });
}
