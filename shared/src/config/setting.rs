//! Every setting: its name, what a valid value looks like, and what applies where it is not set.

use std::{net::IpAddr, ops::RangeInclusive};

/// Where the process runs, which decides how strict the rules are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunMode {
    /// On AWS, or here with a real WeChat: URLs are https outside loopback, and the operator's key is long.
    Live,
    /// With a simulated WeChat, or in a test.
    Simulated,
}

/// A setting: its name and what a valid value looks like.
pub struct Setting {
    /// The environment variable.
    pub name: &'static str,
    /// What a valid value looks like; reads well after "it must be".
    pub expected: &'static str,
    /// What applies where it is not set.
    pub when_unset: WhenUnset,
    /// Whether a value is valid.
    pub(super) is_valid: fn(&str, RunMode) -> bool,
}

/// What applies where a setting is not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenUnset {
    /// The function does not start.
    Required,
    /// The setting has no value.
    Optional,
    /// This value.
    Default(&'static str),
}

impl Setting {
    /// Its description, as in the README's table.
    #[must_use]
    pub fn description(&self) -> String {
        match self.when_unset {
            WhenUnset::Required => self.expected.to_owned(),
            WhenUnset::Optional => format!("optional: {}", self.expected),
            WhenUnset::Default(value) => format!("{}; `{value}` if not set", self.expected),
        }
    }
}

/// Fewest characters of an operator's key where real accounts are: nobody can guess 32 random letters.
pub const MIN_ADMIN_KEY_CHARS: usize = 32;
/// The operator's key of the simulated set-up: public, so that it opens nothing else.
pub const SIMULATED_ADMIN_KEY: &str = "simulated-admin-key";

/// Highest rate limit of one tenant, in requests a second: more than an HTTP API of AWS allows in all.
const MAX_TENANT_RATE: u32 = 100_000;

/// Days that an event may be kept. A stored event shows that its push, or the job that writes it, was handled
/// before, and no queue keeps a job for longer than 14 days. Nobody has asked for more than ten years.
pub const TIMELINE_DAYS_RANGE: RangeInclusive<i64> = 15..=3_650;
/// Days that an event is kept by default; `infra/COST.md` says what more costs.
pub const TIMELINE_DAYS_DEFAULT: i64 = 365;

