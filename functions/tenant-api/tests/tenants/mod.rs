//! The operator's routes for tenants, and the audit log.

use serde_json::{Value, json};
use shared::clock::Clock as _;

use crate::test_app::{ADMIN_KEY, TestApp};

#[tokio::test]
async fn a_tenant_is_listed_changed_and_suspended() {
    let stage = TestApp::new().await;
    let mut ids = Vec::new();
    for name in ["Cafe", "Tea", "Bar"] {
        ids.push(stage.create_tenant(name).await);
        stage.clock.advance(1);
    }
    let operator =
        async |method: &str, path: &str, body: Value| stage.call_json(ADMIN_KEY, method, path, body).await;
    let page = operator("GET", "/v1/tenants?limit=2", Value::Null).await;
    let names = |page: &Value| -> Vec<String> {
        page["data"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&page.json), ["Cafe", "Tea"]);
    let next = format!("/v1/tenants?limit=2&cursor={}", page.json["next_cursor"].as_str().unwrap());
    let page = operator("GET", &next, Value::Null).await;
    assert_eq!((names(&page.json), &page.json["next_cursor"]), (vec!["Bar".to_owned()], &Value::Null));

    let (cafe, path) = (&ids[0], format!("/v1/tenants/{}", ids[0].id));
    let one = operator("GET", &path, Value::Null).await;
    let expected = json!({
        "id": cafe.id, "name": "Cafe", "time_zone": "Asia/Shanghai", "status": "active",
        "created_at": "2023-11-14T22:13:20Z",
    });
    assert_eq!(one.json, expected);
    let changed =
        operator("PATCH", &path, json!({"name": "Cafe\u{301}", "time_zone": "Europe/Berlin"})).await;
    assert_eq!(
        (&changed.json["name"], &changed.json["time_zone"]),
        (&json!("Café"), &json!("Europe/Berlin"))
    );
    for (what, body) in [
        ("no body", Value::Null),
        ("nothing to change", json!({})),
        ("nothing, in nulls", json!({"name": null, "status": null})),
        ("a name turned around", json!({"name": "Tea\u{202e}"})),
        ("no time zone", json!({"time_zone": "Shanghai"})),
        ("a status that only a deletion gives", json!({"status": "deleted"})),
        ("another member", json!({"id": "ten_1"})),
    ] {
        assert_eq!(operator("PATCH", &path, body).await.status, 422, "{what}");
    }
    for (method, path) in
        [("GET", "/v1/tenants/ten_1"), ("PATCH", "/v1/tenants/ten_1"), ("POST", "/v1/tenants/ten_1/keys")]
    {
        let body = if method == "GET" { Value::Null } else { json!({"name": "Key"}) };
        assert_eq!(operator(method, path, body).await.status, 404, "{method} {path}");
    }

    let other = stage.another_instance();
    assert_eq!(other.call_json(&cafe.key, "GET", "/v1/accounts", Value::Null).await.status, 200);
    assert_eq!(operator("PATCH", &path, json!({"status": "suspended"})).await.json["status"], "suspended");
    let refused = stage.call_json(&cafe.key, "GET", "/v1/accounts", Value::Null).await;
    assert_eq!((refused.status, refused.code()), (403, "tenant_suspended"));
    stage.clock.advance(30);
    assert_eq!(
        other.call_json(&cafe.key, "GET", "/v1/accounts", Value::Null).await.status,
        403,
        "everywhere"
    );
    assert_eq!(
        stage.call_json(&ids[1].key, "GET", "/v1/accounts", Value::Null).await.status,
        200,
        "another's"
    );
    operator("PATCH", &path, json!({"status": "active"})).await;
    assert_eq!(stage.call_json(&cafe.key, "GET", "/v1/accounts", Value::Null).await.status, 200);
}

