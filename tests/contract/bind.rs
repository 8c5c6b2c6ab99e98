//! How an account is bound, refused, lost and bound again.

use oahub_tests::{
    hub::{self, Hub},
    run,
    tenant::Tenant,
    wait::until,
};
use serde_json::{Value, json};
use wechat_simulator::{AccountKind, NewAccount, OwnerConsent, SimulatedAccount};

async fn get_account(tenant: &Tenant<'_>, app_id: &str) -> Value {
    tenant.api.get(&format!("/v1/accounts/{app_id}")).await.expect(200)
}

/// The owner revokes the authorization; waits until the hub knows.
async fn unauthorize(tenant: &Tenant<'_>, account: &SimulatedAccount) {
    tenant.hub.wechat.unauthorize(&account.app_id, true).unwrap();
    until("an unbound account", async || {
        (get_account(tenant, &account.app_id).await["status"] == "unbound").then_some(())
    })
    .await;
}

#[test]
fn an_owner_binds_an_account_by_the_page_and_its_followers_are_imported() {
    run(async {
        let hub = hub::shared().await;
        let tenant = hub.create_tenant().await;
        let account = hub.add_service_account(7);
        let link = tenant.create_binding().await;
        assert_eq!(tenant.binding(&link).await["status"], "pending");
        assert_eq!(link.url, format!("{}/bind/{}", hub.url, link.id));
        tenant.bind(&account).await;
        let shown = get_account(&tenant, &account.app_id).await;
        for (member, expected) in [
            ("app_id", json!(account.app_id)),
            ("original_id", json!(account.original_id)),
            ("name", json!(account.name)),
            ("alias", json!(account.alias)),
            ("principal_name", json!(account.principal_name)),
            ("account_type", json!("service")),
            ("verified", json!(true)),
            ("status", json!("bound")),
            ("missing_permissions", json!([])),
            ("unbound_at", Value::Null),
        ] {
            assert_eq!(shown[member], expected, "{member} of {shown}");
        }
        assert!(
            shown["bound_at"].is_string() && shown["capabilities"]["template_message"] == true,
            "{shown}"
        );
        let import = tenant.newest_import(&account.app_id).await.unwrap();
        let counts = ["followers_total", "followers_listed", "followers_imported"].map(|n| import[n].clone());
        assert_eq!(counts, [json!(7), json!(7), json!(7)], "{import}");
    });
}

#[test]
fn what_may_not_be_bound_is_refused_with_its_reason() {
    run(async {
        let hub = hub::shared().await;
        let tenant = hub.create_tenant().await;
        for (what, kind, verify_type, reason) in [
            ("an unverified service account", AccountKind::Service, -1, Some("unverified_account")),
            ("one verified by a microblog alone", AccountKind::Subscription, 1, Some("unverified_account")),
            ("the other microblog", AccountKind::Service, 2, Some("unverified_account")),
            ("a mini program", AccountKind::MiniProgram, 0, Some("not_an_official_account")),
            ("an unverified mini program", AccountKind::MiniProgram, -1, Some("not_an_official_account")),
            ("a company that was checked, its name not yet", AccountKind::Service, 3, None),
            ("the same with a microblog", AccountKind::Subscription, 5, None),
            ("a subscription account of old", AccountKind::OldSubscription, 0, None),
        ] {
            let (kind, verify_type) = (Some(kind), Some(verify_type));
            let account = hub.add_account(NewAccount { kind, verify_type, ..NewAccount::default() });
            let (page, binding) = tenant.try_bind(&account).await;
            let status = if reason.is_some() { "refused" } else { "bound" };
            assert_eq!(
                (binding["status"].as_str(), binding["reason"].as_str()),
                (Some(status), reason),
                "{what}"
            );
            assert_eq!(binding["app_id"], account.app_id.as_str(), "{what}");
            assert!(page.content_type.starts_with("text/html"), "{what}: {page:?}");
            let headline = page.text.split("<h1>").nth(1).unwrap().split("</h1>").next().unwrap();
            for name in [&account.name, "Invented Cafe Ltd."] {
                assert!(headline.contains(name), "{what}: the page names account and tenant: {page:?}");
            }
            let shown = tenant.api.get(&format!("/v1/accounts/{}", account.app_id)).await.status;
            assert_eq!(shown, if reason.is_some() { 404 } else { 200 }, "{what}");
        }
    });
}

