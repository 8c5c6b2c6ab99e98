//! Makes the API's description: its frame, what each handler and type says of itself, and what is the same for every
//! route. The result is committed as `openapi.json`, which the function carries ready; only tests make it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use aws_credential_types::Credentials;
use axum::body::Body;
use http::{Request, StatusCode, header};
use serde_json::Value;
use shared::{
    app::{App, Parts},
    aws::AwsClients,
    clock::ManualClock,
    config::{Config, Surroundings},
    problem::Problem,
    random::Rand,
    wechat::transport::Nowhere,
};
use tower::ServiceExt;
use utoipa::{
    OpenApi,
    openapi::{
        Content, ObjectBuilder, Ref, RefOr, Required, ResponseBuilder, ServerBuilder, Type,
        path::{Operation, Parameter, ParameterBuilder, ParameterIn},
        security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
    },
};

use crate::{docs, routes};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "oahub",
        description = "One API for all WeChat Official Accounts of your company: bind them, know their \
            followers, answer and write to them.\n\n\
            **By hand.** The lines below run in a shell where `HUB` is this hub's address and `KEY` your key.\n\n\
            **Keys.** Send `Authorization: Bearer KEY` with your tenant's key.\n\n\
            **Errors** are RFC 9457 problems; branch on `code`, show `detail`.\n\n\
            **Lists** answer `data` and `next_cursor`; pass it as `cursor` until it is null.\n\n\
            **Repeating.** Every POST takes an `Idempotency-Key`: the same key with the same body is done once \
            and answers the same for 24 hours.\n\n\
            **Times** are RFC 3339 in UTC, ids are opaque, and another tenant's things do not exist: 404."
    ),
    tags(
        (name = "Bindings", description = "Links by which an administrator binds an account to you."),
        (name = "Accounts", description = "Your Official Accounts and what they can do."),
        (name = "Imports", description = "Fetching all followers of an account."),
        (name = "Reply rules", description = "What an account answers by itself."),
        (name = "Messages", description = "Writing to followers."),
        (name = "Customers", description = "The people behind the followers, and what they did."),
        (name = "Platform", description = "For the operator of this hub."),
        (name = "Description", description = "What you are reading, and whether the hub answers."),
    ),
    paths(
        routes::platform::create_tenant,
        routes::platform::get_platform,
        routes::bindings::create_binding,
        routes::bindings::get_binding,
        routes::accounts::list_accounts,
        routes::accounts::get_account,
        routes::accounts::delete_account,
        routes::imports::list_imports,
        routes::imports::start_import,
        routes::imports::get_import,
        routes::reply_rules::get_reply_rules,
        routes::reply_rules::put_reply_rules,
        routes::messages::send_message,
        routes::messages::get_message,
        routes::customers::list_customers,
        routes::customers::get_customer,
        routes::customers::list_events,
        docs::healthz,
        docs::openapi_json,
        docs::docs_page,
    ),
    components(schemas(Problem)),
)]
struct Frame;

/// The description, as the types give it.
fn generated() -> utoipa::openapi::OpenApi {
    complete(base())
}

/// The description without what is the same for every route.
fn base() -> utoipa::openapi::OpenApi {
    let mut api = Frame::openapi();
    let key = |about: &str| {
        let mut http = Http::new(HttpAuthScheme::Bearer);
        http.description = Some(about.to_owned());
        SecurityScheme::Http(http)
    };
    let components = api.components.get_or_insert_default();
    components.add_security_scheme("tenant_key", key("A tenant's API key."));
    components.add_security_scheme("operator_key", key("The operator's key, `OAHUB_ADMIN_KEY`."));
    api.servers = Some(vec![ServerBuilder::new().url("/").description(Some("This hub")).build()]);
    api.security = Some(vec![SecurityRequirement::new("tenant_key", Vec::<String>::new())]);
    api
}

/// Adds what is the same for every route: `Idempotency-Key` and the problems.
fn complete(mut api: utoipa::openapi::OpenApi) -> utoipa::openapi::OpenApi {
    for (path, item) in &mut api.paths.paths {
        if !path.starts_with("/v1/") {
            continue;
        }
        let methods = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete];
        for (index, operation) in methods.into_iter().enumerate() {
            if let Some(operation) = operation {
                let is_post = index == 2;
                if is_post {
                    operation.parameters.get_or_insert_default().push(idempotency_key().into());
                }
                add_problems(operation, is_post, path.contains('{'));
            }
        }
    }
    api
}

