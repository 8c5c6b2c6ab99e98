//! Token refreshes that fail for a long time: of one account, or of the platform itself.

use shared::{
    model::{credentials::AccessToken, failure_code::FailureCode},
    queue::jobs::RefreshJob,
    secret::Secret,
    store::token_leases::TOKEN_LEASE_SECONDS,
};
use wechat_simulator::{FaultKind, InjectedFault};

use crate::{
    on_paused_time,
    ops::{History, Op},
    regressions::run_with_bound_account,
    run::Run,
};

const REFRESH: &str = "/cgi-bin/component/api_authorizer_token";
const COMPONENT: &str = "/cgi-bin/component/api_component_token";

async fn tick_for_minutes(run: &Run, minutes: u32) {
    for _ in 0..minutes {
        tokio::time::sleep(std::time::Duration::from_secs(60)).await;
        run.world.tick().await;
        run.world.process_batches(3).await;
    }
}

/// When an account's stored token was issued.
async fn token_issued_at(run: &Run, account: usize) -> i64 {
    let found = run.world.services().store.authorizers().get(&run.apps[account]).await.unwrap().unwrap();
    found.token.map_or(0, |token| token.issued_at)
}

#[test]
fn one_account_whose_refresh_fails_disturbs_no_other() {
    on_paused_time(async {
        let history = History { followers: [2, 2, 2], bound: [true, true, true], ops: Vec::new() };
        let run = Run::new(1, &history).await;
        let world = &run.world;
        world.run_until_idle().await;
        let before =
            [token_issued_at(&run, 0).await, token_issued_at(&run, 1).await, token_issued_at(&run, 2).await];
        tokio::time::sleep(std::time::Duration::from_secs(6_500)).await;
        // it fails at once, while the others wait for WeChat
        let fails = InjectedFault::once(REFRESH, FaultKind::Error { errcode: 50002 }).times(1_000);
        world.sim().inject_fault(fails.for_account(&run.apps[0]));
        let job = RefreshJob::AuthorizersV1 { app_ids: run.apps.to_vec() };
        world.services().queues.refresh(&[job], std::time::Duration::ZERO).await.unwrap();
        world.process_batches(1).await;
        for account in [1, 2] {
            assert!(token_issued_at(&run, account).await > before[account], "{account} was not refreshed");
        }
        assert_eq!(token_issued_at(&run, 0).await, before[0], "it was to fail");
        let refreshes =
            [1, 2].map(|account| world.backends.refresh_monitor.refresh_count(&run.apps[account]));
        world.sim().clear_faults();
        tokio::time::sleep(std::time::Duration::from_secs(61)).await;
        world.process_batches(1).await;
        assert!(token_issued_at(&run, 0).await > before[0], "it does not come again by itself");
        assert_eq!(
            [1, 2].map(|account| world.backends.refresh_monitor.refresh_count(&run.apps[account])),
            refreshes
        );
    });
}

#[test]
fn a_platform_that_is_refused_is_not_asked_again_by_everybody() {
    on_paused_time(async {
        let mut run = run_with_bound_account().await;
        run.world
            .sim()
            .inject_fault(InjectedFault::once(COMPONENT, FaultKind::Error { errcode: 40125 }).times(100_000));
        run.step(&Op::EndTokens { account: None, revoke: true }).await;
        run.step(&Op::EndTokens { account: Some(0), revoke: true }).await;
        let before = run.world.backends.refresh_monitor.refresh_count("component");
        for fan in 0..2 {
            let send = Op::Send { account: 0, fan, content: false, template: true, keyed: false, times: 5 };
            run.step(&send).await;
        }
        for _ in 0..60 {
            run.world.process_batches(3).await;
            tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        }
        let asked = run.world.backends.refresh_monitor.refresh_count("component") - before;
        assert!((1..8).contains(&asked), "a secret that is wrong was tried {asked} times in five minutes");
        // no message failed because of it, and everything continues once the secret is right
        run.world.sim().clear_faults();
        run.world.run_until_idle().await;
        for sent in &run.sent {
            for id in &sent.accepted {
                let message =
                    run.world.services().store.messages().get(&run.tenants[0], id).await.unwrap().unwrap();
                assert_eq!(format!("{:?}", message.error.map(|e| e.code)), "None", "{id}");
            }
        }
    });
}

#[test]
fn an_account_that_has_to_be_authorized_again_is_unbound_and_not_asked_for_again() {
    for errcode in [42007, 40030] {
        on_paused_time(async {
            let mut run = run_with_bound_account().await;
            run.world
                .sim()
                .inject_fault(InjectedFault::once(REFRESH, FaultKind::Error { errcode }).times(1_000));
            run.step(&Op::EndTokens { account: Some(0), revoke: true }).await;
            let before = run.world.backends.refresh_monitor.refresh_count(&run.apps[0]);
            let send =
                Op::Send { account: 0, fan: 0, content: false, template: true, keyed: false, times: 5 };
            run.step(&send).await;
            tick_for_minutes(&run, 3).await;
            assert!(!run.world.is_bound(&run.apps[0]), "{errcode}: nobody was told");
            let asked = run.world.backends.refresh_monitor.refresh_count(&run.apps[0]) - before;
            assert_eq!(asked, 1, "{errcode}: a storm");
            for id in &run.sent[0].accepted {
                let message =
                    run.world.services().store.messages().get(&run.tenants[0], id).await.unwrap().unwrap();
                assert_eq!(message.error.unwrap().code, FailureCode::AccountNotBound, "{errcode}");
            }
        });
    }
}