#[test]
fn an_account_belongs_to_one_tenant_until_it_is_unbound_and_deleted() {
    run(async {
        let hub = hub::shared().await;
        let (first, second) = (hub.create_tenant().await, hub.create_tenant().await);
        let account = hub.add_service_account(2);
        let path = format!("/v1/accounts/{}", account.app_id);
        first.bind(&account).await;
        let (_, binding) = second.try_bind(&account).await;
        assert_eq!(binding["reason"], "account_bound_elsewhere", "while it is bound");
        second.api.get(&path).await.expect_problem(404, "not_found");
        first.api.delete(&path).await.expect_problem(409, "account_still_bound");
        assert_eq!(get_account(&first, &account.app_id).await["status"], "bound");
        unauthorize(&first, &account).await;
        assert!(get_account(&first, &account.app_id).await["unbound_at"].is_string());
        let (_, binding) = second.try_bind(&account).await;
        assert_eq!(binding["reason"], "account_bound_elsewhere", "while it is not deleted");
        // the second consent stands at WeChat, but nothing is bound by it: the account may go
        assert_eq!(get_account(&first, &account.app_id).await["status"], "unbound");
        assert_eq!(first.api.delete(&path).await.status, 204);
        first.api.get(&path).await.expect_problem(404, "not_found");
        second.bind(&account).await;
        assert_eq!(get_account(&second, &account.app_id).await["status"], "bound");
        assert_eq!(second.api.list_all("/v1/customers").await.len(), 2);
    });
}

#[test]
fn the_same_tenant_binding_again_finds_its_customers_as_they_were() {
    run(async {
        let hub = hub::shared().await;
        let tenant = hub.create_tenant().await;
        let account = hub.add_service_account(3);
        tenant.bind(&account).await;
        let open_id = hub.newest_follower(&account).openid;
        hub.say(&account, &open_id, "remember me").await;
        let before = tenant.customer(&account.app_id, &open_id).await.unwrap();
        for deleted in [false, true] {
            unauthorize(&tenant, &account).await;
            if deleted {
                let gone = tenant.api.delete(&format!("/v1/accounts/{}", account.app_id)).await;
                assert_eq!(gone.status, 204);
            }
            let kept = tenant.customer(&account.app_id, &open_id).await.unwrap();
            assert_eq!((&kept["id"], kept["fans"][0]["subscribed"].as_bool()), (&before["id"], Some(true)));
            tenant.bind(&account).await;
            let after = tenant.customer(&account.app_id, &open_id).await.unwrap();
            assert_eq!(after, before, "deleted: {deleted}");
            assert_eq!(tenant.timeline(&account.app_id, &open_id).await.len(), 1, "deleted: {deleted}");
        }
        assert_eq!(tenant.api.list_all("/v1/customers").await.len(), 3);
    });
}

#[test]
fn the_event_alone_binds_when_the_browser_never_returns() {
    run(async {
        let hub = hub::shared().await;
        let tenant = hub.create_tenant().await;
        let account = hub.add_service_account(1);
        let link = tenant.create_binding().await;
        let _never_opened = hub.consent(&link, &account.app_id, &[1, 2, 7]).await;
        until("bound by the event", async || {
            (tenant.binding(&link).await["status"] == "bound").then_some(())
        })
        .await;
        assert_eq!(get_account(&tenant, &account.app_id).await["status"], "bound");
    });
}

#[test]
fn what_an_owner_did_not_grant_is_shown_as_missing() {
    run(async {
        let hub = hub::shared().await;
        let tenant = hub.create_tenant().await;
        let account = hub.add_service_account(1);
        let (_, binding) = tenant.bind_granting(&account.app_id, &[1, 2, 33, 777]).await;
        assert_eq!(binding["status"], "bound");
        let shown = get_account(&tenant, &account.app_id).await;
        let permissions = shown["permissions"].as_array().unwrap();
        let find =
            |id: u64| permissions.iter().find(|p| p["id"] == id).unwrap_or_else(|| panic!("{id}: {shown}"));
        for (id, granted, required) in [
            (1, true, true),
            (2, true, true),
            (7, false, true),
            (15, false, true),
            (33, true, false),
            (777, true, false),
        ] {
            let (has, needs) = (&find(id)["granted"], &find(id)["required"]);
            assert_eq!((has, needs), (&json!(granted), &json!(required)), "{id}");
        }
        let missing = shown["missing_permissions"].as_array().unwrap();
        assert_eq!(missing.len(), 6, "{missing:?}");
        assert!(missing.contains(&find(7)["name"]), "{missing:?}");
        for (name, can) in
            [("customer_service_message", true), ("followers", true), ("template_message", false)]
        {
            assert_eq!(shown["capabilities"][name], can, "{name}");
        }
    });
}

