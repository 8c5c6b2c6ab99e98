//! Histories that once failed, as plain tests: each names the bug that it found.

use std::time::Duration;

use oahub_harness::{dynamo, faults::Fault};
use serde_json::json;
use shared::{
    model::{account::AccountStatus, authorization::code_fingerprint, import::ImportStatus},
    services::Services,
    start_import::start_after_consent,
    store::{
        account_cache::ACCOUNT_CACHE_SECONDS, account_entries::Addressee, accounts::AccountDeletion,
        refresh_wheel::wheel_slot,
    },
};
use wechat_simulator::{CallbackUrl, FaultKind, InjectedFault};

use crate::{check, on_paused_time, ops::History, run::Run};

/// One bound account with nine followers and nothing left to do.
pub async fn run_with_bound_account() -> Run {
    let history = History { followers: [9, 2, 2], bound: [true, false, false], ops: Vec::new() };
    let run = Run::new(1, &history).await;
    run.world.run_until_idle().await;
    run
}

/// A binding died after its import was stored and before the first job was queued. When it was repeated, the
/// import counted as started and never ended.
#[test]
fn a_binding_that_died_before_the_first_job_begins_the_import_when_it_comes_again() {
    on_paused_time(async {
        let run = run_with_bound_account().await;
        run.world.advance(120).await;
        run.world.withdraw(&run.apps[0], true);
        run.world.run_until_idle().await;
        run.world.backends.faults.inject_next("page_v1", Fault::Lost);
        run.world.bind(&run.keys[0], &run.apps[0], false, true).await;
        run.world.run_until_idle().await;
        assert!(run.world.backends.faults.was_injected(), "no first job was queued");
        check::imports_ended_and_counted(&run);
        check::fans_are_the_followers(&run, 0);
    });
}

/// An import was stored as running, its first job was lost, and the binding was never repeated: it never
/// ended and blocked every other import.
#[test]
fn an_import_whose_request_died_is_begun_by_the_tick() {
    on_paused_time(async {
        let run = run_with_bound_account().await;
        let path = format!("/v1/accounts/{}/imports", run.apps[0]);
        run.world.advance(660).await;
        run.world.backends.faults.inject_next("page_v1", Fault::Lost);
        let (status, _) = run.world.api(&run.keys[0], "POST", &path, None, None).await.unwrap();
        assert_eq!(status, 503, "the queue did not take the job");
        run.world.run_until_idle().await;
        assert!(check::has_unfinished_imports(&run), "it is written as running");
        run.world.advance(1_200).await;
        run.world.run_until_idle().await;
        check::imports_ended_and_counted(&run);
        check::fans_are_the_followers(&run, 0);
    });
}

/// A failed import starts again with the next consent; a running or completed one does not.
#[test]
fn a_failed_import_begins_again_with_the_next_consent() {
    on_paused_time(async {
        let run = run_with_bound_account().await;
        let (app, tenant, app_id) = (run.world.services(), &run.tenants[0], &run.apps[0]);
        let imports = async || app.store.imports().list(tenant, app_id, 50, None).await.unwrap();
        let consent = async || start_after_consent(&app, tenant, app_id).await.unwrap();
        consent().await;
        assert_eq!(imports().await.len(), 1, "the binding's is complete");
        run.world
            .sim()
            .inject_fault(InjectedFault::once("/cgi-bin/user/get", FaultKind::Error { errcode: 61007 }));
        let path = format!("/v1/accounts/{app_id}/imports");
        run.world.api(&run.keys[0], "POST", &path, None, None).await.unwrap();
        run.world.run_until_idle().await;
        assert_eq!(imports().await[0].status, ImportStatus::Failed);
        assert!(imports().await[0].error.as_ref().unwrap().contains("User Management"));
        run.world.advance(100).await;
        consent().await;
        consent().await;
        assert_eq!(imports().await.len(), 3, "it begins again, once");
        run.world.run_until_idle().await;
        consent().await;
        let all = imports().await;
        assert_eq!((all.len(), all[0].status), (3, ImportStatus::Completed));
        check::fans_are_the_followers(&run, 0);
    });
}