/// Set by Lambda.
pub(super) const REGION: Setting = Setting {
    name: "AWS_REGION",
    expected: "the AWS region of the tables and queues, as Lambda sets it",
    when_unset: WhenUnset::Required,
    is_valid: |v, _| !v.is_empty() && has_no_whitespace(v),
};
pub(super) const COMPONENT_APP_ID: Setting = Setting {
    name: "OAHUB_COMPONENT_APP_ID",
    expected: "the third-party platform's app id: `wx` and 16 letters or digits",
    when_unset: WhenUnset::Required,
    is_valid: |v, _| v.starts_with("wx") && (10..=32).contains(&v.len()) && is_alphanumeric(v),
};
pub(super) const COMPONENT_APP_SECRET: Setting = Setting {
    name: "OAHUB_COMPONENT_APP_SECRET",
    expected: "the third-party platform's secret, as its console shows it once",
    when_unset: WhenUnset::Required,
    is_valid: |v, _| has_no_whitespace(v),
};
pub(super) const COMPONENT_TOKEN: Setting = Setting {
    name: "OAHUB_COMPONENT_TOKEN",
    expected: "the message verification token of the console: 3 to 32 letters or digits",
    when_unset: WhenUnset::Required,
    is_valid: |v, _| is_token(v),
};
pub(super) const COMPONENT_TOKEN_PREVIOUS: Setting = Setting {
    name: "OAHUB_COMPONENT_TOKEN_PREVIOUS",
    expected: "the token before a rotation: 3 to 32 letters or digits",
    when_unset: WhenUnset::Optional,
    ..COMPONENT_TOKEN
};
pub(super) const COMPONENT_AES_KEY: Setting = Setting {
    name: "OAHUB_COMPONENT_AES_KEY",
    expected: "the EncodingAESKey of the console: 43 letters or digits",
    when_unset: WhenUnset::Required,
    is_valid: |v, _| is_aes_key(v),
};
pub(super) const COMPONENT_AES_KEY_PREVIOUS: Setting = Setting {
    name: "OAHUB_COMPONENT_AES_KEY_PREVIOUS",
    expected: "the EncodingAESKey before a rotation: 43 letters or digits",
    when_unset: WhenUnset::Optional,
    ..COMPONENT_AES_KEY
};
pub(super) const WECHAT_API_URL: Setting = Setting {
    name: "OAHUB_WECHAT_API_URL",
    expected: "an https URL without user, query or fragment (http only for a loopback address)",
    when_unset: WhenUnset::Default("https://api.weixin.qq.com"),
    is_valid: is_base_url,
};
pub(super) const WECHAT_MP_URL: Setting = Setting {
    name: "OAHUB_WECHAT_MP_URL",
    when_unset: WhenUnset::Default("https://mp.weixin.qq.com"),
    ..WECHAT_API_URL
};
pub(super) const WECHAT_OPEN_URL: Setting = Setting {
    name: "OAHUB_WECHAT_OPEN_URL",
    when_unset: WhenUnset::Default("https://open.weixin.qq.com"),
    ..WECHAT_API_URL
};
pub(super) const PUBLIC_URL: Setting = Setting {
    name: "OAHUB_PUBLIC_URL",
    expected: "the https URL that browsers and WeChat reach this deployment at, without user, query or fragment \
               (http only for a loopback address)",
    when_unset: WhenUnset::Required,
    is_valid: is_base_url,
};
pub(super) const ADMIN_KEY: Setting = Setting {
    name: "OAHUB_ADMIN_KEY",
    expected: "the operator's own key: at least 32 random characters without blanks",
    when_unset: WhenUnset::Required,
    is_valid: is_admin_key,
};
pub(super) const ADMIN_KEY_PREVIOUS: Setting = Setting {
    name: "OAHUB_ADMIN_KEY_PREVIOUS",
    expected: "the operator's key before a rotation: at least 32 characters without blanks",
    when_unset: WhenUnset::Optional,
    ..ADMIN_KEY
};
pub(super) const TENANT_READ_RATE: Setting = Setting {
    name: "OAHUB_TENANT_READ_RATE",
    expected: "how many GET requests a second one tenant may make: 1 to 100000, or 0 for any number",
    when_unset: WhenUnset::Default("0"),
    is_valid: |v, _| v.parse().is_ok_and(|rate: u32| rate <= MAX_TENANT_RATE),
};
pub(super) const TENANT_WRITE_RATE: Setting = Setting {
    name: "OAHUB_TENANT_WRITE_RATE",
    expected: "how many other requests a second, messages among them, one tenant may make: 1 to 100000, or 0 for any \
               number",
    ..TENANT_READ_RATE
};
pub(super) const REJECT_STALE_CALLBACKS: Setting = Setting {
    name: "OAHUB_REJECT_STALE_CALLBACKS",
    expected: "`true` or `false`",
    when_unset: WhenUnset::Default("false"),
    is_valid: |v, _| v == "true" || v == "false",
};
pub(super) const TIMELINE_DAYS: Setting = Setting {
    name: "OAHUB_TIMELINE_DAYS",
    expected: "how many days a customer's events are kept: 15 to 3650",
    when_unset: WhenUnset::Default("365"),
    is_valid: |v, _| v.parse().is_ok_and(|days| TIMELINE_DAYS_RANGE.contains(&days)),
};
pub(super) const SWEEPERS: Setting = Setting {
    name: "OAHUB_SWEEPERS",
    expected: "how many jobs hand over what waited, where much is due at once: 1 to 8",
    when_unset: WhenUnset::Default("4"),
    is_valid: |v, _| v.parse().is_ok_and(|jobs: usize| (1..=8).contains(&jobs)),
};

/// Every setting that an operator gives, in the README's order.
pub const SETTINGS: [&Setting; 17] = [
    &COMPONENT_APP_ID,
    &COMPONENT_APP_SECRET,
    &COMPONENT_TOKEN,
    &COMPONENT_TOKEN_PREVIOUS,
    &COMPONENT_AES_KEY,
    &COMPONENT_AES_KEY_PREVIOUS,
    &WECHAT_API_URL,
    &WECHAT_MP_URL,
    &WECHAT_OPEN_URL,
    &PUBLIC_URL,
    &ADMIN_KEY,
    &ADMIN_KEY_PREVIOUS,
    &TENANT_READ_RATE,
    &TENANT_WRITE_RATE,
    &REJECT_STALE_CALLBACKS,
    &TIMELINE_DAYS,
    &SWEEPERS,
];

const fn required_setting(name: &'static str, expected: &'static str) -> Setting {
    Setting { name, expected, when_unset: WhenUnset::Required, is_valid: |v, _| has_no_whitespace(v) }
}

