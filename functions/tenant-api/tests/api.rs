//! The API as a client sees it: Lambda events in, responses out, over an embedded DynamoDB with the tables of
//! `template.yaml` and a queue that only records.

#[cfg(test)]
mod keys;
#[cfg(test)]
mod log;
#[cfg(test)]
mod tenants;
#[cfg(test)]
mod test_app;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;
use shared::{
    model::{fan::FanId, import::ImportStatus},
    store::{fans::customer_shard, keys::CUSTOMER_SHARDS},
};
use test_app::{ADMIN_KEY, TestApp};

#[tokio::test]
async fn keys_open_only_what_is_theirs() {
    let stage = TestApp::new().await;
    let tenant = stage.create_tenant("Cafe").await;
    for (key, method, path, status, code) in [
        (None, "GET", "/v1/accounts", 401, "unauthorized"),
        (Some("wrong"), "GET", "/v1/accounts", 401, "unauthorized"),
        (Some("wrong"), "GET", "/v1/platform", 401, "unauthorized"),
        (None, "POST", "/v1/tenants", 401, "unauthorized"),
        (Some(ADMIN_KEY), "GET", "/v1/accounts", 403, "forbidden"),
        (Some(&*tenant.key), "GET", "/v1/platform", 403, "forbidden"),
        (Some(&*tenant.key), "POST", "/v1/tenants", 403, "forbidden"),
        (Some(&*tenant.key), "GET", "/v1/nothing", 404, "not_found"),
        (Some(&*tenant.key), "DELETE", "/v1/customers", 405, "method_not_allowed"),
        (Some(&*tenant.key), "GET", "/v1/accounts/wx1", 404, "not_found"),
        (Some(&*tenant.key), "GET", "/v1/customers/cus_1", 404, "not_found"),
        (Some(&*tenant.key), "GET", "/v1/messages/msg_1", 404, "not_found"),
        (Some(&*tenant.key), "GET", "/v1/customers?limit=0", 422, "invalid_request"),
        (Some(&*tenant.key), "GET", "/v1/customers?limit=201", 422, "invalid_request"),
        (Some(&*tenant.key), "GET", "/v1/customers?cursor=x", 422, "invalid_request"),
        (Some(&*tenant.key), "GET", "/v1/customers?appid=wx1", 422, "invalid_request"),
        (Some(&*tenant.key), "GET", "/v1/customers?external_id=x", 422, "invalid_request"),
    ] {
        let answer = stage.call(key, method, path, None, &[]).await;
        assert_eq!((answer.status, answer.code()), (status, code), "{method} {path}");
        assert_eq!(answer.content_type, "application/problem+json", "{method} {path}");
    }
    let platform = stage.call(Some(ADMIN_KEY), "GET", "/v1/platform", None, &[]).await;
    assert_eq!(platform.json["accounts_bound"], 0);
    assert_eq!(platform.json["ticket_received_at"], json!(null));
    for path in ["/healthz", "/openapi.json", "/docs"] {
        assert_eq!(stage.call(None, "GET", path, None, &[]).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_repeated_post_happens_once() {
    let stage = TestApp::new().await;
    let post = async |path: &str, key: &str, body: &str, idempotency: &str| {
        stage.call(Some(key), "POST", path, Some(body), &[("idempotency-key", idempotency)]).await
    };
    let first = post("/v1/tenants", ADMIN_KEY, r#"{"name":"Cafe"}"#, "k1").await;
    let again = post("/v1/tenants", ADMIN_KEY, r#"{"name":"Cafe"}"#, "k1").await;
    assert_eq!(first.status, 201);
    assert_eq!((again.status, &again.json), (201, &first.json), "the key too");
    let other = post("/v1/tenants", ADMIN_KEY, r#"{"name":"Tea"}"#, "k1").await;
    assert_eq!((other.status, other.code()), (422, "idempotency_key_reused"));
    let key = first.json["api_key"].as_str().unwrap().to_owned();

    let binding = post("/v1/bindings", &key, "{}", "k1").await;
    assert_eq!(binding.status, 201);
    assert_eq!(post("/v1/bindings", &key, "{}", "k1").await.json, binding.json);
    assert_ne!(post("/v1/bindings", &key, "{}", "k2").await.json["id"], binding.json["id"]);
    let wrong = post("/v1/bindings", &key, r#"{"return_url":"javascript:1"}"#, "k3").await;
    assert_eq!((wrong.status, wrong.code()), (422, "invalid_request"));
    let typo = post("/v1/bindings", &key, r#"{"returnurl":"https://a.example"}"#, "k4").await;
    assert!(typo.json["detail"].as_str().unwrap().starts_with("returnurl: "), "{:?}", typo.json);
    let large = post("/v1/bindings", &key, &" ".repeat(256 * 1024 + 1), "k5").await;
    assert_eq!((large.status, large.code()), (413, "body_too_large"));
    assert_eq!(post("/v1/bindings", &key, "{}", &"k".repeat(256)).await.status, 422);

    let path = format!("/v1/bindings/{}", binding.json["id"].as_str().unwrap());
    let state = stage.call(Some(&key), "GET", &path, None, &[]).await;
    assert_eq!(state.json, json!({"id": binding.json["id"], "status": "pending"}));
    stage.clock.advance(3600);
    let state = stage.call(Some(&key), "GET", &path, None, &[]).await;
    assert_eq!(state.json["status"], "expired");
    let stranger = stage.create_tenant("Tea").await;
    assert_eq!(stage.call(Some(&stranger.key), "GET", &path, None, &[]).await.status, 404);
}

#[tokio::test]
async fn messages_are_queued_and_belong_to_their_tenant() {
    let stage = TestApp::new().await;
    let (cafe, tea) = (stage.create_tenant("Cafe").await, stage.create_tenant("Tea").await);
    stage.bind(&cafe, "wx1").await;
    let path = "/v1/accounts/wx1/messages";
    let body = json!({"to": "o1", "content": {"msgtype": "text", "text": {"content": "hi"}}}).to_string();
    let sent = stage.call(Some(&cafe.key), "POST", path, Some(&body), &[("idempotency-key", "m1")]).await;
    assert_eq!((sent.status, &sent.json["status"]), (202, &json!("queued")), "{:?}", sent.json);
    let again = stage.call(Some(&cafe.key), "POST", path, Some(&body), &[("idempotency-key", "m1")]).await;
    assert_eq!(again.json, sent.json);
    let queued = stage.queued();
    assert_eq!(queued.len(), 1);
    assert_eq!(queued[0]["MessageGroupId"], "wx1#o1");
    assert_eq!(queued[0]["MessageDeduplicationId"], sent.json["id"]);
    let get = format!("/v1/messages/{}", sent.json["id"].as_str().unwrap());
    assert_eq!(stage.call(Some(&cafe.key), "GET", &get, None, &[]).await.json, sent.json);
    assert_eq!(stage.call(Some(&tea.key), "GET", &get, None, &[]).await.status, 404);
    assert_eq!(stage.call(Some(&tea.key), "POST", path, Some(&body), &[]).await.status, 404);

    stage.fail_queue(true);
    let lost = stage.call(Some(&cafe.key), "POST", path, Some(&body), &[("idempotency-key", "m2")]).await;
    assert_eq!((lost.status, lost.code()), (503, "temporarily_unavailable"));
    stage.fail_queue(false);
    stage.clock.advance(5);
    let found = stage.call(Some(&cafe.key), "POST", path, Some(&body), &[("idempotency-key", "m2")]).await;
    assert_eq!(found.status, 202);
    assert_eq!(stage.queued().len(), 2);
}

#[tokio::test]
async fn accounts_have_rules_and_imports() {
    let stage = TestApp::new().await;
    let (cafe, tea) = (stage.create_tenant("Cafe").await, stage.create_tenant("Tea").await);
    for app_id in ["wx3", "wx1", "wx2"] {
        stage.bind(&cafe, app_id).await;
    }
    let page = stage.call(Some(&cafe.key), "GET", "/v1/accounts?limit=2", None, &[]).await;
    assert_eq!(page.json["data"].as_array().unwrap().len(), 2, "{:?}", page.json);
    assert_eq!(page.json["data"][0]["app_id"], "wx1");
    let next = format!("/v1/accounts?limit=2&cursor={}", page.json["next_cursor"].as_str().unwrap());
    let page = stage.call(Some(&cafe.key), "GET", &next, None, &[]).await;
    assert_eq!(page.json["data"][0]["app_id"], "wx3");
    assert_eq!(page.json["next_cursor"], json!(null));
    assert_eq!(stage.call(Some(&tea.key), "GET", "/v1/accounts", None, &[]).await.json["data"], json!([]));
    assert_eq!(stage.call(Some(&tea.key), "GET", "/v1/accounts/wx1", None, &[]).await.status, 404);

    let rules =
        json!({"on_subscribe": null, "keywords": [], "default": {"msgtype": "transfer_customer_service"}});
    let path = "/v1/accounts/wx1/reply-rules";
    let put = stage.call(Some(&cafe.key), "PUT", path, Some(&rules.to_string()), &[]).await;
    assert_eq!((put.status, &put.json), (200, &rules));
    assert_eq!(stage.call(Some(&cafe.key), "GET", path, None, &[]).await.json, rules);
    let bad = stage
        .call(
            Some(&cafe.key),
            "PUT",
            path,
            Some(r#"{"on_subscribe":null,"keywords":[],"default":{"msgtype":"x"}}"#),
            &[],
        )
        .await;
    assert!(bad.json["detail"].as_str().unwrap().starts_with("default.msgtype: "), "{:?}", bad.json);

    let none = stage.call(Some(&cafe.key), "PUT", path, None, &[]).await;
    assert_eq!((none.status, none.code()), (422, "invalid_request"), "a body that got lost erases nothing");
    assert_eq!(stage.call(Some(&cafe.key), "GET", path, None, &[]).await.json, rules);

    let path = "/v1/accounts/wx1/imports";
    let import = stage.call(Some(&cafe.key), "POST", path, None, &[("idempotency-key", "i1")]).await;
    assert_eq!((import.status, &import.json["status"]), (202, &json!("running")), "{:?}", import.json);
    let again = stage.call(Some(&cafe.key), "POST", path, None, &[("idempotency-key", "i1")]).await;
    assert_eq!(again.json, import.json);
    let second = stage.call(Some(&cafe.key), "POST", path, None, &[]).await;
    assert_eq!((second.status, second.code()), (409, "import_running"));
    let (id, until) = (import.json["id"].as_str().unwrap(), stage.services.clock.unix() + 600);
    stage.services.store.imports().pause("wx1", id, until, "quota").await.unwrap();
    let resumed = stage.call(Some(&cafe.key), "POST", path, None, &[]).await;
    assert_eq!((resumed.status, &resumed.json["id"]), (202, &json!(id)));
    let queued = stage.queued();
    let groups: Vec<_> = queued.iter().map(|request| &request["Entries"][0]["MessageGroupId"]).collect();
    assert_eq!(groups, [&*cafe.id; 2], "one for each of the two, in the group by which SQS shares the queue");
    let list = stage.call(Some(&cafe.key), "GET", path, None, &[]).await;
    assert_eq!(list.json["data"][0]["id"], id);
    let one = stage.call(Some(&cafe.key), "GET", &format!("{path}/{id}"), None, &[]).await;
    assert_eq!(one.json["status"], "running");
    assert_eq!(stage.call(Some(&tea.key), "GET", &format!("{path}/{id}"), None, &[]).await.status, 404);

    assert_eq!(stage.call(Some(&cafe.key), "DELETE", "/v1/accounts/wx1", None, &[]).await.status, 409);
    stage
        .services
        .store
        .accounts()
        .unbind("wx1", stage.services.clock.unix(), stage.services.clock.unix())
        .await
        .unwrap();
    let unbound = stage.call(Some(&cafe.key), "POST", path, None, &[]).await;
    assert_eq!((unbound.status, unbound.code()), (409, "account_not_bound"));
    assert_eq!(stage.call(Some(&cafe.key), "DELETE", "/v1/accounts/wx1", None, &[]).await.status, 204);
    assert_eq!(stage.call(Some(&cafe.key), "GET", "/v1/accounts/wx1", None, &[]).await.status, 404);
    stage.bind(&tea, "wx1").await;
    let fresh = stage.call(Some(&tea.key), "GET", "/v1/accounts/wx1/reply-rules", None, &[]).await;
    assert_eq!(fresh.json["default"], json!(null), "the rules of the tenant before are not shown");
    let list = stage.call(Some(&tea.key), "GET", path, None, &[]).await;
    assert_eq!(list.json["data"], json!([]));
    assert_eq!(stage.call(Some(&tea.key), "POST", path, None, &[]).await.status, 202);
}

/// A page looks at a bounded number of customers: those of a deleted account may all be on later ones.
#[tokio::test]
async fn customers_of_a_deleted_account_are_found_behind_those_of_another() {
    let stage = TestApp::new().await;
    let cafe = stage.create_tenant("Cafe").await;
    let shard = |app_id: &str, open_id: &str| {
        customer_shard(&FanId { tenant: &cafe.id, app_id, open_id }.openid_customer_id())
    };
    let in_last = |app_id: &str, open_id: &str| shard(app_id, open_id) == CUSTOMER_SHARDS - 1;
    let open_ids = || (0..).map(|n| format!("o{n}"));
    stage.bind(&cafe, "wx1").await;
    for open_id in open_ids().filter(|open_id| !in_last("wx1", open_id)).take(1_100) {
        stage.add_fan(&cafe, "wx1", &open_id).await;
    }
    stage.bind(&cafe, "wx2").await;
    let fan = open_ids().find(|open_id| in_last("wx2", open_id)).unwrap();
    stage.add_fan(&cafe, "wx2", &fan).await;
    let now = stage.services.clock.unix();
    stage.services.store.accounts().unbind("wx2", now, now).await.unwrap();
    stage.services.store.accounts().delete(&cafe.id, "wx2").await.unwrap();
    let (mut path, mut pages, mut seen) = ("/v1/customers?app_id=wx2".to_owned(), 0, Vec::new());
    loop {
        let page = stage.call(Some(&cafe.key), "GET", &path, None, &[]).await;
        assert_eq!(page.status, 200, "{:?}", page.json);
        let customers = page.json["data"].as_array().unwrap();
        seen.extend(customers.iter().map(|c| c["fans"][0]["open_id"].as_str().unwrap().to_owned()));
        pages += 1;
        let Some(next) = page.json["next_cursor"].as_str() else { break };
        path = format!("/v1/customers?app_id=wx2&cursor={next}");
    }
    assert!(pages > 1, "the first page has it: the test shows nothing");
    assert_eq!(seen, [fan]);
}

#[tokio::test]
async fn customers_are_found_and_paged() {
    let stage = TestApp::new().await;
    let (cafe, tea) = (stage.create_tenant("Cafe").await, stage.create_tenant("Tea").await);
    stage.bind(&cafe, "wx1").await;
    for n in 0..25 {
        stage.add_fan(&cafe, "wx1", &format!("o{n}")).await;
    }
    let mut seen = std::collections::BTreeSet::new();
    let mut path = "/v1/customers?limit=10&subscribed=true&app_id=wx1".to_owned();
    loop {
        let page = stage.call(Some(&cafe.key), "GET", &path, None, &[]).await;
        assert_eq!(page.status, 200, "{:?}", page.json);
        for customer in page.json["data"].as_array().unwrap() {
            assert!(seen.insert(customer["id"].as_str().unwrap().to_owned()));
        }
        let Some(next) = page.json["next_cursor"].as_str() else { break };
        path = format!("/v1/customers?limit=10&subscribed=true&app_id=wx1&cursor={next}");
    }
    assert_eq!(seen.len(), 25);
    let one = stage.call(Some(&cafe.key), "GET", "/v1/customers?app_id=wx1&open_id=o7", None, &[]).await;
    let customer = &one.json["data"][0];
    assert_eq!(customer["fans"][0]["open_id"], "o7");
    let path = format!("/v1/customers/{}", customer["id"].as_str().unwrap());
    assert_eq!(stage.call(Some(&cafe.key), "GET", &path, None, &[]).await.json, *customer);
    assert_eq!(stage.call(Some(&tea.key), "GET", &path, None, &[]).await.status, 404);
    let timeline = stage.call(Some(&cafe.key), "GET", &format!("{path}/timeline"), None, &[]).await;
    assert_eq!(timeline.json["data"][0]["type"], "subscribed", "{:?}", timeline.json);
    for (kind, status) in [
        ("menu_clicked", 200),
        ("x_order_paid", 200),
        ("user_gifting_card", 200),
        ("bogus", 422),
        ("Subscribed", 422),
        ("", 422),
    ] {
        let path = format!("{path}/timeline?type={kind}");
        let answer = stage.call(Some(&cafe.key), "GET", &path, None, &[]).await;
        assert_eq!(answer.status, status, "{kind}: {answer:?}");
        assert!(status != 200 || answer.json["data"] == json!([]), "{kind}");
    }
    for (what, app_id) in [("nobody follows it", "wx2"), ("it was deleted", "wx3"), ("another's", "wx4")] {
        stage.bind(if app_id == "wx4" { &tea } else { &cafe }, app_id).await;
        if app_id == "wx3" {
            let now = stage.services.clock.unix();
            stage.services.store.accounts().unbind(app_id, now, now).await.unwrap();
            stage.services.store.accounts().delete(&cafe.id, app_id).await.unwrap();
        }
        for query in [format!("app_id={app_id}"), format!("app_id={app_id}&open_id=o7")] {
            let page = stage.call(Some(&cafe.key), "GET", &format!("/v1/customers?{query}"), None, &[]).await;
            assert_eq!(page.status, if app_id == "wx2" { 200 } else { 404 }, "{what}: {query}");
        }
    }
    let typo = stage.call(Some(&cafe.key), "GET", "/v1/customers?app_id=wx9", None, &[]).await;
    assert_eq!((typo.status, typo.code()), (404, "not_found"), "an account that nobody has");
    for query in ["subscribed=false", "tag_id=2", "union_id=u", "external_id=crm:1", "app_id=wx1&tag_id=9"] {
        let page = stage.call(Some(&cafe.key), "GET", &format!("/v1/customers?{query}"), None, &[]).await;
        assert_eq!(page.json, json!({"data": [], "next_cursor": null}), "{query}");
    }
}

#[tokio::test]
async fn a_list_of_imports_is_its_tenants_own_and_takes_no_forged_cursor() {
    let stage = TestApp::new().await;
    let (cafe, tea) = (stage.create_tenant("Cafe").await, stage.create_tenant("Tea").await);
    let path = "/v1/accounts/wx1/imports";
    let begin = async |key: &str| {
        stage.clock.advance(10);
        let import = stage.call(Some(key), "POST", path, None, &[]).await;
        assert_eq!(import.status, 202, "{:?}", import.json);
        let id = import.json["id"].as_str().unwrap().to_owned();
        stage.services.store.imports().end("wx1", &id, ImportStatus::Completed, None).await.unwrap();
        id
    };
    let page = async |key: &str, query: &str| {
        let list = stage.call(Some(key), "GET", &format!("{path}?{query}"), None, &[]).await;
        let ids: Vec<_> = list.json["data"]
            .as_array()
            .unwrap_or_else(|| panic!("{query}: {:?}", list.json))
            .iter()
            .map(|import| import["id"].as_str().unwrap().to_owned())
            .collect();
        (ids, list.json["next_cursor"].as_str().map(str::to_owned))
    };
    stage.bind(&cafe, "wx1").await;
    let mut ids = [begin(&cafe.key).await, begin(&cafe.key).await, begin(&cafe.key).await];
    ids.reverse();
    let (first, next) = page(&cafe.key, "limit=2").await;
    assert_eq!(first, ids[..2]);
    assert_eq!(
        page(&cafe.key, &format!("limit=2&cursor={}", next.unwrap())).await,
        (ids[2..].to_vec(), None)
    );

    stage.clock.advance(10);
    stage
        .services
        .store
        .accounts()
        .unbind("wx1", stage.services.clock.unix(), stage.services.clock.unix())
        .await
        .unwrap();
    assert_eq!(stage.call(Some(&cafe.key), "DELETE", "/v1/accounts/wx1", None, &[]).await.status, 204);
    stage.bind(&tea, "wx1").await;
    assert_eq!(page(&tea.key, "limit=1").await, (vec![], None), "another tenant's imports");
    let own = begin(&tea.key).await;
    assert_eq!(page(&tea.key, "limit=1").await, (vec![own], None), "another tenant's cursor");

    for forged in [
        "a",
        "imp",
        "imp_",
        "RUNNING",
        "imp_~",
        "imp_01jd3v6m5s8qk2x9w4r7t0y1z",
        "msg_01jd3v6m5s8qk2x9w4r7t0y1za",
    ] {
        let cursor = URL_SAFE_NO_PAD.encode(format!("\"{forged}\""));
        let answer = stage.call(Some(&tea.key), "GET", &format!("{path}?cursor={cursor}"), None, &[]).await;
        assert_eq!((answer.status, answer.code()), (422, "invalid_request"), "{forged}");
    }
}