/// The runbook's recovery from a lost credentials table: an item with any refresh token, due at once. WeChat
/// refuses it, and the hub looks up the right one. The list is of all accounts, hundreds of pages of a large
/// platform: it is asked for only where the account's own details do not tell.
#[test]
fn a_refresh_token_that_was_lost_comes_back_from_the_details_or_else_the_list() {
    for (what, by_details, calls_of_the_list) in
        [("the account's details tell it", true, 0), ("only the list of all accounts tells it", false, 1)]
    {
        on_paused_time(async {
            let run = run_with_bound_account().await;
            let (world, app) = (&run.world, &run.apps[0]);
            world.sim().configure(|habits| habits.details_without_refresh_token = !by_details);
            let item = json!({
                "pk": {"S": format!("AUTHORIZER#{app}")}, "sk": {"S": "AUTHORIZER"}, "v": {"N": "1"},
                "tenant_id": {"S": run.tenants[0]}, "refresh_token": {"S": "lost"},
                "due": {"S": "AT#0"}, "due_at": {"N": "0"},
            });
            dynamo::call_ok(
                &world.backends.db,
                "PutItem",
                &json!({"TableName": "CredentialsTable", "Item": item}),
            );
            let calls = || {
                let component = |api: &str| world.sim().calls(&format!("/cgi-bin/component/{api}")).calls;
                (component("api_get_authorizer_info"), component("api_get_authorizer_list"))
            };
            let (details, list) = calls();
            world.tick().await;
            world.run_until_idle().await;
            let found = world.services().store.authorizers().get(app).await.unwrap().unwrap();
            assert!(found.token.is_some(), "{what}: no token");
            let granted = world.sim().account(app).unwrap().authorization.unwrap();
            assert_eq!(found.refresh_token.expose(), granted.refresh_token, "{what}");
            assert!(wheel_slot(&found).is_some(), "{what}: it has no turn: {:?}", found.due);
            assert_eq!(calls(), (details + 1, list + calls_of_the_list), "{what}: calls of details and list");
        });
    }
}

/// An instance that had cached "unbound" kept saying so for five seconds after the binding: pushes were
/// dropped and messages failed permanently.
#[test]
fn an_instance_remembers_that_an_account_is_bound_and_never_that_it_is_not() {
    on_paused_time(async {
        let run = run_with_bound_account().await;
        let (world, app) = (&run.world, &run.apps[0]);
        let (one, other) = (world.services(), world.services());
        let is_bound = async |hub: &Services| {
            matches!(hub.store.accounts().addressee(app).await.unwrap(), Addressee::Bound(_))
        };
        let stands = async |hub: &Services| {
            let entry = hub.store.accounts().entry_uncached(app).await.unwrap().unwrap();
            entry.account.status == AccountStatus::Bound
        };
        assert!(is_bound(&one).await);
        let key = json!({"pk": {"S": format!("ACCOUNT#{app}")}, "sk": {"S": "ACCOUNT"}});
        let get = json!({"TableName": "PlatformTable", "Key": key});
        let as_bound = dynamo::call_ok(&world.backends.db, "GetItem", &get)["Item"].clone();
        world.advance(120).await;
        assert!(is_bound(&one).await);
        assert!(other.store.accounts().unbind(app, world.now(), world.now()).await.unwrap());
        assert!(is_bound(&one).await, "one read would be too much for each push");
        assert!(!stands(&one).await, "who refuses for good asks the database");
        world.advance(ACCOUNT_CACHE_SECONDS).await;
        assert!(!is_bound(&one).await, "longer than rules and a deletion may take");
        let until = (world.now() + 60).to_string();
        let under_way = json!({
            "pk": {"S": format!("ACCOUNT#{app}")}, "sk": {"S": "CONSENT"}, "under_way_until": {"N": until},
        });
        dynamo::call_ok(
            &world.backends.db,
            "PutItem",
            &json!({"TableName": "PlatformTable", "Item": under_way}),
        );
        let being_bound = async || {
            matches!(one.store.accounts().addressee(app).await.unwrap(), Addressee::BeingBound(Some(_)))
        };
        assert!(being_bound().await, "its pushes come again");
        world.advance(60).await;
        assert!(!being_bound().await, "for no longer than a binding may take");
        dynamo::call_ok(
            &world.backends.db,
            "PutItem",
            &json!({"TableName": "PlatformTable", "Item": as_bound}),
        );
        assert!(is_bound(&one).await && stands(&one).await, "at once");
    });
}

