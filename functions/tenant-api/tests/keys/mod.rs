//! API keys: what they open, how they are created and revoked, what remains afterwards.

use serde_json::{Value, json};
use shared::{ids, model::scope::Scope};

use crate::test_app::{ADMIN_KEY, TestApp};

/// Every route that takes a tenant's key, and the scope it needs.
const ROUTES: [(&str, &str, &str); 21] = [
    ("GET", "/v1/keys", "keys"),
    ("POST", "/v1/keys", "keys"),
    ("DELETE", "/v1/keys/key_1", "keys"),
    ("GET", "/v1/audit", "keys"),
    ("POST", "/v1/bindings", "bind"),
    ("GET", "/v1/bindings/bnd_1", "read"),
    ("DELETE", "/v1/bindings/bnd_1", "bind"),
    ("GET", "/v1/accounts", "read"),
    ("GET", "/v1/accounts/wx1", "read"),
    ("DELETE", "/v1/accounts/wx1", "bind"),
    ("GET", "/v1/accounts/wx1/events", "read"),
    ("GET", "/v1/accounts/wx1/imports", "read"),
    ("POST", "/v1/accounts/wx1/imports", "configure"),
    ("GET", "/v1/accounts/wx1/imports/imp_1", "read"),
    ("GET", "/v1/accounts/wx1/reply-rules", "read"),
    ("PUT", "/v1/accounts/wx1/reply-rules", "configure"),
    ("POST", "/v1/accounts/wx1/messages", "send"),
    ("GET", "/v1/messages/msg_1", "read"),
    ("GET", "/v1/customers", "read"),
    ("GET", "/v1/customers/cus_1", "read"),
    ("GET", "/v1/customers/cus_1/timeline", "read"),
];

