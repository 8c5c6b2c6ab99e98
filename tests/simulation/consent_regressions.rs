//! Bugs with consents that were found once, as plain tests: each names what it found.

use std::time::Duration;

use oahub_harness::faults::Fault;
use wechat_simulator::{FaultKind, InjectedFault, OwnerConsent};

use crate::{consent::ConsentRun, on_paused_time};

const EXCHANGE: &str = "/cgi-bin/component/api_query_auth";
const REFRESH: &str = "/cgi-bin/component/api_authorizer_token";
const DETAILS: &str = "/cgi-bin/component/api_get_authorizer_info";
const LIST: &str = "/cgi-bin/component/api_get_authorizer_list";

/// Time passes with a tick each minute, as in production.
async fn tick_for_minutes(run: &ConsentRun, minutes: u32) {
    for _ in 0..minutes {
        tokio::time::sleep(Duration::from_secs(60)).await;
        run.world.tick().await;
        run.world.process_batches(3).await;
    }
}

/// The first account, bound to the first tenant two minutes ago.
async fn run_with_bound_account(seed: u64) -> ConsentRun {
    let run = ConsentRun::new(seed).await;
    assert_eq!(run.world.bind(&run.keys[0], &run.apps[0], true, true).await, Some(200));
    run.world.run_until_idle().await;
    run.world.advance(120).await;
    run
}

/// An account whose tokens had died was authorized again, but none of the new tokens was stored: it was bound
/// with its dead old tokens, every message failed, and it was unbound within two hours.
#[test]
fn a_new_consent_does_not_inherit_the_dead_tokens_of_the_old_one() {
    for ended in ["withdrawn", "another password"] {
        for lost in ["no refresh token comes", "the answer is lost", "the write fails", "the code is old"] {
            on_paused_time(async {
                let run = run_with_bound_account(7).await;
                let (world, app) = (&run.world, run.apps[0].as_str());
                let sim = world.sim();
                if ended == "withdrawn" {
                    world.withdraw(app, false);
                } else {
                    sim.fail_refreshes(app, 42007);
                }
                world.advance(7_000).await;
                tick_for_minutes(&run, 2).await;
                assert!(!world.is_bound(app), "{ended}: nobody noticed");
                sim.clear_faults();
                let lifetime = sim.settings().auth_code_lifetime;
                match lost {
                    "the answer is lost" => {
                        sim.inject_fault(InjectedFault::once(EXCHANGE, FaultKind::LostResponse))
                    }
                    "the write fails" => world.backends.faults.inject_next("authorized_by", Fault::Lost),
                    "the code is old" => sim.configure(|habits| habits.auth_code_lifetime = -1),
                    _ => {}
                }
                let refused = || sim.calls(REFRESH).errors.values().sum::<u64>();
                let before = refused();
                let page = world.open_page(&run.keys[0]).await.unwrap();
                world.consent(&page, app, true, lost != "no refresh token comes").unwrap();
                sim.configure(|habits| habits.auth_code_lifetime = lifetime);
                world.run_until_idle().await;
                assert!(world.is_bound(app), "{ended}, {lost}");
                assert_eq!(refused(), before, "{ended}, {lost}: a dead token of before was tried");
                run.bound_accounts_can_be_used().await;
                world.advance(7_800).await;
                tick_for_minutes(&run, 2).await;
                assert!(world.is_bound(app), "{ended}, {lost}: unbound though its grant stands");
                run.bound_accounts_can_be_used().await;
            });
        }
    }
}

/// WeChat documents the tokens of `api_query_auth` as optional, and sends an empty refresh token at times: such a
/// consent was refused as failed, although WeChat tells the token elsewhere.
#[test]
fn a_code_without_a_refresh_token_binds_by_what_the_details_or_the_list_tell() {
    for (what, browser, by_details) in [
        ("the browser comes back, and the details tell it", true, true),
        ("the browser comes back, and only the list tells it", true, false),
        ("WeChat's event comes alone, and the details tell it", false, true),
        ("WeChat's event comes alone, and only the list tells it", false, false),
    ] {
        on_paused_time(async {
            let run = ConsentRun::new(16).await;
            let (world, key, app) = (&run.world, run.keys[0].as_str(), run.apps[0].as_str());
            world.sim().configure(|habits| habits.details_without_refresh_token = !by_details);
            let page = world.open_page(key).await.unwrap();
            let back = world.consent(&page, app, !browser, false).unwrap();
            if browser {
                assert_eq!(world.browse(&back, &page.cookies).await.unwrap().0, 200, "{what}: its page");
            }
            world.run_until_idle().await;
            let path = format!("/v1/bindings/{}", page.binding_id);
            let (_, binding) = world.api(key, "GET", &path, None, None).await.unwrap();
            assert_eq!(binding["status"], "bound", "{what}: {binding}");
            assert!(world.is_bound(app), "{what}");
            let stored = world.services().store.authorizers().get(app).await.unwrap().unwrap();
            let granted = world.sim().account(app).unwrap().authorization.unwrap();
            assert_eq!(stored.refresh_token.expose(), granted.refresh_token, "{what}");
            assert_eq!(
                world.sim().calls(LIST).calls > 0,
                !by_details,
                "{what}: whether the list was asked for"
            );
            run.bound_accounts_can_be_used().await;
        });
    }
}