/// The refresh tokens of refused, deleted and unbound accounts were stored for ever.
#[test]
fn tokens_that_nobody_needs_are_deleted() {
    on_paused_time(async {
        let run = run_with_bound_account().await;
        let (world, app) = (&run.world, &run.apps[0]);
        let tokens = || {
            dynamo::get_item(
                &world.backends.db,
                "CredentialsTable",
                &format!("AUTHORIZER#{app}"),
                "AUTHORIZER",
            )
        };
        let unbind = async || {
            world.advance(120).await;
            world.withdraw(app, true);
            world.run_until_idle().await;
            assert!(!world.is_bound(app));
        };
        unbind().await;
        let left = tokens().unwrap();
        assert!(left["ttl"].as_i64().unwrap() > world.now() && left["due"].is_null(), "unbound: {left}");
        world.bind(&run.keys[1], app, true, true).await;
        world.run_until_idle().await;
        assert!(tokens().is_none(), "refused to another tenant: {:?}", tokens());
        world.bind(&run.keys[0], app, true, true).await;
        world.run_until_idle().await;
        let theirs = tokens().unwrap();
        assert!(theirs["ttl"].is_null() && theirs["due"].is_string(), "bound again: {theirs}");
        unbind().await;
        let path = format!("/v1/accounts/{app}");
        let gone = world.api(&run.keys[0], "DELETE", &path, None, None).await.unwrap();
        assert_eq!(gone.0, 204);
        world.run_until_idle().await;
        assert!(tokens().is_none(), "deleted: {:?}", tokens());
    });
}

/// A tenant that had lost an account and did not delete it blocked it for all others.
#[test]
fn an_account_that_the_operator_releases_is_free() {
    on_paused_time(async {
        let run = run_with_bound_account().await;
        let (world, app, store) = (&run.world, &run.apps[0], &run.world.services().store);
        assert_eq!(
            store.accounts().release(app).await.unwrap(),
            (AccountDeletion::StillBound, Some(run.tenants[0].clone()))
        );
        world.advance(120).await;
        world.withdraw(app, true);
        world.run_until_idle().await;
        assert_eq!(
            store.accounts().release(app).await.unwrap(),
            (AccountDeletion::Deleted, Some(run.tenants[0].clone()))
        );
        assert_eq!(store.accounts().release(app).await.unwrap(), (AccountDeletion::NotFound, None));
        world.bind(&run.keys[1], app, true, true).await;
        world.run_until_idle().await;
        assert!(store.accounts().get(&run.tenants[1], app).await.unwrap().unwrap().for_consent().bound);
        check::consent_decides(world, &run.keys, &run.tenants);
    });
}

/// Two revocations in one second look the same: the second counted as a duplicate of the first, and the
/// account stayed bound.
#[test]
fn an_account_that_is_revoked_again_in_the_same_second_is_unbound() {
    on_paused_time(async {
        let run = run_with_bound_account().await;
        let (world, app) = (&run.world, &run.apps[0]);
        world.advance(120).await;
        let event = format!(
            "<xml><AppId>wx00c0ffee00c0ffee</AppId><CreateTime>{}</CreateTime><InfoType>unauthorized</InfoType>\
             <AuthorizerAppid>{app}</AuthorizerAppid></xml>",
            world.now()
        );
        for _ in 0..2 {
            world.withdraw(app, false);
            world.sim().push_raw(CallbackUrl::Component, None, event.clone()).await;
            world.run_until_idle().await;
            assert!(!world.is_bound(app));
            world.bind(&run.keys[0], app, true, true).await;
            assert!(world.is_bound(app));
        }
    });
}

/// An authorization was given up after a minute without WeChat, and at once if the platform's own secret or
/// address was wrong.
#[test]
fn an_authorization_waits_for_an_hour_whatever_ails_the_platform() {
    for errcode in [-1, 40164, 40125, 61004, 45009] {
        on_paused_time(async {
            let run = run_with_bound_account().await;
            let (world, app) = (&run.world, &run.apps[1]);
            let ails = FaultKind::Error { errcode };
            world
                .sim()
                .inject_fault(InjectedFault::once("/cgi-bin/component/api_query_auth", ails).times(10_000));
            let page = world.bind(&run.keys[0], app, true, true).await;
            assert_eq!(page, Some(502), "{errcode}: the page says that it is for later");
            for _ in 0..50 {
                world.advance(60).await;
            }
            assert!(!world.is_bound(app), "{errcode}");
            world.sim().clear_faults();
            world.run_until_idle().await;
            assert!(world.is_bound(app), "{errcode}: the event was given up");
        });
    }
}