#[tokio::test]
async fn a_tenants_time_is_told_to_the_millisecond() {
    let stage = TestApp::new().await;
    let cafe = stage.create_tenant("Cafe").await;
    stage.clock.advance_ms(7);
    let made = stage.call_json(ADMIN_KEY, "POST", "/v1/tenants", json!({"name": "Tea"})).await.json;
    assert_eq!(made["created_at"], "2023-11-14T22:13:20.007Z");
    // release 0.1 stored nanoseconds
    let stored = stage.services.store.tenants().get(&cafe.id).await.unwrap().unwrap();
    let created_at = "2023-11-14T22:13:20.123456789Z".parse().unwrap();
    let old = shared::model::tenant::Tenant { id: "ten_old".into(), created_at, ..stored };
    let (key, secret) = (Default::default(), shared::secret::Secret::new("oak_old"));
    stage.services.store.tenants().create(&old, &key, &secret).await.unwrap();
    let shown = stage.call_json(ADMIN_KEY, "GET", "/v1/tenants/ten_old", Value::Null).await.json;
    assert_eq!(shown["created_at"], "2023-11-14T22:13:20.123Z");
}

#[tokio::test]
async fn a_tenant_is_deleted_once_nothing_of_it_is_at_work() {
    let stage = TestApp::new().await;
    let (cafe, tea) = (stage.create_tenant("Cafe").await, stage.create_tenant("Tea").await);
    stage.bind(&cafe, "wx1").await;
    stage.bind(&tea, "wx2").await;
    let path = format!("/v1/tenants/{}", cafe.id);
    let delete = async || stage.call_json(ADMIN_KEY, "DELETE", &path, Value::Null).await;
    let entry = async |app_id: &str| stage.services.store.accounts().entry_uncached(app_id).await.unwrap();
    for (what, status) in [("active", "active"), ("suspended, with an account", "suspended")] {
        stage.call_json(ADMIN_KEY, "PATCH", &path, json!({"status": status})).await;
        let refused = delete().await;
        assert_eq!((refused.status, refused.code()), (409, "tenant_active"), "{what}");
        assert_eq!(entry("wx1").await.unwrap().suspended, status == "suspended", "{what}");
        assert!(!entry("wx2").await.unwrap().suspended, "another tenant's");
        let (link, binds) = (format!("wx_{status}"), status == "active");
        stage.bind(&cafe, &link).await;
        assert_eq!(entry(&link).await.is_some(), binds, "{what}: a link that is open binds or not");
        if binds {
            let now = stage.services.clock.unix();
            stage.services.store.accounts().unbind(&link, now, now).await.unwrap();
        }
    }
    let now = stage.services.clock.unix();
    stage.services.store.accounts().unbind("wx1", now, now).await.unwrap();
    for _ in 0..2 {
        let gone = delete().await;
        assert_eq!((gone.status, &gone.json["status"]), (202, &json!("deleted")));
    }
    assert_eq!(stage.call_json(ADMIN_KEY, "GET", &path, Value::Null).await.json["status"], "deleted");
    assert_eq!(stage.call_json(&cafe.key, "GET", "/v1/accounts", Value::Null).await.status, 401);
    for (method, path, body) in [
        ("PATCH", path.clone(), json!({"status": "active"})),
        ("POST", format!("{path}/keys"), json!({"name": "Way back"})),
    ] {
        assert_eq!(
            stage.call_json(ADMIN_KEY, method, &path, body).await.status,
            404,
            "{method}: it does not come back"
        );
    }
    stage.bind(&cafe, "wx1").await;
    assert!(entry("wx1").await.is_none() && entry("wx2").await.is_some(), "nor is anything bound to it");
    let left = stage.table_text("PlatformTable");
    assert_eq!(left.matches("KEY#key_").count(), 1, "Tea has one");
    assert_eq!(stage.call_json(ADMIN_KEY, "DELETE", "/v1/tenants/ten_1", Value::Null).await.status, 404);
}

