//! The API's description from the handlers and types, with what is the same for every route.

use std::collections::BTreeMap;

use serde_json::Value;
use shared::problem::Problem;
use utoipa::{
    OpenApi,
    openapi::{
        Content, HttpMethod, ObjectBuilder, Ref, RefOr, Required, ResponseBuilder, ServerBuilder, Type,
        path::{Operation, Parameter, ParameterBuilder, ParameterIn},
        request_body::RequestBody,
        schema::{Schema, SchemaType},
        security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
    },
};

use super::vocabulary::vocabulary;
use crate::{
    route::{Description, Route},
    route_policy::RoutePolicy,
};

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
    components(schemas(Problem)),
)]
struct ApiDoc;

/// The description, with the words that programs branch on.
pub fn document() -> Value {
    let mut document = serde_json::to_value(add_common_parts(base_document(), &route_policies())).unwrap();
    document["x-vocabulary"] = vocabulary();
    document
}

/// The policies by path and method.
type RoutePolicies = BTreeMap<(String, String), RoutePolicy>;

fn route_policies() -> RoutePolicies {
    let policy = |route: Route| Some(((route.path, method_name(&route.description.method)), route.policy?));
    crate::api_routes().into_iter().filter_map(policy).collect()
}

/// `get` for GET.
fn method_name(method: &HttpMethod) -> String {
    serde_json::to_value(method).unwrap().as_str().unwrap().to_owned()
}

/// The description without the parts that all routes share.
fn base_document() -> utoipa::openapi::OpenApi {
    let mut api = ApiDoc::openapi();
    let key = |about: &str| {
        let mut http = Http::new(HttpAuthScheme::Bearer);
        http.description = Some(about.to_owned());
        SecurityScheme::Http(http)
    };
    let mut schemas = Vec::new();
    for route in crate::api_routes() {
        let Description { method, operation, tags, schemas: collect } = route.description;
        let mut operation = operation();
        operation.tags = Some(tags().into_iter().map(str::to_owned).collect());
        api.paths.add_path_operation(&route.path, vec![method], operation);
        collect(&mut schemas);
    }
    let components = api.components.get_or_insert_default();
    components.schemas.extend(schemas);
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
        (is_post || operation.request_body.is_some(), "413", "`body_too_large`: more than 256 KiB"),
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
