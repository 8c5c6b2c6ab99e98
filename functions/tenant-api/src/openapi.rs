//! The frame of the API's description, and what is the same for every route.

use shared::problem::Problem;
use utoipa::{
    OpenApi,
    openapi::{
        Content, ObjectBuilder, Ref, RefOr, Required, ResponseBuilder, Type,
        path::{Operation, Parameter, ParameterBuilder, ParameterIn},
        security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
    },
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "oahub",
        description = "One API for all WeChat Official Accounts of your company: bind them, know their \
            followers, answer and write to them.\n\n\
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
    components(schemas(Problem)),
)]
struct Frame;

/// The description without routes.
pub fn base() -> utoipa::openapi::OpenApi {
    let mut api = Frame::openapi();
    let key = |about: &str| {
        let mut http = Http::new(HttpAuthScheme::Bearer);
        http.description = Some(about.to_owned());
        SecurityScheme::Http(http)
    };
    let components = api.components.get_or_insert_default();
    components.add_security_scheme("tenant_key", key("A tenant's API key."));
    components.add_security_scheme("operator_key", key("The operator's key, `OAHUB_ADMIN_KEY`."));
    api.security = Some(vec![SecurityRequirement::new("tenant_key", Vec::<String>::new())]);
    api
}

/// Adds what is the same for every route: `Idempotency-Key` and the problems.
pub fn complete(mut api: utoipa::openapi::OpenApi) -> utoipa::openapi::OpenApi {
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

#[cfg(test)]
mod tests {
    /// The description is compared with the copy that reviews see; `UPDATE_GOLDEN=1` writes it anew.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "a switch of this test, not a setting")]
    fn the_description_is_the_one_that_was_reviewed() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
        let now = crate::openapi().to_pretty_json().unwrap() + "\n";
        if std::env::var("UPDATE_GOLDEN").is_ok() {
            std::fs::write(path, &now).unwrap();
        }
        let reviewed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(now == reviewed, "openapi.json differs; look at it and run again with UPDATE_GOLDEN=1");
    }
}
