//! A tenant that the operator suspended: its pushes are stored, and nothing is sent for it or bound to it.

use oahub_tests::{
    api::HttpResponse,
    hub::{self, Hub},
    run,
    tenant::{Tenant, link_target, text_content},
    wait::until,
};
use reqwest::{Method, Url};
use serde_json::{Value, json};
use wechat_simulator::{
    FollowerAction, OwnerConsent, PushOutcome, SimulatedAccount, state::account::PERMISSIONS,
};

async fn set_status(tenant: &Tenant<'_>, status: &str) {
    let path = format!("/v1/tenants/{}", tenant.id);
    let change = tenant.hub.operator().request(Method::PATCH, &path).json(&json!({"status": status}));
    assert_eq!(HttpResponse::send(change).await.unwrap().expect(200)["status"], status);
}

/// The administrator consents on WeChat's page that this hub page links to; returns WeChat's redirect.
fn consent(hub: &Hub, page: &str, account: &SimulatedAccount) -> String {
    let asked = Url::parse(&link_target(page, "authorize")).unwrap();
    let get = |name: &str| asked.query_pairs().find(|(n, _)| n == name).map(|(_, value)| value.into_owned());
    let grant = OwnerConsent {
        app_id: account.app_id.clone(),
        pre_auth_code: get("pre_auth_code"),
        redirect_uri: get("redirect_uri"),
        ..OwnerConsent::default()
    };
    hub.wechat.authorize(grant).unwrap().redirect_url.unwrap()
}

#[test]
fn a_link_left_open_binds_nothing_to_a_suspended_tenant() {
    run(async {
        let hub = hub::shared().await;
        let (tenant, other) = (hub.create_tenant().await, hub.create_tenant().await);
        let account = hub.add_service_account(1);
        let link = tenant.create_binding().await;
        let page = hub.open(&link.url).await;
        assert_eq!(page.status, 200);
        set_status(&tenant, "suspended").await;
        let again = hub.open(&link.url).await;
        assert_eq!(again.status, 410, "the link leads nowhere: {}", again.text);
        let back = hub.open(&consent(hub, &page.text, &account)).await;
        assert_eq!(back.status, 410, "{}", back.text);
        assert!(back.text.contains("tenant_suspended"), "{}", back.text);
        other.bind(&hub.add_service_account(0)).await; // a later event, which has had its effect
        set_status(&tenant, "active").await;
        let path = format!("/v1/accounts/{}", account.app_id);
        tenant.api.get(&path).await.expect_problem(404, "not_found");
        assert_eq!(tenant.binding(&link).await["status"], "pending");
        let log = until("the entry of the consent", async || {
            let log = tenant.api.get("/v1/audit?operation=account.authorized").await.expect(200);
            (log["data"][0]["outcome"] != "started").then_some(log["data"][0].clone())
        })
        .await;
        assert_eq!(log["outcome"], "tenant_suspended", "{log}");
        // the same link, once more
        let back = hub.consent(&link, &account.app_id, &PERMISSIONS.map(|(id, ..)| id)).await;
        assert_eq!(hub.open(&back).await.status, 200);
        assert_eq!(tenant.api.get(&path).await.expect(200)["status"], "bound");
    });
}

#[test]
fn what_is_pushed_to_a_suspended_tenant_is_stored_and_not_answered() {
    run(async {
        let hub = hub::shared().await;
        let tenant = hub.create_tenant().await;
        let account = hub.add_service_account(1);
        tenant.bind(&account).await;
        let fan = hub.newest_follower(&account).openid;
        let more = json!({"msgtype": "miniprogrampage", "miniprogrampage": {
            "title": "T", "appid": "wx1", "pagepath": "p", "thumb_media_id": "m"}});
        let keywords = json!([{"keyword": "more", "match": "exact", "reply": more}]);
        tenant
            .set_reply_rules(&account.app_id, &json!({"default": text_content("hi"), "keywords": keywords}))
            .await;
        until("the rules hold", async || {
            (hub.say(&account, &fan, "hello").await.outcome == PushOutcome::Replied).then_some(())
        })
        .await;
        set_status(&tenant, "suspended").await;
        until("nothing is answered", async || {
            (hub.say(&account, &fan, "hello").await.outcome == PushOutcome::Accepted).then_some(())
        })
        .await;
        let received = hub.wechat.received(&account.app_id, &fan).len();
        for words in ["stored", "more"] {
            assert_eq!(hub.say(&account, &fan, words).await.outcome, PushOutcome::Accepted, "{words}");
        }
        let newcomer = hub.wechat.add_follower(&account.app_id, None, None, None).unwrap().openid;
        hub.act(&account, &newcomer, FollowerAction::Follow { scene: None }).await;
        for (method, path) in [
            (Method::GET, format!("/v1/accounts/{}", account.app_id)),
            (Method::POST, format!("/v1/accounts/{}/messages", account.app_id)),
            (Method::POST, format!("/v1/accounts/{}/imports", account.app_id)),
            (Method::POST, "/v1/bindings".to_owned()),
        ] {
            let request =
                tenant.api.request(method, &path).json(&json!({"to": fan, "content": text_content("x")}));
            HttpResponse::send(request).await.unwrap().expect_problem(403, "tenant_suspended");
        }
        set_status(&tenant, "active").await;
        let said = |events: &[Value], words: &str| events.iter().any(|e| e["detail"]["Content"] == words);
        let timeline = tenant.timeline(&account.app_id, &fan).await;
        assert!(said(&timeline, "stored") && said(&timeline, "more"), "{timeline:?}");
        assert!(tenant.customer(&account.app_id, &newcomer).await.is_some(), "who followed meanwhile");
        until("it answers again", async || {
            (hub.say(&account, &fan, "hello").await.outcome == PushOutcome::Replied).then_some(())
        })
        .await;
        let seen = hub.wechat.received(&account.app_id, &fan);
        assert!(seen[received..].iter().all(|message| message.channel == "passive"), "{seen:?}");
    });
}