#[test]
fn a_forged_code_shows_an_error_and_leaves_the_binding_pending() {
    run(async {
        let hub = hub::shared().await;
        let tenant = hub.create_tenant().await;
        let link = tenant.create_binding().await;
        for query in [
            format!("binding={}&auth_code=queryauthcode@@@forged&expires_in=600", link.id),
            format!("binding={}", link.id),
            format!("binding={}&auth_code=", link.id),
            "binding=bnd_nobody&auth_code=queryauthcode@@@forged".to_owned(),
            "auth_code=queryauthcode@@@forged".to_owned(),
        ] {
            let page = hub.open(&format!("{}/bind/callback?{query}", hub.url)).await;
            assert!(page.status.is_client_error(), "{query}: {page:?}");
            assert_eq!(tenant.binding(&link).await["status"], "pending", "{query}");
        }
        // a page that waits for WeChat returns at once and reloads a bounded number of times
        let mut address =
            format!("{}/bind/callback?binding={}&auth_code=queryauthcode@@@f", hub.url, link.id);
        let mut loads = 0;
        let last = loop {
            let page = hub.open_in_other_browser(&address).await;
            let Some((_, next)) = page.refresh_target(&address) else { break page };
            assert!(page.text.contains("Waiting for WeChat") && loads < 10, "{loads}: {page:?}");
            assert!(page.text.contains("Invented Cafe Ltd."), "an error page names the tenant: {page:?}");
            (address, loads) = (next, loads + 1);
        };
        assert!(last.status == 400 && last.text.contains("has not confirmed it yet"), "{loads}: {last:?}");
        assert_eq!(loads, 10);
        // and it still works
        let account = hub.add_service_account(1);
        let back = hub.consent(&link, &account.app_id, &[1, 2]).await;
        assert_eq!(hub.open(&back).await.status, 200);
        assert_eq!(tenant.binding(&link).await["status"], "bound");
        assert_eq!(hub.open(&back).await.status, 200, "a page that is loaded again says the same");
        assert!(hub.open(&format!("{}/bind/bnd_nobody", hub.url)).await.status.is_client_error());
    });
}

#[test]
fn a_link_of_a_tenant_that_may_bind_nothing_is_no_longer_valid() {
    run(async {
        let hub = hub::shared().await;
        let (tenant, operator) = (hub.create_tenant().await, hub.operator());
        let link = tenant.create_binding().await;
        let account = hub.add_service_account(1);
        hub.wechat.withhold_event(&account.app_id);
        let back = hub.consent(&link, &account.app_id, &[1, 2]).await;
        let path = format!("/v1/tenants/{}", tenant.id);
        for (status, is_good) in [("suspended", false), ("active", true), ("suspended", false)] {
            assert_eq!(operator.patch(&path, &json!({"status": status})).await.status, 200);
            for url in [&link.url, &back] {
                let page = hub.open(url).await;
                assert_eq!(page.status, if is_good { 200 } else { 410 }, "{status} {url}: {page:?}");
                let leads_on = page.text.contains("componentloginpage");
                assert!(
                    is_good || !leads_on && page.text.contains("no longer valid"),
                    "{status} {url}: {page:?}"
                );
            }
        }
        operator.delete(&path).await;
        assert_eq!(hub.open(&link.url).await.status, 410, "deleted");
    });
}

#[test]
fn an_expired_code_leaves_the_binding_pending() {
    run(async {
        let hub = Hub::exclusive().await;
        let tenant = hub.create_tenant().await;
        let link = tenant.create_binding().await;
        hub.wechat.configure(|habits| habits.auth_code_lifetime = -1);
        let account = hub.add_service_account(1);
        let app_id = account.app_id.clone();
        let granted = hub
            .wechat
            .authorize(OwnerConsent { app_id, without_event: true, ..OwnerConsent::default() })
            .unwrap();
        let callback =
            format!("{}/bind/callback?binding={}&auth_code={}", hub.url, link.id, granted.auth_code);
        assert!(hub.open(&callback).await.status.is_client_error());
        assert_eq!(tenant.binding(&link).await["status"], "pending");
    });
}

#[test]
fn before_the_first_ticket_the_page_says_what_is_missing() {
    run(async {
        let hub = Hub::without_ticket().await;
        let tenant = hub.create_tenant().await;
        let link = tenant.create_binding().await;
        let page = hub.open(&link.url).await;
        assert_eq!(page.status, 503, "{page:?}");
        assert!(page.content_type.starts_with("text/html") && page.text.contains("component_verify_ticket"));
        assert_eq!(hub.operator().get("/v1/platform").await.expect(200)["ticket_received_at"], Value::Null);
        hub.wechat.clear_faults();
        hub.push_ticket().await;
        until("the page works", async || (hub.open(&link.url).await.status == 200).then_some(())).await;
        let platform = hub.operator().get("/v1/platform").await.expect(200);
        assert!(platform["ticket_received_at"].is_string(), "{platform}");
        assert!(platform["component_token_expires_at"].is_string(), "{platform}");
    });
}

#[test]
fn the_last_page_links_to_the_return_url() {
    run(async {
        let hub = hub::shared().await;
        let tenant = hub.create_tenant().await;
        for (url, fits) in [
            ("https://crm.example/done?tenant=1", true),
            ("javascript:alert(1)", false),
            ("/relative", false),
            ("data:text/html,x", false),
        ] {
            let made = tenant.api.post("/v1/bindings", &json!({"return_url": url})).await;
            if !fits {
                made.expect_problem(422, "invalid_request");
                continue;
            }
            let made = made.expect(201);
            assert!(made["expires_at"].is_string());
            let callback =
                format!("{}/bind/callback?binding={}&auth_code=no", hub.url, made["id"].as_str().unwrap());
            let page = hub.open(&callback).await;
            assert!(page.text.contains("href=\"https://crm.example/done?tenant=1\""), "{}", page.text);
        }
    });
}