#[tokio::test]
async fn the_operator_makes_keys_for_a_tenant_without_one() {
    let stage = TestApp::new().await;
    let tenant = stage.create_tenant("Cafe").await;
    let path = format!("/v1/tenants/{}/keys", tenant.id);
    stage.clock.advance(1);
    let made = stage.call_json(ADMIN_KEY, "POST", &path, json!({"name": "Way back"})).await;
    assert_eq!(made.status, 201);
    assert_eq!(made.json["scopes"], json!(["read", "send", "configure", "bind", "people", "keys"]));
    let key = made.json["key"].as_str().unwrap();
    let list = stage.call_json(key, "GET", "/v1/keys", Value::Null).await;
    assert_eq!(list.json["data"][1]["name"], "Way back", "{list:?}");
    assert_eq!(stage.call_json(&tenant.key, "POST", &path, json!({"name": "x"})).await.status, 403);
}

#[tokio::test]
async fn the_operator_releases_an_account_that_is_unbound() {
    let stage = TestApp::new().await;
    let (cafe, tea) = (stage.create_tenant("Cafe").await, stage.create_tenant("Tea").await);
    stage.bind(&cafe, "wx1").await;
    let release =
        async |key: &str| stage.call_json(key, "POST", "/v1/platform/accounts/wx1/release", json!({})).await;
    assert_eq!(release(&cafe.key).await.status, 403, "a tenant");
    let bound = release(ADMIN_KEY).await;
    assert_eq!((bound.status, bound.code()), (409, "account_still_bound"));
    let now = stage.services.clock.unix();
    stage.services.store.accounts().unbind("wx1", now, now).await.unwrap();
    assert_eq!(release(ADMIN_KEY).await.status, 204);
    assert_eq!(release(ADMIN_KEY).await.status, 404, "nobody has it");
    assert_eq!(stage.call_json(&cafe.key, "GET", "/v1/accounts/wx1", Value::Null).await.status, 404);
    let log = stage.call_json(&cafe.key, "GET", "/v1/audit?operation=account.released", Value::Null).await;
    assert_eq!(log.json["data"].as_array().unwrap().len(), 2, "its tenant reads who took it");
    stage.bind(&tea, "wx1").await;
    assert_eq!(stage.call_json(&tea.key, "GET", "/v1/accounts/wx1", Value::Null).await.status, 200);
}