fn idempotency_key() -> Parameter {
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(
            "A value of yours, 1 to 255 characters, that makes a repetition safe for 24 hours.",
        ))
        .schema(Some(
            ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(255)),
        ))
        .build()
}

fn add_problems(operation: &mut Operation, is_post: bool, has_id: bool) {
    let in_query = |p: &RefOr<Parameter>| matches!(p, RefOr::T(p) if p.parameter_in == ParameterIn::Query);
    let checked = is_post
        || operation.request_body.is_some()
        || operation.parameters.as_ref().is_some_and(|all| all.iter().any(in_query));
    let problems = [
        (true, "401", "`unauthorized`: no key, or a wrong one"),
        (true, "403", "`forbidden`: the operator's key on a tenant's route, or the other way round"),
        (has_id, "404", "`not_found`: it does not exist, or is another tenant's"),
        (is_post, "409", "`request_in_progress`, or what the description says"),
        (operation.request_body.is_some(), "413", "`body_too_large`: more than 256 KiB"),
        (checked, "422", "`invalid_request`: `detail` names the member; `idempotency_key_reused`"),
        (true, "503", "`temporarily_unavailable`: repeat it"),
    ];
    for (applies, status, about) in problems {
        if applies && !operation.responses.responses.contains_key(status) {
            let problem = Ref::from_schema_name("Problem");
            let response = ResponseBuilder::new()
                .description(about)
                .content("application/problem+json", Content::new(Some(RefOr::Ref(problem))))
                .build();
            operation.responses.responses.insert(status.to_owned(), RefOr::T(response));
        }
    }
}

/// The description is compared with the copy that reviews see and the function serves; `UPDATE_GOLDEN=1` writes it anew.
#[test]
#[expect(clippy::disallowed_methods, reason = "a switch of this test, not a setting")]
fn the_description_is_the_one_that_was_reviewed() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    let mut now = serde_json::to_value(generated()).unwrap();
    now["x-vocabulary"] = crate::docs::vocabulary::vocabulary();
    let now = serde_json::to_string_pretty(&now).unwrap() + "\n";
    if std::env::var("UPDATE_GOLDEN").is_ok() {
        std::fs::write(path, &now).unwrap();
    }
    let reviewed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(now == reviewed, "openapi.json differs; look at it and run again with UPDATE_GOLDEN=1");
}

/// What the router takes, as each route's `Allow` header says it, is what the description names, and no more.
#[tokio::test]
async fn the_description_and_the_router_know_the_same_routes() {
    let app = app();
    let mut routed = BTreeMap::new();
    for (path, methods) in crate::admin().into_iter().chain(crate::tenant()).chain(crate::public()) {
        let request = Request::builder().method("TRACE").body(Body::empty()).unwrap();
        let answer = methods.with_state(Arc::clone(&app)).oneshot(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
        let allowed = answer.headers()[header::ALLOW].to_str().unwrap();
        // axum answers HEAD wherever it answers GET
        let methods = allowed.split(',').filter(|method| *method != "HEAD").map(str::to_lowercase);
        routed.insert(path.to_owned(), methods.collect::<BTreeSet<_>>());
    }
    let document: Value = serde_json::from_str(crate::docs::DESCRIPTION).unwrap();
    let described = document["paths"].as_object().unwrap().iter().map(|(path, item)| {
        let methods = item.as_object().unwrap().keys().cloned();
        (path.clone(), methods.collect::<BTreeSet<_>>())
    });
    assert_eq!(routed, described.collect());
}

/// An app that reaches nothing: no handler of these tests runs.
fn app() -> Arc<App> {
    let config = Config::load(crate::NEEDS, Surroundings::Simulated, |name| {
        let value = match name {
            "OAHUB_COMPONENT_APP_ID" => "wx00c0ffee00c0ffee",
            "OAHUB_PUBLIC_URL" => "https://hub.example.com",
            "AWS_ENDPOINT_URL_DYNAMODB" | "AWS_ENDPOINT_URL_SQS" => "http://127.0.0.1:9",
            name if name.starts_with("OAHUB_") && !name.ends_with("_URL") => "something",
            _ => return None,
        };
        Some(value.to_owned())
    });
    let config = config.unwrap();
    let credentials = Credentials::new("a", "b", None, None, "test");
    let parts = Parts {
        clock: Arc::new(ManualClock::at(1_700_000_000)),
        random: Arc::new(Rand::seeded(1)),
        transport: Arc::new(Nowhere),
        aws: AwsClients::new(&config.resources, credentials),
    };
    App::new(config, parts).unwrap()
}
