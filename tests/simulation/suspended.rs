//! A tenant that the operator suspends for a while: what continues for it and what does not.

use serde_json::json;
use shared::store::tenants::TenantStatus;

use crate::{
    found::bound,
    on_paused_time,
    ops::{Deed, Op, What},
    run::Run,
    world::{ADMIN_KEY, World},
};

/// Sets a tenant's status; returns whether the operator's request was confirmed.
pub async fn change(world: &World, tenant: &str, status: &str) -> bool {
    let path = format!("/v1/tenants/{tenant}");
    let changed = world.api(ADMIN_KEY, "PATCH", &path, Some(json!({"status": status})), None).await;
    changed.is_some_and(|(status, _)| status == 200)
}

async fn now(run: &Run, status: &str) {
    assert!(change(&run.world, &run.tenants[0], status).await, "{status}");
    run.world.advance(10).await; // every instance knows
}

/// Tokens that are not refreshed would cost each administrator another consent.
#[test]
fn a_suspended_tenant_keeps_its_tokens_and_its_followers_and_sends_nothing() {
    on_paused_time(async {
        let mut run = bound().await;
        let (world, app) = (run.world.clone(), run.apps[0].clone());
        let rules = json!({"on_subscribe": null, "keywords": [], "default": {"msgtype": "text", "text": {"content": "hi"}}});
        let path = format!("/v1/accounts/{app}/reply-rules");
        assert_eq!(world.api(&run.keys[0], "PUT", &path, Some(rules), None).await.unwrap().0, 200);
        world.advance(10).await;
        let send = Op::Send { account: 0, fan: 1, content: false, template: true, keyed: false, times: 1 };
        run.step(&send).await; // is queued still
        let id = run.sent[0].accepted[0].clone();
        now(&run, "suspended").await;
        world.quiet().await;
        let message = world.app().store.message(&run.tenants[0], &id).await.unwrap().unwrap();
        assert_eq!(message.error.map(|error| error.code).as_deref(), Some("tenant_suspended"));
        for what in [What::Follow, What::Chat] {
            run.step(&Op::Do(Deed { account: 0, fan: 3, what })).await;
        }
        for _ in 0..200 {
            world.advance(60).await;
        }
        world.quiet().await;
        let received = world.sim().received(&app, &run.fans[0][3]);
        assert!(received.is_empty(), "it was answered: {received:?}");
        assert!(world.bound(&app));
        let tokens = world.app().store.authorizer(&app).await.unwrap().unwrap();
        let token = tokens.token.unwrap();
        assert!(token.issued_at + token.expires_in > world.now(), "its token has died");
        let hub = world.app();
        let (fans, _) =
            hub.store.list_customers(&run.tenants[0], 50, None, |fan| fan.subscribed).await.unwrap();
        assert!(fans.iter().any(|one| one.fans[0].open_id == run.fans[0][3]), "who followed is not stored");
        now(&run, "active").await;
        run.step(&Op::Do(Deed { account: 0, fan: 3, what: What::Chat })).await;
        assert!(!world.sim().received(&app, &run.fans[0][3]).is_empty(), "it answers again");
    });
}

/// An account that its tenant gave up while suspended stayed silent for ever after it was bound again.
#[test]
fn an_account_that_was_released_meanwhile_answers_when_it_is_bound_again() {
    on_paused_time(async {
        let run = bound().await;
        let (world, app) = (&run.world, &run.apps[0]);
        now(&run, "suspended").await;
        world.advance(60).await;
        world.withdraw(app, true);
        world.quiet().await;
        let path = format!("/v1/platform/accounts/{app}/release");
        assert_eq!(world.api(ADMIN_KEY, "POST", &path, Some(json!({})), None).await.unwrap().0, 204);
        now(&run, "active").await;
        assert_eq!(world.bind(&run.keys[0], app, true, true).await, Some(200));
        world.quiet().await;
        let entry = world.app().store.account_entry_now(app).await.unwrap().unwrap();
        assert!(!entry.suspended, "it stays silent");
    });
}

/// The tenant was suspended or deleted after the link was opened and before the consent.
#[test]
fn a_link_left_open_binds_nothing_to_a_suspended_or_deleted_tenant() {
    on_paused_time(async {
        for (returns, deleted) in [(true, false), (false, false), (false, true)] {
            let run = bound().await;
            let (world, app) = (&run.world, &run.apps[1]);
            let opened = world.open(&run.keys[1]).await.unwrap();
            assert!(change(world, &run.tenants[1], "suspended").await);
            if deleted {
                let path = format!("/v1/tenants/{}", run.tenants[1]);
                assert_eq!(world.api(ADMIN_KEY, "DELETE", &path, None, None).await.unwrap().0, 202);
                let tenant = world.app().store.tenant(&run.tenants[1]).await.unwrap();
                assert!(tenant.is_none_or(|tenant| tenant.status == TenantStatus::Deleted));
            }
            let back = world.consent(&opened, app, !returns, true).unwrap();
            if returns {
                let (status, page, _) = world.browse(&back, &opened.cookies).await.unwrap();
                assert_eq!(status, 410, "{page}");
            }
            world.quiet().await;
            assert!(!world.bound(app), "by the browser: {returns}, deleted: {deleted}");
            if !returns {
                assert!(world.app().store.authorizer(app).await.unwrap().is_none(), "its tokens stay");
            }
        }
    });
}
