//! A tenant that the operator suspends for a while: what continues for it and what does not.

use oahub_harness::{deployment::SimulatedDeployment, settings::ADMIN_KEY};
use serde_json::json;
use shared::model::{failure_code::FailureCode, tenant::TenantStatus};

use crate::{
    on_paused_time,
    ops::{FanOp, FanOpKind, Op},
    regressions::run_with_bound_account,
    run::Run,
};

/// Sets a tenant's status; returns whether the operator's request was confirmed.
pub async fn set_tenant_status(world: &SimulatedDeployment, tenant: &str, status: &str) -> bool {
    let path = format!("/v1/tenants/{tenant}");
    let changed = world.api(ADMIN_KEY, "PATCH", &path, Some(json!({"status": status})), None).await;
    changed.is_some_and(|(status, _)| status == 200)
}

async fn set_status_of_first(run: &Run, status: &str) {
    assert!(set_tenant_status(&run.world, &run.tenants[0], status).await, "{status}");
    run.world.advance(10).await; // until every instance has seen it
}

/// Tokens that are not refreshed would cost each administrator another consent.
#[test]
fn a_suspended_tenant_keeps_its_tokens_and_its_followers_and_sends_nothing() {
    on_paused_time(async {
        let mut run = run_with_bound_account().await;
        let (world, app) = (run.world.clone(), run.apps[0].clone());
        let rules = json!({"on_subscribe": null, "keywords": [], "default": {"msgtype": "text", "text": {"content": "hi"}}});
        let path = format!("/v1/accounts/{app}/reply-rules");
        assert_eq!(world.api(&run.keys[0], "PUT", &path, Some(rules), None).await.unwrap().0, 200);
        world.advance(10).await;
        let send = Op::Send { account: 0, fan: 1, content: false, template: true, keyed: false, times: 1 };
        run.step(&send).await; // still queued
        let id = run.sent[0].accepted[0].clone();
        set_status_of_first(&run, "suspended").await;
        world.run_until_idle().await;
        let message = world.services().store.messages().get(&run.tenants[0], &id).await.unwrap().unwrap();
        assert_eq!(message.error.map(|error| error.code), Some(FailureCode::TenantSuspended));
        for what in [FanOpKind::Follow, FanOpKind::Chat] {
            run.step(&Op::Act(FanOp { account: 0, fan: 3, kind: what })).await;
        }
        for _ in 0..200 {
            world.advance(60).await;
        }
        world.run_until_idle().await;
        let received = world.sim().received(&app, &run.fans[0][3]);
        assert!(received.is_empty(), "it was answered: {received:?}");
        assert!(world.is_bound(&app));
        let tokens = world.services().store.authorizers().get(&app).await.unwrap().unwrap();
        let token = tokens.token.unwrap();
        assert!(token.issued_at + token.expires_in > world.now(), "its token has died");
        let hub = world.services();
        let (fans, _) =
            hub.store.customers().list(&run.tenants[0], 50, None, |fan| fan.subscribed).await.unwrap();
        assert!(fans.iter().any(|one| one.fans[0].open_id == run.fans[0][3]), "who followed is not stored");
        set_status_of_first(&run, "active").await;
        run.step(&Op::Act(FanOp { account: 0, fan: 3, kind: FanOpKind::Chat })).await;
        assert!(!world.sim().received(&app, &run.fans[0][3]).is_empty(), "it answers again");
    });
}

/// An account that its tenant gave up while suspended stayed silent for ever after it was bound again.
#[test]
fn an_account_that_was_released_meanwhile_answers_when_it_is_bound_again() {
    on_paused_time(async {
        let run = run_with_bound_account().await;
        let (world, app) = (&run.world, &run.apps[0]);
        set_status_of_first(&run, "suspended").await;
        world.advance(60).await;
        world.withdraw(app, true);
        world.run_until_idle().await;
        let path = format!("/v1/platform/accounts/{app}/release");
        assert_eq!(world.api(ADMIN_KEY, "POST", &path, Some(json!({})), None).await.unwrap().0, 204);
        set_status_of_first(&run, "active").await;
        assert_eq!(world.bind(&run.keys[0], app, true, true).await, Some(200));
        world.run_until_idle().await;
        let entry = world.services().store.accounts().entry_uncached(app).await.unwrap().unwrap();
        assert!(!entry.suspended, "it stays silent");
    });
}

/// The tenant was suspended or deleted after the link was opened and before the consent.
#[test]
fn a_link_left_open_binds_nothing_to_a_suspended_or_deleted_tenant() {
    on_paused_time(async {
        for (returns, deleted) in [(true, false), (false, false), (false, true)] {
            let run = run_with_bound_account().await;
            let (world, app) = (&run.world, &run.apps[1]);
            let opened = world.open_page(&run.keys[1]).await.unwrap();
            assert!(set_tenant_status(world, &run.tenants[1], "suspended").await);
            if deleted {
                let path = format!("/v1/tenants/{}", run.tenants[1]);
                assert_eq!(world.api(ADMIN_KEY, "DELETE", &path, None, None).await.unwrap().0, 202);
                let tenant = world.services().store.tenants().get(&run.tenants[1]).await.unwrap();
                assert!(tenant.is_none_or(|tenant| tenant.status == TenantStatus::Deleted));
            }
            let back = world.consent(&opened, app, !returns, true).unwrap();
            if returns {
                let (status, page, _) = world.browse(&back, &opened.cookies).await.unwrap();
                assert_eq!(status, 410, "{page}");
            }
            world.run_until_idle().await;
            assert!(!world.is_bound(app), "by the browser: {returns}, deleted: {deleted}");
            if !returns {
                assert!(
                    world.services().store.authorizers().get(app).await.unwrap().is_none(),
                    "its tokens stay"
                );
            }
        }
    });
}