/// The job of a refused consent came late and deleted the tokens of a good one that was just being bound.
#[test]
fn a_refused_consent_leaves_the_tokens_of_a_good_one() {
    on_paused_time(async {
        let run = ConsentRun::new(3).await;
        let (world, key, app) = (&run.world, run.keys[0].as_str(), run.apps[0].as_str());
        // on a link for another account: possible only if a user edits WeChat's URL
        let wrong = world.open_page_for(key, Some(&run.apps[1])).await.unwrap();
        let back = world.consent(&wrong, app, true, true).unwrap();
        world.browse(&back, &wrong.cookies).await.unwrap();
        world.sim().deliver_pending().await; // its job stays queued
        world.advance(30).await;
        let good = world.open_page(key).await.unwrap();
        let back = world.consent(&good, app, false, true).unwrap();
        world.sim().inject_fault(InjectedFault::once(DETAILS, FaultKind::LateAnswer { ms: 4_000 }));
        let late = async {
            tokio::time::sleep(Duration::from_secs(4)).await; // half of it is spent waiting for the event
            world.process_batches(1).await
        };
        let (page, came) = tokio::join!(world.browse(&back, &good.cookies), late);
        assert!(came > 0, "the job of the other consent did not come");
        assert_eq!(page.unwrap().0, 200);
        assert!(world.is_bound(app), "the good consent did not bind");
        let stored = world.services().store.authorizers().get(app).await.unwrap().unwrap();
        assert!(stored.token.is_some(), "what its code gave was deleted");
        run.bound_accounts_can_be_used().await;
    });
}

/// The administrator withdrew after WeChat had announced the authorization and before the account was bound:
/// the event found no bound account and was dropped.
#[test]
fn an_authorization_that_is_withdrawn_while_it_is_being_bound_unbinds() {
    on_paused_time(async {
        let run = ConsentRun::new(5).await;
        let (world, app) = (&run.world, run.apps[0].as_str());
        let page = world.open_page(&run.keys[0]).await.unwrap();
        let back = world.consent(&page, app, false, true).unwrap();
        world.sim().inject_fault(InjectedFault::once(DETAILS, FaultKind::LateAnswer { ms: 4_000 }));
        let withdrawn = async {
            tokio::time::sleep(Duration::from_secs(4)).await; // half of it is spent waiting for the event
            world.withdraw(app, true);
            world.sim().deliver_pending().await;
        };
        let (page, ()) = tokio::join!(world.browse(&back, &page.cookies), withdrawn);
        assert_eq!(page.unwrap().0, 200);
        assert!(world.is_bound(app), "it was to be withdrawn in between");
        tokio::time::sleep(Duration::from_secs(61)).await;
        world.process_batches(3).await; // no tick: a refresh that fails would find out too, two hours later
        assert!(!world.is_bound(app), "bound, and its grant is withdrawn");
    });
}

