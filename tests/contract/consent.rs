//! Consents: who granted what to whom, by browser and by event, and what an attacker can do with the URLs.

use oahub_tests::{
    hub::{self, COMPONENT_APP_ID, Hub},
    push::now,
    run,
    tenant::{BindingLink, Tenant, link_target},
    wait::until,
};
use serde_json::{Value, json};
use shared::model::permission::{PERMISSIONS, REQUIRED_PERMISSIONS};
use wechat_simulator::{
    AccountKind, CallbackUrl, FaultKind, InjectedFault, NewAccount, OwnerConsent, PushOutcome,
    SimulatedAccount,
};

/// All permission sets that the hub requires, except these.
fn required_permissions_without(without: &[u32]) -> Vec<u32> {
    PERMISSIONS
        .iter()
        .take(REQUIRED_PERMISSIONS)
        .map(|(id, ..)| *id)
        .filter(|id| !without.contains(id))
        .collect()
}

async fn get_account(tenant: &Tenant<'_>, account: &SimulatedAccount) -> Value {
    tenant.api.get(&format!("/v1/accounts/{}", account.app_id)).await.expect(200)
}

async fn await_status(tenant: &Tenant<'_>, account: &SimulatedAccount, status: &str) {
    until(format!("{} to be {status}", account.app_id), async || {
        (get_account(tenant, account).await["status"] == status).then_some(())
    })
    .await;
}

/// WeChat pushes a hand-written event to the platform's URL.
async fn push_component_event(hub: &Hub, account: &SimulatedAccount, info_type: &str, at: i64, more: &str) {
    let event = format!(
        "<xml><AppId>{COMPONENT_APP_ID}</AppId><CreateTime>{at}</CreateTime><InfoType>{info_type}</InfoType>\
         <AuthorizerAppid>{}</AuthorizerAppid>{more}</xml>",
        account.app_id
    );
    let delivery = hub.wechat.push_raw(CallbackUrl::Component, None, event).await;
    assert_eq!(delivery.outcome, PushOutcome::Accepted, "{delivery:?}");
}

/// WeChat pushes an authorization event with an unused code; `page` is its pre_auth_code.
async fn push_authorized(hub: &Hub, account: &SimulatedAccount, info_type: &str, page: Option<&str>) {
    let grant =
        OwnerConsent { app_id: account.app_id.clone(), without_event: true, ..OwnerConsent::default() };
    let code = hub.wechat.authorize(grant).unwrap().auth_code;
    let page = page.map(|code| format!("<PreAuthCode>{code}</PreAuthCode>")).unwrap_or_default();
    let more = format!("<AuthorizationCode>{code}</AuthorizationCode>{page}");
    push_component_event(hub, account, info_type, now(), &more).await;
}

/// Waits until earlier pushes are processed: a later binding has taken effect.
async fn await_earlier_pushes(tenant: &Tenant<'_>) {
    let marker = tenant.hub.add_service_account(0);
    tenant.bind(&marker).await;
}

fn pre_auth_code(page: &str) -> String {
    let url = reqwest::Url::parse(&link_target(page, "authorize")).unwrap();
    url.query_pairs().find(|(name, _)| name == "pre_auth_code").unwrap().1.into_owned()
}

#[test]
fn an_account_that_was_revoked_is_bound_again_by_a_page_of_its_tenant_alone() {
    run(async {
        let hub = hub::shared().await;
        let (mallory, victim) = (hub.create_tenant().await, hub.create_tenant().await);
        let account = hub.add_service_account(1);
        mallory.bind(&account).await;
        let imports = async || {
            let path = format!("/v1/accounts/{}/imports", account.app_id);
            mallory.api.get(&path).await.expect(200)["data"].as_array().unwrap().len()
        };
        let before = imports().await;
        hub.wechat.unauthorize(&account.app_id, true).unwrap();
        await_status(&mallory, &account, "unbound").await;
        let (_, binding) = victim.try_bind(&account).await;
        assert_eq!(binding["reason"], "account_bound_elsewhere");
        // the grant to the platform stands now, and its owner changes it on WeChat's own pages
        push_authorized(hub, &account, "updateauthorized", None).await;
        push_authorized(hub, &account, "authorized", None).await;
        push_authorized(hub, &account, "authorized", Some("preauthcode@@@nobodys")).await;
        await_earlier_pushes(&mallory).await;
        assert_eq!(get_account(&mallory, &account).await["status"], "unbound");
        assert_eq!(imports().await, before);
        mallory.bind(&account).await;
    });
}

