//! What all routes have in common: keys, problems, pages, and the isolation of tenants.

use std::collections::BTreeSet;

use oahub_tests::{
    api::{ApiClient, HttpResponse},
    hub, run,
    tenant::{Tenant, text_content},
    wait::until,
};
use reqwest::Method;
use serde_json::{Value, json};
use wechat_simulator::SimulatedAccount;

#[test]
fn keys_open_what_they_are_for() {
    run(async {
        let hub = hub::shared().await;
        let tenant = hub.create_tenant().await;
        let wrong = ApiClient { url: hub.url.clone(), key: Some("oak_nobody".into()) };
        let (stranger, operator) = (hub.anonymous(), hub.operator());
        for (who, caller, for_tenants, for_operator) in [
            ("nobody", &stranger, (401, "unauthorized"), (401, "unauthorized")),
            ("a wrong key", &wrong, (401, "unauthorized"), (401, "unauthorized")),
            ("a tenant", &tenant.api, (200, ""), (403, "forbidden")),
            ("the operator", &operator, (403, "forbidden"), (200, "")),
        ] {
            for (path, (status, code)) in [("/v1/accounts", for_tenants), ("/v1/platform", for_operator)] {
                let answer = caller.get(path).await;
                match status {
                    200 => assert_eq!(answer.status, 200, "{who} at {path}: {answer:?}"),
                    _ => answer.expect_problem(status, code),
                }
            }
        }
        stranger.post("/v1/tenants", &json!({"name": "x"})).await.expect_problem(401, "unauthorized");
        tenant.api.post("/v1/tenants", &json!({"name": "x"})).await.expect_problem(403, "forbidden");
        for path in ["/healthz", "/openapi.json", "/docs", "/favicon.ico"] {
            assert_eq!(stranger.get(path).await.status, 200, "{path} is for everybody");
        }
        assert_eq!(stranger.get("/").await.status, 307, "the bare address leads to the description");
    });
}

#[test]
fn what_is_not_there_is_404_and_what_is_malformed_422() {
    run(async {
        let hub = hub::shared().await;
        let tenant = hub.create_tenant().await;
        let account = hub.add_service_account(0);
        tenant.bind(&account).await;
        for path in [
            "/v1/nothing".to_owned(),
            "/v1/accounts/wx0123456789abcdef".into(),
            "/v1/bindings/bnd_nobody".into(),
            "/v1/customers/cus_nobody".into(),
            "/v1/customers/cus_nobody/timeline".into(),
            "/v1/messages/msg_nobody".into(),
            "/v1/accounts/wx0123456789abcdef/imports".into(),
            "/v1/accounts/wx0123456789abcdef/reply-rules".into(),
            format!("/v1/accounts/{}/imports/imp_nobody", account.app_id),
            format!("/v1/messages/{}", "m".repeat(1000)),
        ] {
            tenant.api.get(&path).await.expect_problem(404, "not_found");
        }
        assert_eq!(hub.anonymous().get("/nothing").await.status, 404);
        let messages = format!("/v1/accounts/{}/messages", account.app_id);
        for (path, body) in [
            ("/v1/bindings", json!({"return": "https://crm.example"})),
            ("/v1/bindings", json!({"return_url": 7})),
            ("/v1/bindings", json!([])),
            (&messages, json!({})),
            (&messages, json!({"to": "o1"})),
            (&messages, json!({"to": 1, "content": text_content("hi")})),
            (&messages, json!({"to": "", "content": text_content("hi")})),
            (&messages, json!({"to": "o1", "content": {"msgtype": "hologram", "hologram": {}}})),
            (&messages, json!({"to": "o1", "content": {"msgtype": "text"}})),
            (&messages, json!({"to": "o1", "template": {"data": {}}})),
        ] {
            tenant.api.post(path, &body).await.expect_problem(422, "invalid_request");
        }
        let request = tenant.api.request(Method::POST, "/v1/bindings").body("{\"return_url\":");
        HttpResponse::send(request).await.unwrap().expect_problem(422, "invalid_request");
        for name in [json!(""), json!("  "), json!("x".repeat(101)), json!("a\u{7}b"), Value::Null] {
            hub.operator()
                .post("/v1/tenants", &json!({"name": name}))
                .await
                .expect_problem(422, "invalid_request");
        }
        let wrong = tenant.api.delete("/v1/accounts").await;
        wrong.expect_problem(405, "method_not_allowed");
    });
}