const fn table_setting(name: &'static str) -> Setting {
    required_setting(name, "the name of the table, as `template.yaml` gives it")
}

const fn queue_setting(name: &'static str) -> Setting {
    required_setting(name, "the URL of the queue, as `template.yaml` gives it")
}

/// Whether a variable holds the URL of a queue: `OAHUB_<QUEUE>_QUEUE`, or of its dead letters.
#[must_use]
pub fn is_queue_variable(variable: &str) -> bool {
    variable.ends_with("_QUEUE") || variable.ends_with(DEAD_LETTERS_SUFFIX)
}

pub(super) const PLATFORM_TABLE: Setting = table_setting("OAHUB_PLATFORM_TABLE");
pub(super) const CREDENTIALS_TABLE: Setting = table_setting("OAHUB_CREDENTIALS_TABLE");
pub(super) const CUSTOMERS_TABLE: Setting = table_setting("OAHUB_CUSTOMERS_TABLE");
pub(super) const TIMELINE_TABLE: Setting = table_setting("OAHUB_TIMELINE_TABLE");
pub(super) const WORK_TABLE: Setting = table_setting("OAHUB_WORK_TABLE");
pub(super) const AUTHORIZATION_QUEUE: Setting = queue_setting("OAHUB_AUTHORIZATION_QUEUE");
pub(super) const REFRESH_QUEUE: Setting = queue_setting("OAHUB_REFRESH_QUEUE");
pub(super) const IMPORT_QUEUE: Setting = queue_setting("OAHUB_IMPORT_QUEUE");
pub(super) const FOLLOWER_QUEUE: Setting = queue_setting("OAHUB_FOLLOWER_QUEUE");
pub(super) const SEND_QUEUE: Setting = queue_setting("OAHUB_SEND_QUEUE");
pub(super) const RESULT_QUEUE: Setting = queue_setting("OAHUB_RESULT_QUEUE");

/// Suffix of the variables that hold dead-letter queues.
const DEAD_LETTERS_SUFFIX: &str = "_DEAD_LETTERS";
/// Dead letters: `OAHUB_<QUEUE>_DEAD_LETTERS`.
pub(super) const DEAD_LETTERS: [&Setting; 7] = [
    &queue_setting("OAHUB_AUTHORIZATION_DEAD_LETTERS"),
    &queue_setting("OAHUB_REFRESH_DEAD_LETTERS"),
    &queue_setting("OAHUB_TICK_DEAD_LETTERS"),
    &queue_setting("OAHUB_IMPORT_DEAD_LETTERS"),
    &queue_setting("OAHUB_FOLLOWER_DEAD_LETTERS"),
    &queue_setting("OAHUB_SEND_DEAD_LETTERS"),
    &queue_setting("OAHUB_RESULT_DEAD_LETTERS"),
];

/// The queue's name in the variable of its dead letters, such as `send`.
pub(super) fn queue_of_dead_letters(variable: &str) -> String {
    let name = variable.strip_prefix("OAHUB_").and_then(|rest| rest.strip_suffix(DEAD_LETTERS_SUFFIX));
    name.unwrap_or_default().to_ascii_lowercase()
}

fn is_alphanumeric(v: &str) -> bool {
    v.bytes().all(|b| b.is_ascii_alphanumeric())
}

fn has_no_whitespace(v: &str) -> bool {
    !v.contains(char::is_whitespace)
}

fn is_token(v: &str) -> bool {
    (3..=32).contains(&v.len()) && is_alphanumeric(v)
}

fn is_aes_key(v: &str) -> bool {
    v.len() == 43 && is_alphanumeric(v)
}

fn is_admin_key(v: &str, mode: RunMode) -> bool {
    let long = v.chars().count() >= MIN_ADMIN_KEY_CHARS && v != SIMULATED_ADMIN_KEY;
    has_no_whitespace(v) && (long || mode == RunMode::Simulated)
}

/// A URL that paths are appended to: a query, a fragment or user information would break that.
fn is_base_url(v: &str, mode: RunMode) -> bool {
    let Ok(uri) = v.parse::<http::Uri>() else { return false };
    let authority = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    let host = uri.host().unwrap_or_default();
    let scheme = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => mode == RunMode::Simulated || is_loopback(host),
        _ => false,
    };
    // `Uri` drops a fragment without a word
    scheme && authority && !host.is_empty() && uri.query().is_none() && !v.contains('#')
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}