#[tokio::test]
async fn a_key_opens_what_it_has_the_scope_for() {
    let stage = TestApp::new().await;
    let tenant = stage.create_tenant("Cafe").await;
    for scope in Scope::ALL.map(Scope::name) {
        let key = stage.create_key(&tenant, &[scope]).await;
        for (method, path, needed) in ROUTES {
            let answer = stage.call(Some(&key), method, path, None, &[]).await;
            let refused = (answer.status, answer.code()) == (403, "scope_missing");
            assert_eq!(refused, scope != needed, "{method} {path} with {scope}: {answer:?}");
            if refused {
                assert_eq!(answer.json["scope"], needed, "{method} {path}");
            }
        }
    }
    let described: Value = serde_json::from_str(include_str!("../../openapi.json")).unwrap();
    let paths = described["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap());
    let of_tenants = paths.filter(|(_, operation)| operation["security"][0]["tenant_key"].is_array()).count();
    assert_eq!(of_tenants, ROUTES.len(), "a route is missing here");
}

#[tokio::test]
async fn a_key_grants_at_most_what_it_has() {
    let stage = TestApp::new().await;
    let tenant = stage.create_tenant("Cafe").await;
    let maker = stage.create_key(&tenant, &["keys", "read"]).await;
    let make = async |body: Value| stage.call_json(&maker, "POST", "/v1/keys", body).await;
    let refused = make(json!({"name": "Shop", "scopes": ["read", "send"]})).await;
    assert_eq!(
        (refused.status, refused.code(), &refused.json["scope"]),
        (403, "scope_missing", &json!("send"))
    );
    let all = make(json!({"name": "Shop"})).await;
    assert_eq!((all.status, &all.json["scopes"]), (201, &json!(["read", "keys"])), "all that its maker has");
    let reader = make(json!({"name": " Shop ", "scopes": ["read", "read"]})).await;
    assert_eq!((reader.status, &reader.json["scopes"]), (201, &json!(["read"])));
    assert_eq!(reader.json["name"], "Shop");
    let key = reader.json["key"].as_str().unwrap();
    assert!(key.starts_with(reader.json["prefix"].as_str().unwrap()) && key.len() == 68, "{key}");
    for (what, body) in [
        ("no name", json!({})),
        ("an empty one", json!({"name": " "})),
        ("a name that nobody sees", json!({"name": "Shop\u{202e}"})),
        ("no scope at all", json!({"name": "Shop", "scopes": []})),
        ("an unknown scope", json!({"name": "Shop", "scopes": ["everything"]})),
        ("an end in the past", json!({"name": "Shop", "expires_at": "2023-11-14T22:13:20Z"})),
        ("an end that is no time", json!({"name": "Shop", "expires_at": "tomorrow"})),
    ] {
        let answer = make(body).await;
        assert_eq!((answer.status, answer.code()), (422, "invalid_request"), "{what}: {answer:?}");
    }
    let list = stage.call_json(&maker, "GET", "/v1/keys", Value::Null).await;
    assert_eq!(list.json["data"].as_array().unwrap().len(), 4, "the first, the maker and two");
    assert!(!list.json.to_string().contains(key) && !stage.table_text("PlatformTable").contains(key));
}

#[tokio::test]
async fn a_key_ends_when_it_said() {
    let stage = TestApp::new().await;
    let tenant = stage.create_tenant("Cafe").await;
    let body = json!({"name": "Trial", "scopes": ["read"], "expires_at": "2023-11-14T22:13:30Z"});
    let made = stage.call_json(&tenant.key, "POST", "/v1/keys", body).await;
    assert_eq!(made.json["expires_at"], "2023-11-14T22:13:30Z");
    let key = made.json["key"].as_str().unwrap();
    assert_eq!(stage.call_json(key, "GET", "/v1/accounts", Value::Null).await.status, 200);
    stage.clock.advance(10);
    let ended = stage.call_json(key, "GET", "/v1/accounts", Value::Null).await;
    assert_eq!((ended.status, ended.code()), (401, "unauthorized"), "though this instance remembers it");
}

#[tokio::test]
async fn a_revoked_key_is_refused_within_thirty_seconds() {
    let stage = TestApp::new().await;
    let (tenant, other) = (stage.create_tenant("Cafe").await, stage.another_instance());
    let made =
        stage.call_json(&tenant.key, "POST", "/v1/keys", json!({"name": "Leaked", "scopes": ["read"]})).await;
    let (key, id) = (made.json["key"].as_str().unwrap(), made.json["id"].as_str().unwrap());
    for instance in [&stage, &other] {
        assert_eq!(instance.call_json(key, "GET", "/v1/accounts", Value::Null).await.status, 200, "at once");
    }
    let stranger = stage.create_tenant("Tea").await;
    let path = format!("/v1/keys/{id}");
    assert_eq!(
        stage.call_json(&stranger.key, "DELETE", &path, Value::Null).await.status,
        404,
        "another tenant's"
    );
    assert_eq!(stage.call_json(&tenant.key, "DELETE", &path, Value::Null).await.status, 204);
    assert_eq!(stage.call_json(&tenant.key, "DELETE", &path, Value::Null).await.status, 404, "it is gone");
    assert_eq!(stage.call_json(key, "GET", "/v1/accounts", Value::Null).await.status, 401, "here at once");
    stage.clock.advance(30);
    assert_eq!(
        other.call_json(key, "GET", "/v1/accounts", Value::Null).await.status,
        401,
        "everywhere by now"
    );
}

#[tokio::test]
async fn the_last_key_that_makes_others_stays() {
    let stage = TestApp::new().await;
    let tenant = stage.create_tenant("Cafe").await;
    let ids = async || -> Vec<String> {
        let list = stage.call_json(&tenant.key, "GET", "/v1/keys", Value::Null).await;
        let data = list.json["data"].as_array().unwrap();
        data.iter().map(|key| key["id"].as_str().unwrap().to_owned()).collect()
    };
    let first = ids().await.remove(0);
    stage.create_key(&tenant, &["read"]).await;
    let soon = json!({"name": "Soon", "expires_at": "2023-11-14T22:13:21Z"});
    assert_eq!(stage.call_json(&tenant.key, "POST", "/v1/keys", soon).await.status, 201);
    stage.clock.advance(1);
    let refused = stage.call_json(&tenant.key, "DELETE", &format!("/v1/keys/{first}"), Value::Null).await;
    assert_eq!((refused.status, refused.code()), (409, "last_key"), "one cannot make others, one has ended");
    for round in 0..5 {
        // the two keys revoke each other; both requests first see two keys
        stage.clock.advance(1); // keys are listed by the second in which they were made
        let other = stage.create_key(&tenant, &["keys"]).await;
        let second = ids().await.pop().unwrap();
        let (a, b) = (format!("/v1/keys/{first}"), format!("/v1/keys/{second}"));
        let instance = stage.another_instance();
        let (one, two) = tokio::join!(
            instance.call_json(&other, "DELETE", &a, Value::Null),
            stage.call_json(&tenant.key, "DELETE", &b, Value::Null)
        );
        let outcomes = [(one.status, one.code()), (two.status, two.code())];
        let gone = outcomes.iter().filter(|outcome| **outcome == (204, "")).count();
        assert_eq!(gone, 1, "round {round}: {outcomes:?}");
        assert!(outcomes.contains(&(409, "last_key")), "round {round}: {outcomes:?}");
        if one.status == 204 {
            return; // the tenant's own key is revoked: no key is left for another round
        }
    }
}

#[tokio::test]
async fn a_repetition_shows_the_same_key_and_nothing_makes_it_again_later() {
    let stage = TestApp::new().await;
    let tenant = stage.create_tenant("Cafe").await;
    let post = async |path: &str, key: &str, body: &str, once: &str| {
        stage.call(Some(key), "POST", path, Some(body), &[("idempotency-key", once)]).await
    };
    let (body, once) = (r#"{"name":"Shop","scopes":["read"]}"#, "order-1");
    let first = post("/v1/keys", &tenant.key, body, once).await;
    assert_eq!(first.status, 201);
    let again = post("/v1/keys", &tenant.key, body, once).await;
    assert_eq!((again.status, &again.json), (201, &first.json));
    assert_eq!(again.json.to_string(), first.json.to_string(), "down to the order of its members");
    let made = post("/v1/tenants", ADMIN_KEY, r#"{"name":"Tea"}"#, "tenant-tea").await;
    let (key, tea) = (first.json["key"].as_str().unwrap(), made.json["api_key"].as_str().unwrap());
    for table in ["WorkTable", "PlatformTable"] {
        let items = stage.table_text(table);
        assert!(!items.contains(key) && !items.contains(tea), "{table} holds a key");
    }
    let id = made.json["id"].as_str().unwrap();
    for guessed in [
        ids::fingerprint(&["api key of", ADMIN_KEY, "tenant-tea", id]),
        ids::fingerprint(&["api key of", "", "POST /v1/tenants", "tenant-tea"]),
    ] {
        assert_ne!(tea, format!("oak_{guessed}"), "whoever has the operator's key can make it");
    }
    let at = ids::unix_ms_of(id).unwrap();
    let guessed = ids::derived_at("ten", at, &["ten", "platform", "POST /v1/tenants", "tenant-tea"]);
    assert_ne!(id, guessed, "an id follows from what is public");

    let path = format!("/v1/keys/{}", first.json["id"].as_str().unwrap());
    assert_eq!(stage.call_json(&tenant.key, "DELETE", &path, Value::Null).await.status, 204);
    let late = post("/v1/keys", &tenant.key, body, once).await;
    assert_eq!((late.status, &late.json), (201, &first.json));
    stage.clock.advance(30);
    assert_eq!(
        stage.call_json(key, "GET", "/v1/accounts", Value::Null).await.status,
        401,
        "it stays revoked"
    );
    stage.clock.advance(24 * 3600);
    let fresh = post("/v1/keys", &tenant.key, body, once).await;
    assert_ne!(fresh.json["key"], first.json["key"], "after a day it is another request");
}

#[tokio::test]
async fn the_last_use_is_known_to_the_hour() {
    let stage = TestApp::new().await;
    let tenant = stage.create_tenant("Cafe").await;
    stage.clock.advance(1);
    let key = stage.create_key(&tenant, &["read"]).await;
    let used = async || {
        let list = stage.call_json(&tenant.key, "GET", "/v1/keys", Value::Null).await;
        list.json["data"][1]["last_used_at"].clone()
    };
    assert_eq!(used().await, Value::Null);
    let mut seen = Vec::new();
    for _ in 0..3 {
        assert_eq!(stage.call_json(&key, "GET", "/v1/accounts", Value::Null).await.status, 200);
        seen.push(used().await);
        stage.clock.advance(1800);
    }
    assert_eq!(seen[0], "2023-11-14T22:13:21Z");
    assert_eq!(seen[1], seen[0], "half an hour later");
    assert_eq!(seen[2], "2023-11-14T23:13:21Z");
}

#[tokio::test]
async fn keys_are_paged() {
    let stage = TestApp::new().await;
    let tenant = stage.create_tenant("Cafe").await;
    for _ in 0..4 {
        stage.create_key(&tenant, &["read"]).await;
        stage.clock.advance(1);
    }
    let (mut seen, mut path) = (Vec::new(), "/v1/keys?limit=2".to_owned());
    for _ in 0..3 {
        let page = stage.call_json(&tenant.key, "GET", &path, Value::Null).await;
        let data = page.json["data"].as_array().unwrap();
        assert!(data.len() <= 2);
        seen.extend(data.iter().map(|key| key["id"].as_str().unwrap().to_owned()));
        let Some(next) = page.json["next_cursor"].as_str() else { break };
        path = format!("/v1/keys?limit=2&cursor={next}");
    }
    assert_eq!((seen.len(), seen.is_sorted()), (5, true), "{seen:?}");
}

#[tokio::test]
async fn invented_keys_cost_a_bounded_number_of_reads() {
    let stage = TestApp::new().await;
    let tenant = stage.create_tenant("Cafe").await;
    assert_eq!(stage.call_json(&tenant.key, "GET", "/v1/accounts", Value::Null).await.status, 200);
    let mut answers = Vec::new();
    for n in 0..110 {
        let key = format!("oak_{n:064x}");
        answers.push(stage.call_json(&key, "GET", "/v1/accounts", Value::Null).await);
    }
    let looked_up = answers.iter().filter(|answer| answer.status == 401).count();
    // the tenant's first request took one look-up; the operator's take none
    assert_eq!(looked_up, 99);
    let last = answers.pop().unwrap();
    assert_eq!((last.status, last.code(), last.retry_after), (429, "rate_limited", Some(1)));
    assert_eq!(
        stage.call_json(&tenant.key, "GET", "/v1/accounts", Value::Null).await.status,
        200,
        "a known one"
    );
    assert_eq!(stage.call_json("no-key-of-ours", "GET", "/v1/accounts", Value::Null).await.status, 401);
    stage.clock.advance(1);
    let other = stage.create_tenant("Tea").await;
    assert_eq!(
        stage.call_json(&other.key, "GET", "/v1/accounts", Value::Null).await.status,
        200,
        "a new one"
    );
}

#[tokio::test]
async fn a_tenant_has_its_rate_and_no_other_tenants() {
    let stage =
        TestApp::with_settings(&[("OAHUB_TENANT_READ_RATE", "20"), ("OAHUB_TENANT_WRITE_RATE", "2")]).await;
    let (cafe, tea) = (stage.create_tenant("Cafe").await, stage.create_tenant("Tea").await);
    let other = stage.another_instance();
    let get = async |stage: &TestApp, key: &str| {
        stage.call_json(key, "GET", "/v1/messages/msg_1", Value::Null).await
    };
    let mut passed = 0;
    let refused = loop {
        let answer = get(if passed % 3 == 0 { &other } else { &stage }, &cafe.key).await;
        match answer.status {
            404 => passed += 1, // it passed the limit; the message does not exist
            _ => break answer,
        }
        assert!(passed < 200, "there is no limit");
    };
    assert_eq!((refused.status, refused.code()), (429, "rate_limited"), "{refused:?}");
    // windows have five seconds, and one begins at 1,700,000,000
    assert_eq!((refused.retry_after, &refused.json["retry_after"]), (Some(5), &json!(5)));
    assert!((96..=104).contains(&passed), "{passed} instead of five seconds' worth, over two instances");
    assert_eq!(get(&stage, &tea.key).await.status, 404, "another tenant");
    assert_eq!(
        stage.call_json(&cafe.key, "POST", "/v1/bindings", json!({})).await.status,
        201,
        "another class"
    );
    let mut made = 1;
    while stage.call_json(&cafe.key, "POST", "/v1/bindings", json!({})).await.status == 201 {
        made += 1;
    }
    assert_eq!(made, 10);
    stage.clock.advance(5);
    for instance in [&stage, &other] {
        assert_eq!(get(instance, &cafe.key).await.status, 404, "the next window");
    }
    // costly lists count as several requests
    for (path, weight) in [
        ("/v1/accounts", 5),
        ("/v1/accounts/wx1/imports?limit=1", 5),
        ("/v1/keys", 5),
        ("/v1/customers?limit=1", 10),
        ("/v1/customers?subscribed=false&limit=200", 10),
        ("/v1/customers/cus_1/timeline", 10),
        ("/v1/accounts/wx1/events", 10),
        ("/v1/audit", 10),
    ] {
        stage.clock.advance(5);
        let mut passed = 0;
        while stage.call_json(&cafe.key, "GET", path, Value::Null).await.status != 429 {
            passed += 1;
            assert!(passed < 200, "{path} has no limit");
        }
        assert_eq!(passed, 100 / weight, "{path}");
    }
    let stage = TestApp::with_settings(&[("OAHUB_TENANT_READ_RATE", "1")]).await;
    let slow = stage.create_tenant("Slow").await;
    for status in [200, 429] {
        let list = stage.call_json(&slow.key, "GET", "/v1/customers", Value::Null).await;
        assert_eq!(list.status, status, "a list that counts as more than the limit takes all of it");
    }
}

#[tokio::test]
async fn a_repetition_with_another_key_shows_no_key() {
    let stage = TestApp::new().await;
    let tenant = stage.create_tenant("Cafe").await;
    let weak = stage.create_key(&tenant, &["keys"]).await;
    let post = async |path: &str, key: &str, body: &str, once: &str| {
        stage.call(Some(key), "POST", path, Some(body), &[("idempotency-key", once)]).await
    };
    let body = r#"{"name":"Shop"}"#;
    let made = post("/v1/keys", &tenant.key, body, "shop-1").await;
    assert_eq!(made.status, 201);
    for (what, body) in [("the same body", body), ("another", r#"{"name":"Shop","scopes":["keys"]}"#)] {
        let answer = post("/v1/keys", &weak, body, "shop-1").await;
        assert_eq!((answer.status, answer.code()), (422, "idempotency_key_reused"), "{what}");
        assert!(!answer.json.to_string().contains("oak_"), "{what}: {answer:?}");
    }
    // a response without a key is the same for all keys of the tenant
    let binder = stage.create_key(&tenant, &["bind"]).await;
    let link = post("/v1/bindings", &tenant.key, "{}", "link-1").await;
    let again = post("/v1/bindings", &binder, "{}", "link-1").await;
    assert_eq!((again.status, &again.json), (201, &link.json));
}

#[tokio::test]
async fn what_is_stored_of_a_repetition_makes_no_key_of_anybody() {
    let stage = TestApp::new().await;
    let tenant = stage.create_tenant("Cafe").await;
    for (path, caller, member) in [
        ("/v1/keys", tenant.key.as_str(), "key"),
        ("/v1/tenants", ADMIN_KEY, "api_key"),
        (&*format!("/v1/tenants/{}/keys", tenant.id), ADMIN_KEY, "key"),
    ] {
        let headers = [("idempotency-key", "shop-1")];
        let made = stage.call(Some(caller), "POST", path, Some(r#"{"name":"Shop"}"#), &headers).await;
        let key = made.json[member].as_str().unwrap();
        let route = format!("POST {path}");
        // try every stored text, whole and in halves, as the salt
        let items = stage.table_text("WorkTable");
        let texts: Vec<&str> = items.split('"').filter(|text| text.len() >= 32).collect();
        assert!(texts.iter().any(|text| text.len() == 128), "{path}: no salt is stored");
        for text in texts {
            let (one, two) = text.split_at_checked(text.len() / 2).unwrap_or_default();
            for salt in [text, one, two] {
                let guess = ids::fingerprint(&["api key of", salt, &route, "shop-1"]);
                assert_ne!(key, format!("oak_{guess}"), "{path}: made of what is stored and a guess");
            }
        }
    }
}

#[tokio::test]
async fn a_key_ends_at_the_latest_with_the_one_that_made_it_and_says_which_that_was() {
    let stage = TestApp::new().await;
    let tenant = stage.create_tenant("Cafe").await;
    let end = "2023-11-15T00:00:00Z";
    let trial = json!({"name": "Trial", "scopes": ["read", "keys"], "expires_at": end});
    let trial = stage.call_json(&tenant.key, "POST", "/v1/keys", trial).await.json;
    let maker = trial["key"].as_str().unwrap();
    for (what, asked, ends) in [
        ("for ever", Value::Null, end),
        ("longer", json!("2024-01-01T00:00:00Z"), end),
        ("as long", json!(end), end),
        ("shorter", json!("2023-11-14T23:00:00Z"), "2023-11-14T23:00:00Z"),
    ] {
        let body = json!({"name": what, "scopes": ["read"], "expires_at": asked});
        let made = stage.call_json(maker, "POST", "/v1/keys", body).await;
        assert_eq!((made.status, &made.json["expires_at"]), (201, &json!(ends)), "{what}");
        assert_eq!(made.json["made_by"], json!({"type": "key", "id": trial["id"]}), "{what}");
    }
    let path = format!("/v1/tenants/{}/keys", tenant.id);
    assert_eq!(stage.call_json(ADMIN_KEY, "POST", &path, json!({"name": "Way back"})).await.status, 201);
    let list = stage.call_json(&tenant.key, "GET", "/v1/keys", Value::Null).await;
    let makers: Vec<&str> =
        list.json["data"].as_array().unwrap().iter().map(|k| k["made_by"]["id"].as_str().unwrap()).collect();
    let count = |id: &Value| makers.iter().filter(|maker| **maker == id).count();
    let first = list.json["data"].as_array().unwrap().iter().find(|key| key["name"] == "First key").unwrap();
    assert_eq!(
        (count(&trial["id"]), count(&first["id"]), count(&json!("operator"))),
        (4, 1, 2),
        "{makers:?}"
    );
    stage.clock.advance(24 * 3600);
    let now = stage.call_json(maker, "GET", "/v1/keys", Value::Null).await;
    assert_eq!(now.status, 401, "it has ended, and all that it made");
    let log = stage.call_json(&tenant.key, "GET", "/v1/audit?actor=operator", Value::Null).await;
    let done: Vec<&str> = log.json["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["operation"].as_str().unwrap())
        .collect();
    assert_eq!(done, ["tenant.key_created_by_operator", "tenant.created"]);
}

#[tokio::test]
async fn a_tenant_keeps_a_key_that_makes_others_for_ever() {
    let stage = TestApp::new().await;
    let tenant = stage.create_tenant("Cafe").await;
    let body = json!({"name": "Soon", "scopes": ["keys"], "expires_at": "2023-11-15T00:00:00Z"});
    let soon = stage.call_json(&tenant.key, "POST", "/v1/keys", body).await.json;
    let list = stage.call_json(&tenant.key, "GET", "/v1/keys", Value::Null).await.json;
    let first = list["data"].as_array().unwrap().iter().find(|key| key["name"] == "First key").unwrap();
    let revoke = async |key: &str, id: &Value| {
        stage.call_json(key, "DELETE", &format!("/v1/keys/{}", id.as_str().unwrap()), Value::Null).await
    };
    let refused = revoke(soon["key"].as_str().unwrap(), &first["id"]).await;
    assert_eq!((refused.status, refused.code()), (409, "last_key"), "in a day nobody could make one");
    assert_eq!(revoke(&tenant.key, &soon["id"]).await.status, 204, "one that ends is not the last");
    let other = stage.create_key(&tenant, &["keys"]).await;
    assert_eq!(revoke(&other, &first["id"]).await.status, 204, "the other lasts");
}

/// Whoever held a stolen key revoked all others and made new ones faster than anybody could revoke them; and a suspended
/// tenant could not revoke any.
#[tokio::test]
async fn the_operator_takes_all_keys_from_a_thief_while_the_tenant_is_suspended() {
    let stage = TestApp::new().await;
    let (tenant, other) = (stage.create_tenant("Cafe").await, stage.create_tenant("Tea").await);
    let stolen = stage.create_key(&tenant, &["keys", "read"]).await;
    let operator =
        async |method: &str, path: &str, body: Value| stage.call_json(ADMIN_KEY, method, path, body).await;
    let path = format!("/v1/tenants/{}", tenant.id);
    operator("PATCH", &path, json!({"status": "suspended"})).await;
    let listed = operator("GET", &format!("{path}/keys?limit=1"), Value::Null).await;
    assert_eq!(listed.status, 200, "{listed:?}");
    assert!(listed.json["next_cursor"].is_string(), "a page: {listed:?}");
    let listed = operator("GET", &format!("{path}/keys"), Value::Null).await.json;
    let ids: Vec<String> =
        listed["data"].as_array().unwrap().iter().map(|key| key["id"].as_str().unwrap().into()).collect();
    assert_eq!(ids.len(), 2);
    for (what, path, status) in [
        ("the first one", format!("{path}/keys/{}", ids[0]), 204),
        ("the last one", format!("{path}/keys/{}", ids[1]), 204),
        ("one that is revoked", format!("{path}/keys/{}", ids[1]), 404),
        ("an invented one", format!("{path}/keys/key_1"), 404),
        ("of an invented tenant", format!("/v1/tenants/ten_1/keys/{}", ids[0]), 404),
        ("of another tenant", format!("/v1/tenants/{}/keys/{}", other.id, ids[0]), 404),
    ] {
        let answer = operator("DELETE", &path, Value::Null).await;
        assert_eq!(answer.status, status, "{what}: {answer:?}");
    }
    let back = operator("POST", &format!("{path}/keys"), json!({"name": "Way back"})).await;
    operator("PATCH", &path, json!({"status": "active"})).await;
    stage.clock.advance(30);
    for (key, status) in [(&*stolen, 401), (&*tenant.key, 401), (back.json["key"].as_str().unwrap(), 200)] {
        assert_eq!(stage.call_json(key, "GET", "/v1/keys", Value::Null).await.status, status);
    }
    let back = back.json["key"].as_str().unwrap();
    let log =
        stage.call_json(back, "GET", "/v1/audit?operation=tenant.key_revoked_by_operator", Value::Null).await;
    let targets: Vec<&str> =
        log.json["data"].as_array().unwrap().iter().map(|entry| entry["target"].as_str().unwrap()).collect();
    assert_eq!(targets, [&*ids[1], &*ids[0]], "its own log has them, and no others");
    assert_eq!(stage.call_json(&other.key, "GET", &format!("{path}/keys"), Value::Null).await.status, 403);
}

/// A thousand requests for invented ids pushed the entry of a stolen key's work beyond what one listing reads.
#[tokio::test]
async fn an_invented_id_leaves_no_audit_entry() {
    let stage = TestApp::new().await;
    let tenant = stage.create_tenant("Cafe").await;
    let entries = async || {
        let log = stage.call_json(&tenant.key, "GET", "/v1/audit", Value::Null).await;
        log.json["data"].as_array().unwrap().len()
    };
    let before = entries().await;
    for path in ["/v1/keys/key_1", "/v1/bindings/bnd_1", "/v1/accounts/wx1"] {
        assert_eq!(stage.call_json(&tenant.key, "DELETE", path, Value::Null).await.status, 404, "{path}");
    }
    assert_eq!(entries().await, before);
}