/// What never reaches a function has no `code`: a client has to understand both.
#[test]
fn what_the_gateway_refuses_is_a_message_and_what_the_hub_refuses_a_problem() {
    run(async {
        let hub = hub::Hub::with_flags(&["--aws-throttles", "true"]).await;
        let tenant = hub.create_tenant().await;
        let get = |path: &str| tenant.api.request(Method::GET, path);
        let long = "q".repeat(10_300);
        for (what, request, status, message) in [
            ("a path without a route", get("/nothing"), 404, "Not Found"),
            ("a method that its route does not take", get("/wechat/component"), 404, "Not Found"),
            ("a long query", get(&format!("/v1/accounts?{long}")), 431, "Request Header Fields Too Large"),
            (
                "a long header",
                get("/v1/accounts").header("x-long", &long),
                431,
                "Request Header Fields Too Large",
            ),
        ] {
            let answer = HttpResponse::send(request).await.unwrap();
            assert_gateways_own(&answer, what, status, message);
        }
        let throttled = until("a throttle", async || {
            let pages = (0..50).map(|_| HttpResponse::send(get("/bind/bnd_nobody")));
            let answers = futures::future::try_join_all(pages).await.unwrap();
            answers.into_iter().find(|answer| answer.status == 429)
        })
        .await;
        assert_gateways_own(&throttled, "more than a route takes", 429, "Too Many Requests");
        tenant.api.get("/v1/nothing").await.expect_problem(404, "not_found");
        tenant.api.delete("/v1/accounts").await.expect_problem(405, "method_not_allowed");
    });
}

/// Checks that it is API Gateway's own error (*Quotas for HTTP APIs*), and not a problem of the hub's.
#[track_caller]
fn assert_gateways_own(answer: &HttpResponse, what: &str, status: u16, message: &str) {
    assert_eq!(answer.status, status, "{what}: {answer:?}");
    assert_eq!(answer.content_type, "application/json", "{what}");
    assert_eq!(answer.json(), json!({"message": message}), "{what}");
}

/// A tenant with an account, a customer who wrote, a message and an import.
async fn tenant_with_data(hub: &hub::Hub) -> (Tenant<'_>, SimulatedAccount, Vec<String>) {
    let tenant = hub.create_tenant().await;
    let account = hub.add_service_account(2);
    let link = tenant.create_binding().await;
    tenant.bind(&account).await;
    let fan = hub.newest_follower(&account).openid;
    hub.say(&account, &fan, "hello").await;
    let message =
        tenant.send_and_await(&account.app_id, &json!({"to": fan, "content": text_content("hi")})).await;
    let customer = tenant.customer(&account.app_id, &fan).await.unwrap();
    let import = tenant.newest_import(&account.app_id).await.unwrap();
    let id = |value: &Value| value["id"].as_str().unwrap().to_owned();
    let paths = vec![
        format!("/v1/bindings/{}", link.id),
        format!("/v1/accounts/{}", account.app_id),
        format!("/v1/accounts/{}/imports", account.app_id),
        format!("/v1/accounts/{}/imports/{}", account.app_id, id(&import)),
        format!("/v1/accounts/{}/reply-rules", account.app_id),
        format!("/v1/customers/{}", id(&customer)),
        format!("/v1/customers/{}/timeline", id(&customer)),
        format!("/v1/messages/{}", id(&message)),
    ];
    (tenant, account, paths)
}

#[test]
fn another_tenants_things_do_not_exist() {
    run(async {
        let hub = hub::shared().await;
        let (owner, account, paths) = tenant_with_data(hub).await;
        let (other, own, _) = tenant_with_data(hub).await;
        for path in &paths {
            assert_eq!(owner.api.get(path).await.status, 200, "{path}");
            other.api.get(path).await.expect_problem(404, "not_found");
        }
        let app_id = &account.app_id;
        let message = json!({"to": hub.newest_follower(&account).openid, "content": text_content("stolen")});
        other
            .api
            .post(&format!("/v1/accounts/{app_id}/messages"), &message)
            .await
            .expect_problem(404, "not_found");
        other
            .api
            .post(&format!("/v1/accounts/{app_id}/imports"), &json!({}))
            .await
            .expect_problem(404, "not_found");
        other
            .api
            .put(&format!("/v1/accounts/{app_id}/reply-rules"), &json!({}))
            .await
            .expect_problem(404, "not_found");
        other.api.delete(&format!("/v1/accounts/{app_id}")).await.expect_problem(404, "not_found");
        let foreign = paths[3].rsplit_once('/').unwrap().1;
        other
            .api
            .get(&format!("/v1/accounts/{}/imports/{foreign}", own.app_id))
            .await
            .expect_problem(404, "not_found");
        other.api.get(&format!("/v1/customers?app_id={app_id}")).await.expect_problem(404, "not_found");
        for query in ["".to_owned(), format!("?open_id={}", hub.newest_follower(&account).openid)] {
            let seen = other.api.list_all(&format!("/v1/customers{query}")).await;
            let all_own = seen.iter().all(|customer| customer["fans"][0]["app_id"] == own.app_id.as_str());
            assert!(all_own, "{query}: {seen:?}");
        }
        let accounts = other.api.list_all("/v1/accounts").await;
        assert_eq!(accounts.len(), 1);
        assert_eq!(accounts[0]["app_id"], own.app_id.as_str());
    });
}