#[tokio::test]
async fn what_is_changed_is_on_record() {
    let stage = TestApp::new().await;
    let (cafe, tea) = (stage.create_tenant("Cafe").await, stage.create_tenant("Tea").await);
    stage.bind(&cafe, "wx1").await;
    stage.clock.advance(1);
    let rules = json!({"on_subscribe": null, "keywords": [], "default": null});
    assert_eq!(stage.call_json(&cafe.key, "PUT", "/v1/accounts/wx1/reply-rules", rules).await.status, 200);
    stage.clock.advance(1);
    assert_eq!(stage.call_json(&cafe.key, "DELETE", "/v1/accounts/wx1", Value::Null).await.status, 409);
    stage.clock.advance(1);
    let path = format!("/v1/tenants/{}", cafe.id);
    stage.call_json(ADMIN_KEY, "PATCH", &path, json!({"name": "Café"})).await;
    stage.clock.advance(1);

    let entries = async |key: &str, query: &str| -> Vec<(String, String, String)> {
        let page = stage.call_json(key, "GET", &format!("/v1/audit{query}"), Value::Null).await;
        assert_eq!(page.status, 200, "{page:?}");
        let text = |entry: &Value, name: &str| entry[name].as_str().unwrap().to_owned();
        let data = page.json["data"].as_array().unwrap().clone();
        data.iter().map(|e| (text(&e["actor"], "type"), text(e, "operation"), text(e, "outcome"))).collect()
    };
    let row = |actor: &str, operation: &str, outcome: &str| {
        (actor.to_owned(), operation.to_owned(), outcome.to_owned())
    };
    let all = [
        row("operator", "tenant.changed", "succeeded"),
        row("key", "account.deleted", "account_still_bound"),
        row("key", "reply_rules.replaced", "succeeded"),
        row("operator", "tenant.created", "succeeded"),
    ];
    assert_eq!(entries(&cafe.key, "").await, all);
    let at = "2023-11-14T22:13:2";
    for (query, wanted) in [
        ("?operation=account.deleted".to_owned(), &all[1..2]),
        ("?actor=operator&operation=tenant.created".to_owned(), &all[3..]),
        (format!("?from={at}1Z&to={at}2Z"), &all[1..3]),
        (format!("?to={at}0Z"), &all[3..]),
        ("?operation=nothing".to_owned(), &[]),
    ] {
        assert_eq!(entries(&cafe.key, &query).await, wanted, "{query}");
    }
    let (mut paged, mut path) = (Vec::new(), "/v1/audit?limit=1".to_owned());
    for _ in 0..5 {
        let page = stage.call_json(&cafe.key, "GET", &path, Value::Null).await;
        paged.extend(page.json["data"].as_array().unwrap().iter().map(|entry| entry["target"].clone()));
        let Some(next) = page.json["next_cursor"].as_str() else { break };
        path = format!("/v1/audit?limit=1&cursor={next}");
    }
    assert_eq!(paged, [json!(cafe.id), json!("wx1"), json!("wx1"), json!(cafe.id)]);
    assert_eq!(entries(&tea.key, "").await, all[3..], "another tenant's log");
    assert_eq!(entries(ADMIN_KEY, "?operation=tenant.changed").await, all[..1], "the operator's own");
    assert_eq!(entries(ADMIN_KEY, "?operation=tenant.created").await.len(), 2);
    let wrong = stage.call_json(&cafe.key, "GET", "/v1/audit?cursor=IngxIg", Value::Null).await;
    assert_eq!(wrong.status, 422, "a cursor of another list");
}

#[tokio::test]
async fn what_cannot_be_put_on_record_is_not_done() {
    let stage = TestApp::new().await;
    let cafe = stage.create_tenant("Cafe").await;
    stage.database.delete_table(serde_json::from_value(json!({"TableName": "WorkTable"})).unwrap()).unwrap();
    let made = stage.call_json(&cafe.key, "POST", "/v1/keys", json!({"name": "Shop"})).await;
    assert_eq!((made.status, made.code()), (503, "temporarily_unavailable"));
    let list = stage.call_json(&cafe.key, "GET", "/v1/keys", Value::Null).await;
    assert_eq!(list.json["data"].as_array().unwrap().len(), 1, "the first key alone");
}

/// The answer changed the moment another tenant bound the account.
#[tokio::test]
async fn a_former_owner_does_not_learn_that_another_tenant_has_the_account() {
    let stage = TestApp::new().await;
    let (former, next) = (stage.create_tenant("Cafe").await, stage.create_tenant("Tea").await);
    stage.bind(&former, "wx1").await;
    stage.clock.advance(60);
    let now = stage.clock.unix();
    assert!(stage.services.store.accounts().unbind("wx1", now, now).await.unwrap());
    assert_eq!(stage.call_json(&former.key, "DELETE", "/v1/accounts/wx1", Value::Null).await.status, 204);
    let paths = ["/v1/customers?app_id=wx1", "/v1/customers?app_id=wx1&open_id=o1", "/v1/accounts/wx1"];
    let look = async || {
        let mut seen = Vec::new();
        for path in paths {
            let answer = stage.call_json(&former.key, "GET", path, Value::Null).await;
            seen.push((answer.status, answer.json));
        }
        seen
    };
    let before = look().await;
    stage.bind(&next, "wx1").await;
    assert_eq!(look().await, before);
    assert!(before.iter().all(|(status, _)| *status == 404), "{before:?}");
}