/// Each message, round and tick asked again: a hundred thousand calls a day against a quota that was used up.
#[test]
fn an_account_whose_refresh_is_refused_is_not_asked_for_by_everybody() {
    // (errcode, calls at most in five minutes)
    for (errcode, most) in [(45009, 1), (50002, 5), (-1, 10)] {
        on_paused_time(async {
            let mut run = run_with_bound_account().await;
            run.world
                .sim()
                .inject_fault(InjectedFault::once(REFRESH, FaultKind::Error { errcode }).times(100_000));
            run.step(&Op::EndTokens { account: Some(0), revoke: true }).await;
            let before = run.world.backends.refresh_monitor.refresh_count(&run.apps[0]);
            for fan in 0..2 {
                let send =
                    Op::Send { account: 0, fan, content: false, template: true, keyed: false, times: 5 };
                run.step(&send).await;
            }
            for round in 0..60 {
                if round % 12 == 0 {
                    let job = RefreshJob::AuthorizersV1 { app_ids: vec![run.apps[0].clone()] };
                    run.world.services().queues.refresh(&[job], std::time::Duration::ZERO).await.unwrap();
                }
                run.world.process_batches(3).await;
                tokio::time::sleep(std::time::Duration::from_secs(5)).await;
            }
            let asked = run.world.backends.refresh_monitor.refresh_count(&run.apps[0]) - before;
            assert!((1..=most).contains(&asked), "{errcode}: asked {asked} times in five minutes");
            run.world.sim().clear_faults();
            run.world.advance(17 * 3600).await; // a day's quota is back at Beijing's midnight
            run.world.run_until_idle().await;
            for id in &run.sent.iter().flat_map(|sent| sent.accepted.clone()).collect::<Vec<_>>() {
                let message =
                    run.world.services().store.messages().get(&run.tenants[0], id).await.unwrap().unwrap();
                assert_eq!(format!("{:?}", message.error.map(|e| e.code)), "None", "{errcode}: {id}");
            }
        });
    }
}

/// A job was given up after five failures: after an outage of 15 minutes tokens stayed stale for two hours.
#[test]
fn an_outage_is_waited_for_by_age_and_tokens_are_new_soon_after_it() {
    on_paused_time(async {
        let history = History { followers: [2, 2, 2], bound: [true, true, false], ops: Vec::new() };
        let run = Run::new(1, &history).await;
        let world = &run.world;
        world.run_until_idle().await;
        let before = [token_issued_at(&run, 0).await, token_issued_at(&run, 1).await];
        tokio::time::sleep(std::time::Duration::from_secs(6_500)).await;
        world.sim().push_ticket().await;
        world
            .sim()
            .inject_fault(InjectedFault::once(REFRESH, FaultKind::Error { errcode: -1 }).times(100_000));
        let job = RefreshJob::AuthorizersV1 { app_ids: run.apps[..2].to_vec() };
        world.services().queues.refresh(&[job], std::time::Duration::ZERO).await.unwrap();
        tick_for_minutes(&run, 40).await;
        assert_eq!(
            [token_issued_at(&run, 0).await, token_issued_at(&run, 1).await],
            before,
            "it was to fail"
        );
        assert_eq!(world.queue_depths().await.1, 0, "given up");
        world.sim().clear_faults();
        tick_for_minutes(&run, 6).await;
        for account in [0, 1] {
            assert!(
                token_issued_at(&run, account).await > before[account],
                "{account}: nobody came after the outage"
            );
        }
    });
}

/// The event of a withdrawal took the lease away from the refresh that ran, and another began beside it.
#[test]
fn nobody_refreshes_beside_a_refresh_during_which_the_account_is_unbound() {
    on_paused_time(async {
        let run = run_with_bound_account().await;
        run.world.advance(60).await;
        let (services, app, now) = (run.world.services(), run.apps[0].as_str(), run.world.now());
        let store = &services.store;
        let version = store.authorizers().get(app).await.unwrap().unwrap().version;
        let lease = async |owner: &str| store.authorizers().lease(app, version, owner.into()).await.unwrap();
        let first = lease("lse_1").await.unwrap();
        assert!(store.accounts().unbind(app, now, now).await.unwrap());
        assert!(lease("lse_2").await.is_none(), "two at once");
        let token = AccessToken { token: Secret::new("late"), ..first.credentials.token.unwrap() };
        let stored = store
            .authorizers()
            .store_token(app, "lse_1", &token, &first.credentials.refresh_token, None)
            .await
            .unwrap();
        assert!(!stored, "the account is unbound; its tokens stay as they are");
        let lease_seconds = std::time::Duration::from_secs(TOKEN_LEASE_SECONDS.unsigned_abs());
        tokio::time::sleep(lease_seconds).await;
        assert!(lease("lse_3").await.is_some(), "nobody could, ever again");
    });
}
