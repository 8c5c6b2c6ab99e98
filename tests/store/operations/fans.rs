//! Fans, customers and events.

use oahub_tests::fixtures::{APP_ID, NEW_YEAR_2025, TENANT_ID, event, fan, user_info};
use shared::{
    model::push_decision::FanActivity,
    store::{Store, fans::FanDetails, timeline::EventInsert},
};

pub const WRITES: &[(&str, &str)] = &[
    ("Fans::record_activity, who follows", "follow_used"),
    ("Fans::record_activity, who writes", "message_used"),
    ("Fans::record_activity, a second time in one second", "NOT contains("),
    ("Fans::insert", "INSERT"),
    ("Fans::update", "union_id"),
    ("Fans::mark_unsubscribed", "gone_import"),
    ("Customers::redirect", "merged_into"),
    ("Timeline::insert_once", "at_key"),
];

pub async fn perform(name: &str, what: &str, store: &Store) -> Option<String> {
    Some(match name {
        "Fans::record_activity" => {
            let follow = FanActivity::Followed { scene: Some("shelf".into()) };
            match what.rsplit(", ").next().unwrap() {
                "who follows" => {
                    store.fans().record_activity(fan("o3"), &follow, NEW_YEAR_2025, "E1").await.unwrap()
                }
                "who writes" => store
                    .fans()
                    .record_activity(fan("o1"), &FanActivity::Message, NEW_YEAR_2025 + 1, "M1")
                    .await
                    .unwrap(),
                _ => {
                    for (touch, identity) in [(&follow, "E1"), (&FanActivity::Unfollowed, "E2")] {
                        store
                            .fans()
                            .record_activity(fan("o3"), touch, NEW_YEAR_2025, identity)
                            .await
                            .unwrap();
                    }
                    let left = !store.fans().get(fan("o3")).await.unwrap().unwrap().subscribed;
                    store.fans().record_activity(fan("o3"), &follow, NEW_YEAR_2025, "E1").await.unwrap(); // comes once more
                    assert!(left, "the second one of a second counts");
                }
            }
            let fan = store.fans().get(fan("o3")).await.unwrap().unwrap_or_default();
            format!("{}, {:?}", fan.subscribed, fan.qr_scene_str)
        }
        "Fans::insert" => {
            let (known, fresh) = (user_info("o2"), [user_info("o7"), user_info("o8")]);
            let all = [&known, &fresh[0], &fresh[1]].map(|info| FanDetails {
                info,
                as_of: NEW_YEAR_2025,
                import_id: None,
            });
            // a retried insert finds the fan and updates it instead: the stored item is the same
            let new = store.fans().insert(TENANT_ID, APP_ID, &all).await.unwrap();
            format!(
                "{}, {}",
                new[0],
                store.fans().get_many(TENANT_ID, APP_ID, &["o2", "o7", "o8"]).await.unwrap().len()
            )
        }
        "Fans::update" => {
            let before = store.fans().get(fan("o2")).await.unwrap().unwrap();
            let mut info = user_info("o2");
            info.unionid = "u2".into();
            let details = FanDetails { info: &info, as_of: NEW_YEAR_2025 + 1, import_id: Some("imp_0") };
            let left = store.fans().update(&before, &details).await.unwrap();
            format!("{:?}", left == Some(before.customer_id))
        }
        "Fans::mark_unsubscribed" => {
            let marked =
                store.fans().mark_unsubscribed(fan("o2"), "imp_0", NEW_YEAR_2025 + 10_000).await.unwrap();
            format!("{marked}, {}", store.fans().get(fan("o2")).await.unwrap().unwrap().subscribed)
        }
        "Customers::redirect" => {
            let here = store.fans().get(fan("o2")).await.unwrap().unwrap().customer_id;
            store.customers().redirect(TENANT_ID, "cus_old", &here).await.unwrap();
            format!("{}", store.customers().get(TENANT_ID, "cus_old").await.unwrap().unwrap().fans.len())
        }
        "Timeline::insert_once" => {
            let stored = store.timeline().insert_once(fan("o1"), &event("M1")).await.unwrap();
            let seen = store.timeline().insert_once(fan("o1"), &event("M1")).await.unwrap();
            let (events, _) = store.timeline().list(&[fan("o1")], None, 10, None).await.unwrap();
            let (stored, seen) =
                (matches!(stored, EventInsert::New), matches!(seen, EventInsert::Existing(_)));
            format!("{stored}, {seen}, {}", events.len())
        }
        _ => return None,
    })
}