/// A browser with a page of its own returned the code of a consent on another tenant's page, while the event
/// was late: the account went to the browser's tenant, and the event with the right page changed nothing.
#[test]
fn wechats_event_goes_before_a_browser_that_brought_anothers_code() {
    on_paused_time(async {
        let run = ConsentRun::new(9).await;
        let (world, app) = (&run.world, run.apps[0].as_str());
        let (mine, theirs) =
            (world.open_page(&run.keys[0]).await.unwrap(), world.open_page(&run.keys[1]).await.unwrap());
        let back = world.consent(&mine, app, true, true).unwrap(); // its event is not delivered yet
        let stolen = back.replace(&mine.binding_id, &theirs.binding_id);
        assert_eq!(world.browse(&stolen, &theirs.cookies).await.unwrap().0, 200, "by the browser's word");
        let path = format!("/v1/accounts/{app}");
        let get =
            async |key: usize, path: &str| world.api(&run.keys[key], "GET", path, None, None).await.unwrap();
        assert_eq!(get(1, &path).await.0, 200);
        world.run_until_idle().await;
        assert_eq!((get(1, &path).await.0, get(0, &path).await.0), (404, 200), "by WeChat's");
        assert_eq!(get(0, &format!("/v1/bindings/{}", mine.binding_id)).await.1["status"], "bound");
        let imports = get(0, &format!("{path}/imports")).await.1;
        assert_eq!(imports["data"][0]["status"], "completed", "{imports}");
        assert_eq!(world.services().store.accounts().count_bound().await.unwrap(), 1);
        for (key, operation) in [(0, "account.authorized"), (1, "account.authorized_elsewhere")] {
            let (_, audit) = get(key, &format!("/v1/audit?operation={operation}")).await;
            assert_eq!(audit["data"][0]["outcome"], "succeeded", "{audit}");
            assert!(
                key == 0 || !audit.to_string().contains(&mine.binding_id),
                "it knows the other's link: {audit}"
            );
        }
        run.bound_accounts_can_be_used().await;
        // the browser returns once more
        world.browse(&stolen, &theirs.cookies).await.unwrap();
        world.run_until_idle().await;
        assert_eq!((get(1, &path).await.0, get(0, &path).await.0), (404, 200));
    });
}

/// A consent on another tenant's page changed the permissions, and the owner's audit log named that page: its
/// id is the link itself, by which others see who asks and can bind.
#[test]
fn a_tenant_does_not_learn_the_link_on_which_its_account_was_authorized_elsewhere() {
    let few = || Some(vec![1, 7]);
    for (before, now, operation) in
        [(None, few(), "account.permissions_lost"), (few(), None, "account.permissions_gained")]
    {
        on_paused_time(async {
            let run = run_with_bound_account(10).await;
            let (world, app) = (&run.world, run.apps[0].as_str());
            let consent = async |func_ids: &Option<Vec<u32>>, pre_auth_code: Option<String>| {
                let (app_id, func_ids) = (app.to_owned(), func_ids.clone());
                let consent = OwnerConsent { app_id, func_ids, pre_auth_code, ..OwnerConsent::default() };
                world.sim().authorize(consent).unwrap();
                world.run_until_idle().await;
            };
            consent(&before, None).await;
            world.advance(2).await;
            let theirs = world.open_page(&run.keys[1]).await.unwrap();
            consent(&now, Some(theirs.pre_auth_code.clone())).await;
            let get = async |key: usize, path: &str| {
                world.api(&run.keys[key], "GET", path, None, None).await.unwrap().1
            };
            let binding = get(1, &format!("/v1/bindings/{}", theirs.binding_id)).await;
            assert_eq!(binding["reason"], "account_bound_elsewhere", "{binding}");
            let log = get(0, "/v1/audit").await;
            let entries = log["data"].as_array().unwrap();
            let entry = entries.iter().find(|entry| entry["operation"] == operation).unwrap();
            assert_eq!(entry["actor"]["id"], "wechat", "{entry}");
            assert!(!log.to_string().contains(&theirs.binding_id), "{log}");
        });
    }
}

/// Ten reloads while WeChat was unreachable used up a link's attempts: the valid code of the browser that
/// had opened the page was never exchanged.
#[test]
fn a_failure_of_wechats_costs_a_link_none_of_its_questions() {
    on_paused_time(async {
        let run = ConsentRun::new(11).await;
        let (world, app) = (&run.world, run.apps[0].as_str());
        let page = world.open_page(&run.keys[0]).await.unwrap();
        let back = world.consent(&page, app, false, true).unwrap();
        for kind in [FaultKind::Http { status: 502 }, FaultKind::Error { errcode: -1 }] {
            world.sim().inject_fault(InjectedFault::once(EXCHANGE, kind).times(1_000));
            for at_once in [1, 1, 1, 12] {
                let reloads = (0..at_once).map(|_| world.browse(&back, &page.cookies));
                for page in futures::future::join_all(reloads).await {
                    assert!(page.unwrap().0 >= 400);
                }
            }
            world.sim().clear_faults();
        }
        assert_eq!(world.browse(&back, &page.cookies).await.unwrap().0, 200);
        assert!(world.is_bound(app));
    });
}

