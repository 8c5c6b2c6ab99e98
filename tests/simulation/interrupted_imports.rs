//! Interrupted imports: by another binding, a request that died, a follow and an unfollow in one second.

use oahub_harness::{dynamo, faults::Fault};
use serde_json::Value;
use shared::model::import::{Import, ImportStatus};
use wechat_simulator::{FaultKind, FollowerAction, InjectedFault, PushOverrides};

use crate::{check, on_paused_time, regressions::run_with_bound_account, run::Run};

async fn newest_import(run: &Run) -> Import {
    run.world.services().store.imports().list(&run.tenants[0], &run.apps[0], 1, None).await.unwrap().remove(0)
}

async fn post_import(run: &Run) -> (u16, Value) {
    let path = format!("/v1/accounts/{}/imports", run.apps[0]);
    run.world.api(&run.keys[0], "POST", &path, None, None).await.unwrap()
}

fn stored_fan(run: &Run, open_id: &str) -> Value {
    let key = format!("FAN#{}#{}#{open_id}", run.tenants[0], run.apps[0]);
    dynamo::get_item(&run.world.backends.db, "CustomersTable", &key, "FAN").unwrap()
}

/// An account with an import that has its first page and paused at the second.
async fn run_with_paused_import() -> Run {
    let run = run_with_bound_account().await;
    run.world.advance(660).await;
    assert_eq!(post_import(&run).await.0, 202);
    for _ in 0..20 {
        if newest_import(&run).await.pages_listed == 0 {
            run.world.process_batches(1).await;
        }
    }
    let refused = FaultKind::Error { errcode: 45009 };
    run.world.sim().inject_fault(InjectedFault::once("/cgi-bin/user/get", refused).times(1_000));
    for _ in 0..20 {
        run.world.process_batches(1).await;
    }
    let import = newest_import(&run).await;
    assert_eq!((import.status, import.pages_done.len()), (ImportStatus::Paused, 1), "{import:?}");
    run
}

/// A binding found a paused import of the previous binding and started none. The old one resumed and counted
/// those on its first page as followers, although they had unfollowed while the account was unbound.
#[test]
fn a_binding_begins_an_import_of_its_own_though_an_older_one_is_paused() {
    on_paused_time(async {
        let run = run_with_paused_import().await;
        let (world, app) = (&run.world, &run.apps[0]);
        let older = newest_import(&run).await;
        world.withdraw(app, true);
        world.sim().deliver_pending().await;
        for _ in 0..20 {
            world.process_batches(1).await;
        }
        assert!(!world.is_bound(app));
        let leaver = &run.fans[0][0];
        world.sim().act(app, leaver, FollowerAction::Unfollow, PushOverrides::default()).await.unwrap();
        assert_eq!(stored_fan(&run, leaver)["subscribed"], true, "nobody was told");
        world.sim().clear_faults();
        world.bind(&run.keys[0], app, true, true).await;
        world.run_until_idle().await;
        let import = newest_import(&run).await;
        assert!(import.id != older.id && import.status == ImportStatus::Completed, "{import:?}");
        let older = world.services().store.imports().get(app, &older.id).await.unwrap().unwrap();
        assert_eq!((older.status, older.error.unwrap().contains("bound anew")), (ImportStatus::Failed, true));
        check::fans_are_the_followers(&run, 0);
        check::imports_ended_and_counted(&run);
    });
}

/// The import was stored as running, its job was lost with the request, and the repetition changed nothing.
#[test]
fn a_paused_import_whose_resuming_request_died_is_resumed_by_its_repetition() {
    on_paused_time(async {
        let run = run_with_paused_import().await;
        run.world.sim().clear_faults();
        run.world.advance(61).await; // until the hub forgets that the quota is used up
        run.world.backends.faults.inject_next("resume_v1", Fault::Lost);
        assert_eq!(post_import(&run).await.0, 503, "the queue did not take the job");
        assert!(run.world.backends.faults.was_injected());
        assert_eq!(newest_import(&run).await.status, ImportStatus::Running);
        assert_eq!(post_import(&run).await.0, 202, "the repetition");
        while newest_import(&run).await.status != ImportStatus::Completed {
            assert!(run.world.process_batches(2).await > 0, "nothing moves: {:?}", newest_import(&run).await);
        }
        assert_eq!(post_import(&run).await.0, 202, "a new one");
        run.world.process_batches(1).await;
        assert_eq!(post_import(&run).await.0, 409, "one that runs by itself");
        run.world.run_until_idle().await;
        check::fans_are_the_followers(&run, 0);
    });
}

/// The event of the second push was stored, but not its change of the fan: the repeated push counted as done.
#[test]
fn an_unfollow_in_the_second_of_a_follow_counts_though_its_write_is_lost() {
    for fate in [Fault::Lost, Fault::Unanswered, Fault::Crash] {
        on_paused_time(async {
            let run = run_with_bound_account().await;
            let (world, app, open_id) = (&run.world, &run.apps[0], &run.fans[0][3]);
            let act = async |act| world.sim().act(app, open_id, act, PushOverrides::default()).await.unwrap();
            let left = 1_000 - world.clock.now().as_millisecond() % 1_000;
            tokio::time::sleep(std::time::Duration::from_millis(left.unsigned_abs())).await;
            let second = world.now();
            act(FollowerAction::Follow { scene: None }).await;
            world.backends.faults.inject_next("NOT contains(", fate);
            act(FollowerAction::Unfollow).await;
            world.run_until_idle().await;
            assert!(world.backends.faults.was_injected(), "they were of two seconds");
            let stored = stored_fan(&run, open_id);
            assert_eq!(stored["status_at"], second, "{stored}");
            assert_eq!(stored["subscribed"], false, "{fate:?}: the unfollow is lost: {stored}");
        });
    }
}