#[test]
fn an_event_without_a_page_binds_nobody_and_renews_what_is_bound() {
    run(async {
        let hub = hub::shared().await;
        let tenant = hub.create_tenant().await;
        let account = hub.add_service_account(1);
        push_authorized(hub, &account, "authorized", None).await;
        await_earlier_pushes(&tenant).await;
        tenant.api.get(&format!("/v1/accounts/{}", account.app_id)).await.expect_problem(404, "not_found");
        tenant.bind(&account).await;
        let app_id = account.app_id.clone();
        let grant = OwnerConsent {
            app_id,
            func_ids: Some(required_permissions_without(&[8])),
            ..OwnerConsent::default()
        };
        hub.wechat.authorize(grant).unwrap();
        until("the change is shown", async || {
            (get_account(&tenant, &account).await["missing_permissions"] == json!(["WeChat Coupon Access"]))
                .then_some(())
        })
        .await;
        assert_eq!(get_account(&tenant, &account).await["status"], "bound");
    });
}

#[test]
fn an_unauthorized_that_is_older_than_the_newest_consent_changes_nothing() {
    run(async {
        let hub = hub::shared().await;
        let tenant = hub.create_tenant().await;
        let account = hub.add_service_account(1);
        tenant.bind(&account).await;
        let revoked = now();
        hub.wechat.unauthorize(&account.app_id, false).unwrap(); // its event is late
        tenant.bind(&account).await;
        for at in [revoked, revoked - 3600, 0] {
            push_component_event(hub, &account, "unauthorized", at, "").await;
        }
        await_earlier_pushes(&tenant).await;
        assert_eq!(get_account(&tenant, &account).await["status"], "bound");
        // a genuine one still unbinds, whatever its time says
        hub.wechat.unauthorize(&account.app_id, false).unwrap();
        push_component_event(hub, &account, "unauthorized", now() + 86_400, "").await;
        await_status(&tenant, &account, "unbound").await;
    });
}

#[test]
fn a_code_is_for_the_page_on_which_the_consent_began() {
    run(async {
        let hub = hub::shared().await;
        let (mallory, victim) = (hub.create_tenant().await, hub.create_tenant().await);
        let account = hub.add_service_account(1);
        let (theirs, ours) = (mallory.create_binding().await, victim.create_binding().await);
        assert_eq!(hub.open(&theirs.url).await.status, 200, "Mallory's browser has opened Mallory's page");
        let back = hub.consent(&ours, &account.app_id, &required_permissions_without(&[])).await;
        let stolen = back.replace(&ours.id, &theirs.id);
        assert_ne!(stolen, back);
        let page = hub.open(&stolen).await;
        assert!(page.status.is_client_error(), "{page:?}");
        until("bound for whose page it was", async || {
            (victim.binding(&ours).await["status"] == "bound").then_some(())
        })
        .await;
        assert_eq!(mallory.binding(&theirs).await["status"], "pending");
        mallory.api.get(&format!("/v1/accounts/{}", account.app_id)).await.expect_problem(404, "not_found");
    });
}

#[test]
fn without_the_event_a_browser_binds_that_opened_the_page_and_no_other() {
    run(async {
        let hub = hub::shared().await;
        let tenant = hub.create_tenant().await;
        let account = hub.add_service_account(1);
        let link = tenant.create_binding().await;
        hub.wechat.withhold_event(&account.app_id);
        let back = hub.consent(&link, &account.app_id, &required_permissions_without(&[])).await;
        let page = hub.open_in_other_browser(&back).await;
        assert!(page.status.is_client_error(), "{page:?}");
        assert_eq!(tenant.binding(&link).await["status"], "pending");
        let page = hub.open(&back).await;
        assert_eq!(
            (page.status.as_u16(), tenant.binding(&link).await["status"].as_str()),
            (200, Some("bound"))
        );
    });
}