/// A page was opened before its account was unbound, and consent was given on it afterwards.
#[test]
fn a_page_from_before_the_unbinding_binds_nothing() {
    on_paused_time(async {
        let run = run_with_bound_account().await;
        let (world, app) = (&run.world, &run.apps[0]);
        for returns in [true, false] {
            let old = world.open_page(&run.keys[0]).await.unwrap();
            world.advance(30).await;
            world.withdraw(app, true);
            world.run_until_idle().await;
            assert!(!world.is_bound(app));
            let back = world.consent(&old, app, !returns, true).unwrap();
            if returns {
                let (status, ..) = world.browse(&back, &old.cookies).await.unwrap();
                assert_eq!(status, 400, "the page says to begin again");
            }
            world.run_until_idle().await;
            assert!(!world.is_bound(app), "by the browser: {returns}");
            // the same link, opened again
            let now = world.reopen_page(&run.keys[0], &old.binding_id).await.unwrap();
            assert_ne!(now.pre_auth_code, old.pre_auth_code);
            world.consent(&now, app, true, true).unwrap();
            world.run_until_idle().await;
            assert!(world.is_bound(app));
        }
        check::consent_decides(world, &run.keys, &run.tenants);
    });
}

/// A request with a code but without the page's cookie was held for eight seconds while the event was
/// pending: ten such requests a second used up all invocations, and WeChat's tickets were not accepted.
#[test]
fn a_return_that_nobody_asked_about_holds_an_invocation_for_two_seconds_at_most() {
    on_paused_time(async {
        let run = run_with_bound_account().await;
        let (world, store) = (&run.world, &run.world.services().store);
        let opened = world.open_page(&run.keys[0]).await.unwrap();
        let page = store.consents().page(&code_fingerprint(&opened.pre_auth_code)).await.unwrap().unwrap();
        store.bindings().record_authorization_event(&page).await.unwrap();
        let back =
            |code: &str| format!("http://hub/bind/callback?binding={}&auth_code={code}", opened.binding_id);
        let took = async |url: &str, cookies: &[String]| {
            let begun = tokio::time::Instant::now();
            let (status, ..) = world.browse(url, cookies).await.unwrap();
            (status, begun.elapsed())
        };
        let (status, waited) = took(&back("abc"), &[]).await;
        assert!(status == 202 && waited < Duration::from_secs(3), "a stranger's: {status} {waited:?}");
        let (status, waited) = took(&(back("abc") + "&waited=1"), &[]).await;
        assert!(status == 202 && waited < Duration::from_secs(1), "once more: {status} {waited:?}");
        for n in 0..15 {
            let (status, waited) = took(&back(&format!("abc{n}")), &opened.cookies).await;
            let most = Duration::from_secs(if n < 10 { 9 } else { 1 });
            assert!(status == 202 && waited < most, "the browser's, number {n}: {status} {waited:?}");
        }
        assert_eq!(took(&(back("abc") + "&waited=10"), &[]).await.0, 202, "the last one");
        world.advance(120).await;
        let (status, waited) = took(&back("abc"), &opened.cookies).await;
        assert!(status == 400 && waited < Duration::from_secs(1), "after two minutes: {status} {waited:?}");
        assert_eq!(took(&(back("abc") + "&waited=10"), &[]).await.0, 400);
    });
}

/// The event's mark stayed on the binding when its job ended without an outcome for the binding.
#[test]
fn an_event_that_came_to_nothing_is_forgotten() {
    on_paused_time(async {
        let run = run_with_bound_account().await;
        let world = &run.world;
        let opened = world.open_page(&run.keys[0]).await.unwrap();
        let event = format!(
            "<xml><AppId>wx00c0ffee00c0ffee</AppId><CreateTime>{}</CreateTime><InfoType>authorized</InfoType>\
             <AuthorizerAppid>{}</AuthorizerAppid><AuthorizationCode>queryauthcode@@@used</AuthorizationCode>\
             <PreAuthCode>{}</PreAuthCode></xml>",
            world.now(),
            run.apps[1],
            opened.pre_auth_code
        );
        world.sim().push_raw(CallbackUrl::Component, None, event).await;
        let noted = async || {
            world.services().store.bindings().by_link(&opened.binding_id).await.unwrap().unwrap().event_at
        };
        assert!(noted().await.is_some(), "it came");
        world.run_until_idle().await;
        assert_eq!(noted().await, None);
    });
}
