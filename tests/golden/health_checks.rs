//! The health checks of every minute see what must raise an alarm.

use std::time::Duration;

use oahub_harness::dynamo;
use oahub_tests::fixtures::{account, import};
use serde_json::json;
use shared::{
    model::{
        consent::ConsentPage,
        credentials::AccessToken,
        import::ImportStatus,
        token::{Due, slot_of},
    },
    secret::Secret,
};
use token_refresh::health_checks::{LastImportCheck, OVERDUE_MINUTES, check};

use crate::{items, on_paused_time};

#[test]
fn the_ticket_ages_until_the_next_one_comes() {
    on_paused_time(async {
        let (world, app) = items::empty_store().await;
        assert_eq!(
            check(&app, &LastImportCheck::default()).await.ticket_age_seconds,
            None,
            "before the first ticket there is no age"
        );
        app.store.component().store_ticket(&Secret::new("t1"), world.now()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1500)).await;
        assert!(
            (1500..1502)
                .contains(&check(&app, &LastImportCheck::default()).await.ticket_age_seconds.unwrap())
        );
        app.store.component().store_ticket(&Secret::new("t2"), world.now()).await.unwrap();
        assert!((0..2).contains(&check(&app, &LastImportCheck::default()).await.ticket_age_seconds.unwrap()));
    });
}

#[test]
fn an_account_is_overdue_whose_turn_passed_without_a_new_token() {
    on_paused_time(async {
        let (world, app) = items::empty_store().await;
        let now = world.now();
        let turn = Due::Wheel { slot: slot_of((now - OVERDUE_MINUTES * 60).div_euclid(60)) };
        let token = |issued_at| AccessToken { token: Secret::new("t"), issued_at, expires_in: 7200 };
        let refresh = Secret::new("r");
        for (app_id, age, due) in [
            ("wx0000000000000001", 6_900, turn), // its turn passed, its token is old
            ("wx0000000000000002", 240, turn),   // was refreshed
            ("wx0000000000000003", 100, Due::Sorted { unix_seconds: now + 5_000 }), // has its turn later
            ("wx0000000000000004", 6_900, Due::Sorted { unix_seconds: now - 600 }), // of unusual lifetime, and late
            ("wx0000000000000005", 6_900, Due::Sorted { unix_seconds: now - 60 }),  // just had its turn
        ] {
            app.store
                .authorizers()
                .store_authorization(app_id, "c", Some(&token(now - age)), &refresh)
                .await
                .unwrap();
            let page = ConsentPage { tenant: "ten_1", opened_at: now, expires_at: now };
            app.store.accounts().bind(account(app_id), Some(page), due).await.unwrap();
        }
        assert_eq!(check(&app, &LastImportCheck::default()).await.overdue_accounts, Some(2));
    });
}

#[test]
fn an_import_is_seen_that_nothing_moves_and_no_other() {
    on_paused_time(async {
        let (world, app) = items::empty_store().await;
        for (id, app_id) in [("imp_1", "wx1"), ("imp_2", "wx2"), ("imp_3", "wx3")] {
            app.store.imports().start(&import(id, app_id, world.now())).await.unwrap();
        }
        let state = LastImportCheck::default();
        assert_eq!(check(&app, &state).await.stuck_imports, Some(0), "they have just begun");
        assert_eq!(world.queue_depths().await.0, 0, "nobody comes for them yet");
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(check(&app, &state).await.stuck_imports, None, "not every minute");
        tokio::time::sleep(Duration::from_secs(540)).await;
        assert_eq!(check(&app, &state).await.stuck_imports, Some(0), "they have not begun for ten minutes");
        assert_eq!(world.queue_depths().await.0, 3, "somebody comes for each");
        tokio::time::sleep(Duration::from_secs(4_000)).await;
        app.store.imports().end("wx2", "imp_2", ImportStatus::Completed, None).await.unwrap();
        app.store.import_progress().mark_page_done("wx3", "imp_3", 0, 10).await.unwrap();
        assert_eq!(
            check(&app, &state).await.stuck_imports,
            Some(1),
            "one moves, one has ended, one does neither"
        );
        assert_eq!(world.queue_depths().await.0, 4, "and for the last one once more");
    });
}

/// Every unfinished import gets its turn, however many there are.
#[test]
fn every_import_is_looked_after_in_turn() {
    on_paused_time(async {
        let (world, app) = items::empty_store().await;
        for n in 0..250 {
            let (id, app_id) = (format!("imp_{n}"), format!("wx{n}"));
            app.store.imports().start(&import(&id, &app_id, world.now())).await.unwrap();
        }
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(600)).await;
            let open = app.store.imports().unfinished(world.now()).await.unwrap();
            assert!(open.imports.len() < 150, "{} at once", open.imports.len());
            seen.extend(open.imports.into_iter().map(|import| import.id));
        }
        assert_eq!(seen.len(), 250);
    });
}

#[test]
fn what_cannot_be_read_hides_nothing_else_that_is_wrong() {
    on_paused_time(async {
        let (world, app) = items::empty_store().await;
        for n in 1..=2 {
            let (id, app_id) = (format!("imp_{n}"), format!("wx{n}"));
            app.store.imports().start(&import(&id, &app_id, world.now())).await.unwrap();
        }
        let broken =
            json!({"pk": {"S": "IMPORT#wx1"}, "sk": {"S": "imp_1"}, "status": {"S": "of a later release"}});
        assert!(
            dynamo::get_item(&world.backends.db, "WorkTable", "IMPORT#wx1", "imp_1").is_some(),
            "another key"
        );
        dynamo::call_ok(&world.backends.db, "PutItem", &json!({"TableName": "WorkTable", "Item": broken}));
        tokio::time::sleep(Duration::from_secs(3700)).await;
        let seen = check(&app, &LastImportCheck::default()).await;
        assert_eq!(
            seen.stuck_imports,
            Some(2),
            "the one that does not move, and the one that nobody can read"
        );
        assert_eq!(world.queue_depths().await.0, 1, "the other is taken up");
    });
}