#[test]
fn the_event_binds_for_a_browser_that_lost_its_cookie() {
    run(async {
        let hub = hub::shared().await;
        let tenant = hub.create_tenant().await;
        let account = hub.add_service_account(1);
        let link = tenant.create_binding().await;
        let back = hub.consent(&link, &account.app_id, &required_permissions_without(&[])).await;
        let page = until("bound by the event", async || {
            let page = hub.open_in_other_browser(&back).await;
            assert!(page.status == 200 || page.refresh_target(&back).is_some(), "{page:?}");
            (page.status == 200).then_some(page)
        });
        let page = page.await;
        assert!(page.text.contains(&account.name), "{page:?}");
    });
}

#[test]
fn wrong_codes_cost_few_calls_and_leave_the_link_to_whoever_opened_it() {
    run(async {
        let hub = Hub::exclusive().await;
        let tenant = hub.create_tenant().await;
        let account = hub.add_service_account(1);
        let link = tenant.create_binding().await;
        let calls = || {
            let calls = hub.wechat.calls("/cgi-bin/component/api_query_auth");
            calls.calls
        };
        let wrong = |n: u32| {
            format!("{}/bind/callback?binding={}&auth_code=queryauthcode@@@wrong{n}", hub.url, link.id)
        };
        let (here, address) = (&hub, &wrong);
        let strangers = (0..6).map(|n| async move { here.open_in_other_browser(&address(n)).await });
        for page in futures::future::join_all(strangers).await {
            assert!(page.status.is_client_error(), "{page:?}");
        }
        assert_eq!(calls(), 0, "a browser that never opened the page");
        hub.open(&link.url).await;
        for n in 0..12 {
            assert!(hub.open(&wrong(n)).await.status.is_client_error());
        }
        assert_eq!(calls(), 10, "one that did");
        assert_eq!(tenant.binding(&link).await["status"], "pending");
        let back = hub.consent(&link, &account.app_id, &required_permissions_without(&[])).await;
        until("bound by the event", async || (hub.open(&back).await.status == 200).then_some(())).await;
        assert_eq!(tenant.binding(&link).await["status"], "bound");
    });
}

#[test]
fn a_page_never_shows_a_code_that_was_used() {
    run(async {
        let hub = Hub::exclusive().await;
        let tenant = hub.create_tenant().await;
        let open = async |link: &BindingLink| pre_auth_code(&hub.open(&link.url).await.text);
        for what in ["the exchange fails", "the code is too old", "only the event comes"] {
            let link = tenant.create_binding().await;
            let first = open(&link).await;
            assert_eq!(open(&link).await, first, "a reload burns no code");
            let account = hub.add_account(NewAccount { verify_type: Some(-1), ..NewAccount::default() });
            let other = hub.add_service_account(1);
            match what {
                "the exchange fails" => {
                    hub.wechat.withhold_event(&account.app_id);
                    let fails = FaultKind::Http { status: 502 };
                    hub.wechat.inject_fault(
                        InjectedFault::once("/cgi-bin/component/api_query_auth", fails).times(3),
                    );
                    let back = hub.consent(&link, &account.app_id, &required_permissions_without(&[])).await;
                    let page = hub.open(&back).await;
                    assert_eq!(page.status, 502, "{page:?}");
                    hub.wechat.clear_faults();
                }
                "the code is too old" => {
                    hub.wechat.withhold_event(&account.app_id);
                    let usual = hub.wechat.settings().auth_code_lifetime;
                    hub.wechat.configure(|habits| habits.auth_code_lifetime = -1);
                    let back = hub.consent(&link, &account.app_id, &required_permissions_without(&[])).await;
                    assert!(hub.open(&back).await.status.is_client_error());
                    hub.wechat.configure(|habits| habits.auth_code_lifetime = usual);
                }
                _ => {
                    hub.consent(&link, &account.app_id, &required_permissions_without(&[])).await;
                    until("refused by the event", async || {
                        (tenant.binding(&link).await["status"] == "refused").then_some(())
                    })
                    .await;
                }
            }
            assert_ne!(open(&link).await, first, "{what}");
            // WeChat takes the new one, for another account too
            let back = hub.consent(&link, &other.app_id, &required_permissions_without(&[])).await;
            assert_eq!(hub.open(&back).await.status, 200, "{what}");
            assert_eq!(tenant.binding(&link).await["status"], "bound", "{what}");
        }
    });
}

