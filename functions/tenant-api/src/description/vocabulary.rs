//! The words that programs branch on, as the description lists them.

use serde::Serialize;
use serde_json::{Value, json};
use shared::model::{event_type::EventType, failure_code::FailureCode};

/// `code` of a problem: the status, the word, what it means.
const ERROR_CODES: [(u16, &str, &str); 19] = [
    (401, "unauthorized", "No key, or one that opens nothing. Send `Authorization: Bearer KEY`."),
    (403, "forbidden", "The operator's key on a tenant's route, or the other way round."),
    (403, "scope_missing", "The key does not grant what the route needs; the answer's `scope` names it."),
    (403, "tenant_suspended", "The operator has suspended this tenant."),
    (404, "not_found", "It does not exist, or is another tenant's; the two look the same."),
    (405, "method_not_allowed", "The `Allow` header names what the path takes."),
    (409, "account_not_bound", "The account's authorization is gone: bind it again."),
    (
        409,
        "account_still_bound",
        "Only an unbound account can be deleted: its administrator cancels the authorization at mp.weixin.qq.com.",
    ),
    (409, "import_running", "One import runs already; the answer's `import_id` names it."),
    (409, "last_key", "The last key with the scope `keys` cannot be revoked: make another first."),
    (409, "not_redrivable", "These dead letters have no queue to go back to: a tick comes again by itself."),
    (
        409,
        "request_in_progress",
        "The first request with this `Idempotency-Key` is still under way. Repeat it in a moment.",
    ),
    (409, "tenant_active", "Only a tenant that is suspended and has no bound account can be deleted."),
    (409, "too_many_keys", "A tenant has at most 100 keys."),
    (413, "body_too_large", "A body has at most 256 KiB."),
    (422, "answer_too_large", "The answer would have more than 6 MB. Ask for fewer: take a smaller `limit`."),
    (
        422,
        "idempotency_key_reused",
        "This `Idempotency-Key` came with another body within 24 hours, or with another API key where the answer shows a new \
         one. Take a new `Idempotency-Key`.",
    ),
    (
        422,
        "invalid_request",
        "A parameter or a member is not what it should be; `detail` begins with its path.",
    ),
    (
        429,
        "rate_limited",
        "More requests than a tenant may make at once. `Retry-After`, and `retry_after` in the body, say in how many \
         seconds to go on.",
    ),
];

/// The one problem that is not the caller's fault.
const UNAVAILABLE: (u16, &str, &str) = (
    503,
    "temporarily_unavailable",
    "The database or a queue did not answer. Repeat it, best with an `Idempotency-Key`.",
);

/// `error.code` of a message that failed.
const MESSAGE_ERRORS: [(FailureCode, &str); 12] = [
    (FailureCode::AccountNotBound, "The account is not bound. Its administrator has to authorize it again."),
    (
        FailureCode::CapabilityMissing,
        "The account's type, its verification or the permissions that it granted do not allow this kind of message.",
    ),
    (
        FailureCode::OutcomeUnknown,
        "WeChat was asked and its answer was lost. It may have been delivered, and is not sent again for that.",
    ),
    (
        FailureCode::OutsideReplyWindow,
        "No reply window is open, or its sends are used up, and there is no template.",
    ),
    (FailureCode::QuotaExceeded, "WeChat's quota was used up for 24 hours."),
    (FailureCode::RecipientUnreachable, "No such follower, one who left, or one who wants no messages."),
    (FailureCode::SystemFailed, "WeChat took the template message and could not deliver it."),
    (
        FailureCode::TenantSuspended,
        "The operator of this hub has suspended the tenant: nothing is sent for it.",
    ),
    (FailureCode::UserBlocked, "WeChat took the template message; the follower blocks the account."),
    (FailureCode::WechatBusy, "WeChat was not reached, or was busy, for 24 hours."),
    (FailureCode::WechatError, "WeChat refused it; `errcode` is its number, `detail` its sentence."),
    (
        FailureCode::Unknown,
        "A later release of the hub stored a reason that this one does not know; see `detail`.",
    ),
];

fn words<W: Serialize>(words: &[(W, &str)]) -> Vec<Value> {
    words.iter().map(|(word, about)| json!({ "word": word, "description": about })).collect()
}

/// The extension `x-vocabulary` of the description.
pub fn vocabulary() -> Value {
    let errors = ERROR_CODES.iter().chain([&UNAVAILABLE]);
    let errors: Vec<Value> = errors
        .map(|(status, word, about)| json!({ "word": word, "status": status, "description": format!("**{status}** {about}") }))
        .collect();
    json!([
        {
            "name": "Error codes",
            "description": "`code` of a problem. Branch on it and not on `title` or `detail`; new ones may come. What the \
                gateway itself refuses (429, 404 outside of the API, 500, 503) is `{\"message\"}` and has none.",
            "words": errors,
        },
        {
            "name": "Reasons of failed messages",
            "description": "`error.code` of a Message with `status` `failed`.",
            "words": words(&MESSAGE_ERRORS),
        },
        {
            "name": "Event types",
            "description": "`type` of an Event: the hub's own words, then WeChat's. What is reserved is not recorded yet. An \
                event of WeChat's that is not listed has WeChat's own name in snake_case: `SomethingNew` is `something_new`. \
                `detail` has the push's members under WeChat's names.",
            "words": words(&EventType::all().collect::<Vec<_>>()),
        },
    ])
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use utoipa::PartialSchema;

    use super::*;

    /// Collects the codes of all problems that the sources under `path` create.
    fn codes_in_source(path: &Path, found: &mut BTreeSet<String>) {
        if path.is_dir() {
            for entry in fs::read_dir(path).unwrap() {
                codes_in_source(&entry.unwrap().path(), found);
            }
            return;
        }
        let source = fs::read_to_string(path).unwrap();
        for made in ["Problem::conflict(", "Problem::new(", "Self::new("] {
            for call in source.split(made).skip(1) {
                // the call's first string literal; `new` has the status before it
                let text = call.split('"').nth(1).unwrap_or_default();
                if !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') {
                    found.insert(text.to_owned());
                }
            }
        }
    }

    #[test]
    fn every_code_of_a_problem_is_described() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut found = BTreeSet::new();
        codes_in_source(&root.join("src"), &mut found);
        for shared in ["problem.rs", "function.rs"] {
            codes_in_source(&root.join("../../shared/src").join(shared), &mut found);
        }
        let described: BTreeSet<String> =
            ERROR_CODES.iter().chain([&UNAVAILABLE]).map(|(_, word, _)| (*word).to_owned()).collect();
        assert_eq!(found, described);
    }

    #[test]
    fn words_are_in_order_and_stand_once() {
        assert!(ERROR_CODES.iter().is_sorted_by_key(|(status, word, _)| (*status, *word)));
        let described = json!(MESSAGE_ERRORS.map(|(word, _)| word));
        let schema = json!(FailureCode::schema());
        assert_eq!(described, schema["enum"], "every code of a failed message is described");
        let known = described.as_array().unwrap().iter().filter(|word| *word != "unknown");
        assert!(known.is_sorted_by_key(|word| word.as_str()));
    }
}
