//! Generates the API's description from the handlers and types, and adds what is the same for every
//! route. The result is committed as `openapi.json`, which the function serves; only tests generate it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use aws_credential_types::Credentials;
use axum::body::Body;
use http::{Request, StatusCode, header};
use serde_json::Value;
use shared::{
    aws::AwsClients,
    clock::ManualClock,
    config::{Config, RunMode},
    problem::Problem,
    random::StdRandom,
    services::{Dependencies, Services},
    wechat::transport::NoTransport,
};
use tower::ServiceExt;
use utoipa::{
    OpenApi,
    openapi::{
        Content, ObjectBuilder, Ref, RefOr, Required, ResponseBuilder, ServerBuilder, Type,
        path::{Operation, Parameter, ParameterBuilder, ParameterIn},
        request_body::RequestBody,
        schema::{Schema, SchemaType},
        security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
    },
};

use crate::{docs, route_policy::RoutePolicy, routes};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "oahub",
        description = "One API for all WeChat Official Accounts of your company: bind them, know their \
            followers, answer and write to them.\n\n\
            **By hand.** The lines below run in a shell where `HUB` is this hub's address and `KEY` your key.\n\n\
            **Keys.** Send `Authorization: Bearer KEY` with a key of your tenant's. A key has scopes: `read`, `send`, \
            `configure`, `bind`, `people`, `keys`; each route names the one that it needs. Give each program a key of \
            its own with the scopes that it needs.\n\n\
            **Rates.** Above your tenant's rate the answer is 429 `rate_limited`; go on when `Retry-After` says. A list counts as \
            five requests, one of customers, of events or of what was done as ten.\n\n\
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
        (name = "Keys", description = "Your API keys, and who did what with them."),
        (name = "Tenants", description = "For the operator of this hub: the companies that use it."),
        (name = "Platform", description = "For the operator of this hub: how it stands."),
        (name = "Description", description = "What you are reading, and whether the hub answers."),
    ),
    paths(
        routes::keys::list_keys,
        routes::keys::create_key,
        routes::keys::revoke_key,
        routes::audit::list_audit,
        routes::tenants::create_tenant,
        routes::tenants::list_tenants,
        routes::tenants::get_tenant,
        routes::tenants::change_tenant,
        routes::tenants::delete_tenant,
        routes::tenants::create_tenant_key,
        routes::platform::get_platform,
        routes::accounts::release_account,
        routes::queues::list_queues,
        routes::queues::list_dead_letters,
        routes::queues::redrive,
        routes::bindings::create_binding,
        routes::bindings::get_binding,
        routes::bindings::delete_binding,
        routes::accounts::list_accounts,
        routes::accounts::get_account,
        routes::accounts::delete_account,
        routes::events::list_account_events,
        routes::imports::list_imports,
        routes::imports::start_import,
        routes::imports::get_import,
        routes::reply_rules::get_reply_rules,
        routes::reply_rules::put_reply_rules,
        routes::messages::send_message,
        routes::messages::get_message,
        routes::customers::list_customers,
        routes::customers::get_customer,
        routes::events::list_customer_events,
        docs::healthz,
        docs::openapi_json,
        docs::docs_page,
    ),
    components(schemas(Problem)),
)]
struct ApiDoc;

/// Generates the description from the types.
async fn generate() -> utoipa::openapi::OpenApi {
    add_common_parts(base_document(), &route_policies().await)
}

/// The policies by path and method.
type RoutePolicies = BTreeMap<(String, String), RoutePolicy>;

async fn route_policies() -> RoutePolicies {
    let app = offline_services();
    let mut rules = RoutePolicies::new();
    for (path, handlers) in crate::authenticated_routes() {
        for (rule, handler) in handlers {
            let methods = allowed_methods(&app, handler).await;
            rules.extend(methods.into_iter().map(|method| ((path.to_owned(), method), rule)));
        }
    }
    rules
}