#[test]
fn a_refused_account_leaves_the_link_for_another_try() {
    run(async {
        let hub = hub::shared().await;
        let tenant = hub.create_tenant().await;
        let link = tenant.create_binding().await;
        let bakery = hub.add_account(NewAccount { verify_type: Some(-1), ..NewAccount::default() });
        let back = hub.consent(&link, &bakery.app_id, &required_permissions_without(&[])).await;
        let page = hub.open(&back).await;
        for part in ["mp.weixin.qq.com", "取消授权", "Try again", "unverified_account"] {
            assert!(page.text.contains(part), "{part}: {}", page.text);
        }
        assert_eq!(hub.open(&back).await.text, page.text, "a page that is loaded again says the same");
        assert_eq!(link_target(&page.text, "retry"), link.url);
        let binding = tenant.binding(&link).await;
        assert_eq!(binding["reason"], "unverified_account");
        let again = hub.open(&link.url).await;
        assert!(again.status == 200 && again.text.contains("was not bound"), "{again:?}");
        let account = hub.add_service_account(1);
        let back = hub.consent(&link, &account.app_id, &required_permissions_without(&[])).await;
        assert_eq!(hub.open(&back).await.status, 200);
        let binding = tenant.binding(&link).await;
        assert_eq!((&binding["status"], &binding["app_id"]), (&json!("bound"), &json!(account.app_id)));
        assert_eq!(binding["reason"], Value::Null);
    });
}

#[test]
fn a_link_for_one_account_binds_no_other() {
    run(async {
        let hub = hub::shared().await;
        let tenant = hub.create_tenant().await;
        let (wanted, other) = (hub.add_service_account(1), hub.add_service_account(1));
        let made = tenant.api.post("/v1/bindings", &json!({"app_id": wanted.app_id})).await.expect(201);
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        let link = BindingLink { id: text("id"), url: text("url") };
        let page = hub.open(&link.url).await;
        for part in [&*wanted.app_id, "AppID", "mp.weixin.qq.com"] {
            assert!(page.text.contains(part), "{part}: {}", page.text);
        }
        assert!(link_target(&page.text, "authorize").contains(&format!("biz_appid={}", wanted.app_id)));
        assert_eq!(tenant.binding(&link).await["app_id"], wanted.app_id.as_str());
        let back = hub.consent(&link, &other.app_id, &required_permissions_without(&[])).await;
        let page = hub.open(&back).await;
        assert!(page.text.contains("other_account"), "{}", page.text);
        let binding = tenant.binding(&link).await;
        assert_eq!((&binding["status"], &binding["reason"]), (&json!("refused"), &json!("other_account")));
        tenant.api.get(&format!("/v1/accounts/{}", other.app_id)).await.expect_problem(404, "not_found");
        let back = hub.consent(&link, &wanted.app_id, &required_permissions_without(&[])).await;
        assert_eq!(hub.open(&back).await.status, 200);
        assert_eq!(tenant.binding(&link).await["status"], "bound");
        for wrong in ["", "gh_7b1c9d2e4f60", "wx&x=1"] {
            let made = tenant.api.post("/v1/bindings", &json!({"app_id": wrong})).await;
            made.expect_problem(422, "invalid_request");
        }
    });
}