#[test]
fn pages_show_each_item_once() {
    run(async {
        let hub = hub::shared().await;
        let tenant = hub.create_tenant().await;
        let account = hub.add_service_account(17);
        tenant.bind(&account).await;
        for _ in 0..3 {
            let other = hub.add_service_account(0);
            tenant.bind(&other).await;
        }
        let fan = hub.newest_follower(&account).openid;
        for number in 0..7 {
            hub.say(&account, &fan, &number.to_string()).await;
        }
        let id = tenant.customer(&account.app_id, &fan).await.unwrap()["id"].as_str().unwrap().to_owned();
        for (path, key, count) in [
            ("/v1/accounts".to_owned(), "app_id", 4),
            ("/v1/customers".to_owned(), "id", 17),
            (format!("/v1/customers?app_id={}", account.app_id), "id", 17),
            (format!("/v1/customers/{id}/timeline"), "id", 7),
        ] {
            let joint = if path.contains('?') { '&' } else { '?' };
            for limit in [1, 3, 200] {
                let (mut seen, mut total, mut cursor) = (BTreeSet::new(), 0, String::new());
                for _ in 0..200 {
                    let page =
                        tenant.api.get(&format!("{path}{joint}limit={limit}{cursor}")).await.expect(200);
                    let data = page["data"].as_array().unwrap();
                    assert!(data.len() <= limit, "{path}");
                    total += data.len();
                    seen.extend(data.iter().map(|item| item[key].as_str().unwrap().to_owned()));
                    match page["next_cursor"].as_str() {
                        Some(next) => cursor = format!("&cursor={next}"),
                        None => break,
                    }
                }
                assert_eq!((seen.len(), total), (count, count), "{path} by {limit}");
            }
            for wrong in
                ["limit=0", "limit=201", "limit=many", "cursor=%20", "cursor=bm9uZQ", "no_such_filter=1"]
            {
                tenant.api.get(&format!("{path}{joint}{wrong}")).await.expect_problem(422, "invalid_request");
            }
        }
    });
}

#[test]
fn the_description_lists_the_routes() {
    run(async {
        let hub = hub::shared().await;
        let description = hub.anonymous().get("/openapi.json").await;
        assert_eq!(description.content_type, "application/json");
        let description = description.expect(200);
        assert!(
            description["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")),
            "{}",
            description["openapi"]
        );
        for (path, methods) in [
            ("/v1/tenants", vec!["get", "post"]),
            ("/v1/tenants/{id}", vec!["get", "patch", "delete"]),
            ("/v1/platform/accounts/{app_id}/release", vec!["post"]),
            ("/v1/tenants/{id}/keys", vec!["post"]),
            ("/v1/platform/queues", vec!["get"]),
            ("/v1/platform/queues/{name}/dead-letters", vec!["get"]),
            ("/v1/platform/queues/{name}/redrive", vec!["post"]),
            ("/v1/keys", vec!["get", "post"]),
            ("/v1/keys/{id}", vec!["delete"]),
            ("/v1/audit", vec!["get"]),
            ("/v1/platform", vec!["get"]),
            ("/v1/bindings", vec!["post"]),
            ("/v1/bindings/{id}", vec!["get", "delete"]),
            ("/v1/accounts", vec!["get"]),
            ("/v1/accounts/{app_id}", vec!["get", "delete"]),
            ("/v1/accounts/{app_id}/imports", vec!["get", "post"]),
            ("/v1/accounts/{app_id}/imports/{id}", vec!["get"]),
            ("/v1/accounts/{app_id}/reply-rules", vec!["get", "put"]),
            ("/v1/accounts/{app_id}/messages", vec!["post"]),
            ("/v1/messages/{id}", vec!["get"]),
            ("/v1/customers", vec!["get"]),
            ("/v1/customers/{id}", vec!["get"]),
            ("/v1/customers/{id}/timeline", vec!["get"]),
            ("/healthz", vec!["get"]),
        ] {
            for method in methods {
                assert!(description["paths"][path][method].is_object(), "{method} {path}");
            }
        }
        let docs = hub.anonymous().get("/docs").await;
        assert!(
            docs.content_type.starts_with("text/html") && docs.text.contains("/v1/messages"),
            "{}",
            docs.content_type
        );
    });
}

#[test]
fn a_tenant_is_made_once_for_its_idempotency_key() {
    run(async {
        let hub = hub::shared().await;
        let (operator, key) = (hub.operator(), format!("tenant-{}", oahub_tests::push::unique_number()));
        let first = operator.post_once("/v1/tenants", &key, &json!({"name": "Once Ltd."})).await.expect(201);
        let second = operator.post_once("/v1/tenants", &key, &json!({"name": "Once Ltd."})).await.expect(201);
        assert_eq!(first, second);
        let other = operator.post_once("/v1/tenants", &key, &json!({"name": "Twice Ltd."})).await;
        other.expect_problem(422, "idempotency_key_reused");
        let api = ApiClient { url: hub.url.clone(), key: first["api_key"].as_str().map(str::to_owned) };
        assert_eq!(api.get("/v1/accounts").await.expect(200)["data"], json!([]));
    });
}