/// The methods of a handler, taken from its `Allow` header.
async fn allowed_methods(app: &Arc<Services>, handler: crate::Handler) -> BTreeSet<String> {
    let request = Request::builder().method("TRACE").body(Body::empty()).unwrap();
    let answer = handler.with_state(Arc::clone(app)).oneshot(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
    let allowed = answer.headers()[header::ALLOW].to_str().unwrap();
    // axum serves HEAD wherever it serves GET
    allowed.split(',').filter(|method| *method != "HEAD").map(str::to_lowercase).collect()
}

/// The description without the parts that all routes share.
fn base_document() -> utoipa::openapi::OpenApi {
    let mut api = ApiDoc::openapi();
    let key = |about: &str| {
        let mut http = Http::new(HttpAuthScheme::Bearer);
        http.description = Some(about.to_owned());
        SecurityScheme::Http(http)
    };
    let components = api.components.get_or_insert_default();
    components.add_security_scheme("tenant_key", key("A tenant's API key."));
    components.add_security_scheme("operator_key", key("The operator's key, `OAHUB_ADMIN_KEY`."));
    api.servers = Some(vec![ServerBuilder::new().url("/").description(Some("This hub")).build()]);
    api
}

/// The keys that open an operation; a tenant's key with its scope, which OpenAPI calls a role.
fn security(rule: RoutePolicy) -> Vec<SecurityRequirement> {
    let tenant = rule.scope().map(|scope| SecurityRequirement::new("tenant_key", [scope.name()]));
    let operator =
        rule.allows_operator().then(|| SecurityRequirement::new("operator_key", Vec::<String>::new()));
    tenant.into_iter().chain(operator).collect()
}

/// Adds what all routes share: security, `Idempotency-Key` and the problems.
fn add_common_parts(mut api: utoipa::openapi::OpenApi, rules: &RoutePolicies) -> utoipa::openapi::OpenApi {
    for (path, item) in &mut api.paths.paths {
        for (method, operation) in [
            ("get", &mut item.get),
            ("put", &mut item.put),
            ("post", &mut item.post),
            ("delete", &mut item.delete),
            ("patch", &mut item.patch),
        ] {
            let Some(operation) = operation else { continue };
            if let Some(RefOr::T(body)) = &mut operation.request_body {
                drop_null_body(body);
            }
            let Some(rule) = rules.get(&(path.clone(), method.to_owned())) else { continue };
            operation.security = Some(security(*rule));
            let is_post = method == "post";
            if is_post {
                operation.parameters.get_or_insert_default().push(idempotency_key().into());
            }
            add_problems(operation, *rule, is_post, path.contains('{'));
        }
    }
    api
}

/// utoipa describes an optional body as nullable; no body may be `null`, so that choice is removed.
fn drop_null_body(body: &mut RequestBody) {
    for content in body.content.values_mut() {
        let RefOr::T(content) = content else { continue };
        let Some(RefOr::T(Schema::OneOf(choices))) = &content.schema else { continue };
        let is_null = |choice: &RefOr<Schema>| matches!(choice, RefOr::T(Schema::Object(o)) if o.schema_type == SchemaType::Type(Type::Null));
        let bodies: Vec<_> = choices.items.iter().filter(|choice| !is_null(choice)).cloned().collect();
        if let ([one], true) = (&*bodies, choices.items.iter().any(is_null)) {
            content.schema = Some(one.clone());
            body.required = Some(Required::False);
        }
    }
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

fn add_problems(operation: &mut Operation, rule: RoutePolicy, is_post: bool, has_id: bool) {
    let in_query = |p: &RefOr<Parameter>| matches!(p, RefOr::T(p) if p.parameter_in == ParameterIn::Query);
    let checked = is_post
        || operation.request_body.is_some()
        || operation.parameters.as_ref().is_some_and(|all| all.iter().any(in_query));
    let problems = [
        (true, "401", "`unauthorized`: no key, or a wrong one"),
        (
            rule.scope().is_some(),
            "403",
            "`scope_missing`: the key does not grant what this needs; `tenant_suspended`; `forbidden`: the operator's \
             key on a tenant's route",
        ),
        (rule.scope().is_none(), "403", "`forbidden`: a tenant's key on the operator's route"),
        (has_id, "404", "`not_found`: it does not exist, or is another tenant's"),
        (
            has_id,
            "405",
            "`method_not_allowed`: an id with a `?`, encoded or not, ends the path there, which is another route",
        ),
        (is_post, "409", "`request_in_progress`, or what the description says"),
        (operation.request_body.is_some(), "413", "`body_too_large`: more than 256 KiB"),
        (checked, "422", "`invalid_request`: `detail` names the member; `idempotency_key_reused`"),
        (true, "429", "`rate_limited`: go on when `Retry-After` says"),
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

/// Compares the description with the committed copy; `UPDATE_GOLDEN=1` rewrites it.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a switch of this test, not a setting")]
async fn the_description_is_the_one_that_was_reviewed() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    let mut now = serde_json::to_value(generate().await).unwrap();
    now["x-vocabulary"] = crate::docs::vocabulary::vocabulary();
    let now = serde_json::to_string_pretty(&now).unwrap() + "\n";
    if std::env::var("UPDATE_GOLDEN").is_ok() {
        std::fs::write(path, &now).unwrap();
    }
    let reviewed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(now == reviewed, "openapi.json differs; look at it and run again with UPDATE_GOLDEN=1");
}

/// The router (by each route's `Allow` header) and the description have exactly the same routes.
#[tokio::test]
async fn the_description_and_the_router_know_the_same_routes() {
    let app = offline_services();
    let mut routed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, method) in route_policies().await.into_keys() {
        routed.entry(path).or_default().insert(method);
    }
    for (path, handler) in crate::public_routes() {
        routed.entry(path.to_owned()).or_default().extend(allowed_methods(&app, handler).await);
    }
    let document: Value = serde_json::from_str(crate::docs::OPENAPI_JSON).unwrap();
    let described = document["paths"].as_object().unwrap().iter().map(|(path, item)| {
        let methods = item.as_object().unwrap().keys().cloned();
        (path.clone(), methods.collect::<BTreeSet<_>>())
    });
    assert_eq!(routed, described.collect());
}

/// Services without network: these tests run no handler.
fn offline_services() -> Arc<Services> {
    let config = Config::load(crate::NEEDS, RunMode::Simulated, |name| {
        let value = match name {
            "OAHUB_COMPONENT_APP_ID" => "wx00c0ffee00c0ffee",
            "OAHUB_PUBLIC_URL" => "https://hub.example.com",
            "AWS_ENDPOINT_URL_DYNAMODB" | "AWS_ENDPOINT_URL_SQS" => "http://127.0.0.1:9",
            name if name.starts_with("OAHUB_") && !name.ends_with("_URL") && !name.ends_with("_RATE") => {
                "something"
            }
            _ => return None,
        };
        Some(value.to_owned())
    });
    let config = config.unwrap();
    let credentials = Credentials::new("a", "b", None, None, "test");
    let parts = Dependencies {
        clock: Arc::new(ManualClock::at(1_700_000_000)),
        random: Arc::new(StdRandom::seeded(1)),
        transport: Arc::new(NoTransport),
        aws: AwsClients::new(&config.resources, credentials),
    };
    Services::new(config, parts).unwrap()
}