#[test]
fn a_refused_attempt_of_another_tenant_shows_its_owner_what_wechat_took_away() {
    run(async {
        let hub = hub::shared().await;
        let (owner, other) = (hub.create_tenant().await, hub.create_tenant().await);
        let account = hub.add_service_account(1);
        owner.bind(&account).await;
        let (page, binding) =
            other.bind_granting(&account.app_id, &required_permissions_without(&[1, 7])).await;
        assert_eq!(binding["reason"], "account_bound_elsewhere", "{page:?}");
        let says = page.text.contains("Another company") && page.text.contains(&account.name);
        assert!(says, "{}", page.text);
        until("the owner sees it", async || {
            let shown = get_account(&owner, &account).await;
            let missing = json!(["Message Management Access", "Broadcast and Notice Access"]);
            (shown["missing_permissions"] == missing && shown["capabilities"]["auto_reply"] == false)
                .then_some(())
        })
        .await;
        assert_eq!(get_account(&owner, &account).await["status"], "bound");
        // its tokens are the new ones, and still the owner's
        let import = owner.api.post(&format!("/v1/accounts/{}/imports", account.app_id), &json!({})).await;
        assert_eq!(import.status, 202, "{import:?}");
        owner.await_import(&account.app_id).await;
    });
}

#[test]
fn an_import_that_lacks_the_permission_begins_when_it_comes() {
    run(async {
        let hub = hub::shared().await;
        for by_page in [true, false] {
            let tenant = hub.create_tenant().await;
            let account = hub.add_service_account(4);
            let (page, binding) =
                tenant.bind_granting(&account.app_id, &required_permissions_without(&[2])).await;
            assert_eq!(binding["status"], "bound");
            assert_eq!(binding["missing_permissions"], json!(["User Management Access"]));
            assert!(page.text.contains("用户管理") && !page.text.contains("微信卡券"), "{}", page.text);
            assert!(page.text.contains("are not imported"), "{}", page.text);
            await_earlier_pushes(&tenant).await;
            assert_eq!(tenant.newest_import(&account.app_id).await, None, "it would fail");
            if by_page {
                let (page, _) = tenant.try_bind(&account).await;
                assert_eq!(page.status, 200, "{page:?}");
            } else {
                hub.wechat
                    .authorize(OwnerConsent { app_id: account.app_id.clone(), ..OwnerConsent::default() })
                    .unwrap();
            }
            until("another import has ended", async || {
                (tenant.newest_import(&account.app_id).await?["status"] == "completed").then_some(())
            })
            .await;
            assert_eq!(tenant.newest_import(&account.app_id).await.unwrap()["followers_imported"], 4);
        }
    });
}

#[test]
fn the_pages_say_who_asks_in_the_readers_language_and_place() {
    run(async {
        let hub = hub::shared().await;
        let tenant = hub.create_tenant().await;
        let body = json!({"return_url": "https://crm.example:8443/done?tenant=1"});
        let made = tenant.api.post("/v1/bindings", &body).await.expect(201);
        let url = made["url"].as_str().unwrap();
        let phone = "Mozilla/5.0 (Linux; Android 14) Mobile MicroMessenger/8.0.50";
        for (language, agent, html, has, first) in [
            (
                "zh-CN,zh;q=0.9",
                "Mozilla/5.0",
                "zh-Hans",
                ["北京时间", "消息管理", "完成后可返回 crm.example:8443"],
                "authorize",
            ),
            (
                "en",
                "Mozilla/5.0",
                "en",
                ["in Beijing", "Message Management Access", "crm.example:8443"],
                "authorize",
            ),
            ("zh-CN", phone, "zh-Hans", ["在微信中授权", "微信卡券", "crm.example:8443"], "authorize-mobile"),
            (
                "en-GB",
                phone,
                "en",
                ["Authorize in WeChat", "微信卡券", "crm.example:8443"],
                "authorize-mobile",
            ),
        ] {
            let page =
                hub.open_with_headers(url, &[("Accept-Language", language), ("User-Agent", agent)]).await;
            let text = &page.text;
            assert!(text.contains(&format!("<html lang=\"{html}\">")), "{language}: {text}");
            assert!(text.contains("Invented Cafe Ltd."), "{language}: it names the tenant: {text}");
            for part in has {
                assert!(text.contains(part), "{language}: {part}: {text}");
            }
            let button = text.find("class=\"button\"").unwrap();
            let id = text[button..].split("id=\"").nth(1).unwrap().split('"').next().unwrap();
            assert_eq!(id, first, "{language} {agent}");
            assert!(
                link_target(text, "authorize-mobile").contains("/wxaopen/safe/bindcomponent?"),
                "{language}"
            );
        }
    });
}