/// Someone with the link used up its attempts with wrong codes; without the event nobody could bind by it.
#[test]
fn a_link_whose_questions_are_used_up_asks_for_a_page_that_was_opened_since_once_a_minute() {
    on_paused_time(async {
        let run = ConsentRun::new(12).await;
        let (world, app) = (&run.world, run.apps[0].as_str());
        let page = world.open_page(&run.keys[0]).await.unwrap();
        let wrong =
            |n: u32| format!("http://hub/bind/callback?binding={}&auth_code=wrong{n}", page.binding_id);
        let asked = || world.sim().calls(EXCHANGE).calls;
        for n in 0..15 {
            world.browse(&wrong(n), &page.cookies).await.unwrap();
        }
        assert_eq!(asked(), 10);
        world.advance(300).await;
        world.browse(&wrong(15), &page.cookies).await.unwrap();
        assert_eq!(asked(), 10, "of before");
        for n in 16..20 {
            let opened = world.reopen_page(&page.key, &page.binding_id).await.unwrap();
            world.browse(&wrong(n), &opened.cookies).await.unwrap();
            assert_eq!(asked(), 11, "one a minute");
        }
        tokio::time::sleep(Duration::from_secs(61)).await;
        let opened = world.reopen_page(&page.key, &page.binding_id).await.unwrap();
        let back = world.consent(&opened, app, false, true).unwrap();
        assert_eq!(world.browse(&back, &opened.cookies).await.unwrap().0, 200);
        assert!(world.is_bound(app));
    });
}

/// The entry was dated by the opening of the page, up to an hour earlier: who paged on by date missed it.
#[test]
fn a_consent_is_on_record_once_by_when_it_was_given() {
    on_paused_time(async {
        let run = ConsentRun::new(13).await;
        let world = &run.world;
        let page = world.open_page(&run.keys[0]).await.unwrap();
        world.advance(300).await;
        let given = world.now();
        let back = world.consent(&page, &run.apps[0], true, true).unwrap();
        world.browse(&back, &page.cookies).await.unwrap();
        world.advance(60).await;
        world.run_until_idle().await;
        let path = "/v1/audit?operation=account.authorized";
        let (_, audit) = world.api(&run.keys[0], "GET", path, None, None).await.unwrap();
        let entries = audit["data"].as_array().unwrap();
        assert_eq!(entries.len(), 1, "{audit}");
        let at: jiff::Timestamp = entries[0]["at"].as_str().unwrap().parse().unwrap();
        assert!((given..given + 10).contains(&at.as_second()), "{audit}, {given}");
    });
}

/// The first attempt stored the item and died; the repeated request, hours later, returned other values.
#[test]
fn what_is_made_again_after_a_crash_is_answered_as_it_is() {
    on_paused_time(async {
        let run = ConsentRun::new(14).await;
        let world = &run.world;
        for (path, body, made_by, member) in [
            ("/v1/bindings", serde_json::json!({}), "BINDING#", "expires_at"),
            ("/v1/keys", serde_json::json!({"name": "Till"}), "Till", "created_at"),
        ] {
            let key = run.keys[0].as_str();
            let made = world.now();
            world.backends.faults.inject_next(made_by, Fault::Crash);
            assert!(world.api(key, "POST", path, Some(body.clone()), Some("k1")).await.is_none());
            assert!(world.backends.faults.was_injected());
            world.advance(2 * 3600).await;
            let (status, again) = world.api(key, "POST", path, Some(body), Some("k1")).await.unwrap();
            assert_eq!(status, 201, "{again}");
            let at: jiff::Timestamp = again[member].as_str().unwrap().parse().unwrap();
            assert!(at.as_second() <= made + 3_601, "{path} answers another {member}: {again}");
        }
    });
}

/// WeChat was slow and the function timed out: the administrator saw the gateway's error.
#[test]
fn a_browser_is_answered_in_time_however_slow_wechat_is() {
    on_paused_time(async {
        let run = ConsentRun::new(15).await;
        let (world, app) = (&run.world, run.apps[0].as_str());
        world.sim().configure(|habits| {
            habits.component_token_lifetime = 1_200;
            habits.pre_auth_code_lifetime = 1_800;
        });
        let page = world.open_page(&run.keys[0]).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1_300)).await;
        let back = world.consent(&page, app, false, true).unwrap();
        // a platform token, the exchange, two seconds of waiting for the event, the details
        for path in [EXCHANGE, "/cgi-bin/component/api_component_token", DETAILS] {
            world.sim().slow_down(path, 9_500);
        }
        let (status, text, _) = world.browse(&back, &page.cookies).await.unwrap();
        assert!(status >= 400 && text.contains("<html"), "{status}: {text}");
    });
}