#[test]
fn strange_links_are_unknown_and_ring_no_alarm() {
    run(async {
        let hub = hub::shared().await;
        for id in ["x".repeat(2100), "bnd_%00".into(), "bnd_%E2%80%AE".into(), "BINDING%23x".into()] {
            assert_eq!(hub.open(&format!("{}/bind/{id}", hub.url)).await.status, 404, "{id}");
            let back = format!("{}/bind/callback?binding={id}&auth_code=c", hub.url);
            assert_eq!(hub.open(&back).await.status, 404, "{id}");
        }
    });
}

#[test]
fn an_event_that_comes_again_within_a_day_has_no_second_effect() {
    run(async {
        let hub = Hub::exclusive().await;
        let tenant = hub.create_tenant().await;
        let account = hub.add_service_account(1);
        tenant.bind(&account).await;
        let bound_at = now();
        until("a later second", async || (now() > bound_at + 1).then_some(())).await;
        let asked = || {
            let calls = hub.wechat.calls("/cgi-bin/component/api_get_authorizer_info");
            calls.calls
        };
        let at = now() - 30;
        push_component_event(&hub, &account, "unauthorized", at, "").await;
        await_earlier_pushes(&tenant).await;
        let before = asked();
        for _ in 0..3 {
            push_component_event(&hub, &account, "unauthorized", at, "").await;
        }
        await_earlier_pushes(&tenant).await;
        // only the marker's: once by browser, once by event
        assert!(asked() <= before + 2, "{} {before}", asked());
    });
}

#[test]
fn what_is_no_official_account_is_refused_first() {
    run(async {
        let hub = hub::shared().await;
        let tenant = hub.create_tenant().await;
        let account = hub.add_account(NewAccount {
            kind: Some(AccountKind::MiniProgram),
            verify_type: Some(-1),
            ..NewAccount::default()
        });
        let (page, binding) = tenant.try_bind(&account).await;
        assert_eq!(binding["reason"], "not_an_official_account");
        assert!(page.text.contains("取消授权"), "{}", page.text);
    });
}

#[test]
fn a_link_that_was_taken_back_binds_nothing() {
    run(async {
        let hub = hub::shared().await;
        let (tenant, other) = (hub.create_tenant().await, hub.create_tenant().await);
        let account = hub.add_service_account(1);
        let link = tenant.create_binding().await;
        let path = format!("/v1/bindings/{}", link.id);
        let code = pre_auth_code(&hub.open(&link.url).await.text);
        hub.wechat.withhold_event(&account.app_id);
        let back = hub.consent(&link, &account.app_id, &required_permissions_without(&[])).await;
        other.api.delete(&path).await.expect_problem(404, "not_found");
        assert_eq!(tenant.api.delete(&path).await.status, 204);
        tenant.api.delete(&path).await.expect_problem(404, "not_found");
        tenant.api.get(&path).await.expect_problem(404, "not_found");
        for url in [&link.url, &back] {
            assert_eq!(hub.open(url).await.status, 404, "{url}: its page is gone");
        }
        // the administrator had agreed already: WeChat's event names the page
        push_authorized(hub, &account, "authorized", Some(&code)).await;
        await_earlier_pushes(&tenant).await;
        tenant.api.get(&format!("/v1/accounts/{}", account.app_id)).await.expect_problem(404, "not_found");
        let entries = tenant.api.get("/v1/audit?operation=binding.deleted").await.expect(200);
        assert_eq!(entries["data"][0]["target"], link.id.as_str(), "{entries}");

        let (page, binding) = tenant.try_bind(&account).await;
        assert_eq!((page.status.as_u16(), binding["status"].as_str()), (200, Some("bound")), "another link");
        let bound = format!("/v1/bindings/{}", binding["id"].as_str().unwrap());
        assert_eq!(tenant.api.delete(&bound).await.status, 204);
        assert_eq!(get_account(&tenant, &account).await["status"], "bound", "what it has bound stays so");
    });
}
