//! The settings, read once. The README's table of settings is compared with [`SETTINGS`] by a test.

use std::ops::RangeInclusive;

use thiserror::Error;

use crate::secret::Secret;

/// A setting: its name, whether it must be there, and what a right value looks like.
pub struct Setting {
    /// The environment variable.
    pub name: &'static str,
    /// What a right value looks like, for the error and for the README.
    pub expected: &'static str,
}

const COMPONENT_APP_ID: Setting = Setting {
    name: "OAHUB_COMPONENT_APP_ID",
    expected: "the third-party platform's app id: `wx` and 16 letters or digits",
};
const COMPONENT_APP_SECRET: Setting = Setting {
    name: "OAHUB_COMPONENT_APP_SECRET",
    expected: "the third-party platform's secret, as its console shows it once",
};
const COMPONENT_TOKEN: Setting = Setting {
    name: "OAHUB_COMPONENT_TOKEN",
    expected: "the message verification token of the console: 3 to 32 letters or digits",
};
const COMPONENT_AES_KEY: Setting = Setting {
    name: "OAHUB_COMPONENT_AES_KEY",
    expected: "the EncodingAESKey of the console: 43 letters or digits",
};
const COMPONENT_AES_KEY_PREVIOUS: Setting = Setting {
    name: "OAHUB_COMPONENT_AES_KEY_PREVIOUS",
    expected: "optional, during a rotation: the EncodingAESKey before it, 43 letters or digits",
};
const WECHAT_API_URL: Setting = Setting {
    name: "OAHUB_WECHAT_API_URL",
    expected: "an http(s) URL; `https://api.weixin.qq.com` if not set",
};
const WECHAT_MP_URL: Setting = Setting {
    name: "OAHUB_WECHAT_MP_URL",
    expected: "an http(s) URL; `https://mp.weixin.qq.com` if not set",
};
const WECHAT_OPEN_URL: Setting = Setting {
    name: "OAHUB_WECHAT_OPEN_URL",
    expected: "an http(s) URL; `https://open.weixin.qq.com` if not set",
};
const PUBLIC_URL: Setting = Setting {
    name: "OAHUB_PUBLIC_URL",
    expected: "the http(s) URL that browsers and WeChat reach this deployment at",
};
const ADMIN_KEY: Setting = Setting {
    name: "OAHUB_ADMIN_KEY",
    expected: "the operator's key, without blanks; take a long random one",
};
const REJECT_STALE_CALLBACKS: Setting =
    Setting { name: "OAHUB_REJECT_STALE_CALLBACKS", expected: "`true` or `false`; `false` if not set" };
const TIMELINE_DAYS: Setting = Setting {
    name: "OAHUB_TIMELINE_DAYS",
    expected: "how many days a customer's events are kept: 15 to 3650; 365 if not set",
};

/// Days that an event may be kept. A stored event is what tells that its push, or the job that writes it, was there
/// before: no queue keeps a job for longer than 14 days. Ten years are more than anybody has asked for.
pub const TIMELINE_DAYS_RANGE: RangeInclusive<i64> = 15..=3_650;
/// Days that an event is kept unless the operator says otherwise: `infra/COST.md` has what more costs.
pub const TIMELINE_DAYS_DEFAULT: i64 = 365;

/// Every setting that an operator gives, in the README's order.
pub const SETTINGS: [&Setting; 12] = [
    &COMPONENT_APP_ID,
    &COMPONENT_APP_SECRET,
    &COMPONENT_TOKEN,
    &COMPONENT_AES_KEY,
    &COMPONENT_AES_KEY_PREVIOUS,
    &WECHAT_API_URL,
    &WECHAT_MP_URL,
    &WECHAT_OPEN_URL,
    &PUBLIC_URL,
    &ADMIN_KEY,
    &REJECT_STALE_CALLBACKS,
    &TIMELINE_DAYS,
];

/// A setting that is missing or malformed. It never holds the value found.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{name} is missing or malformed: it must be {expected}")]
pub struct ConfigError {
    /// The environment variable.
    pub name: &'static str,
    /// What a right value looks like.
    pub expected: &'static str,
}

/// The third-party platform's own credentials.
#[derive(Debug, Clone)]
pub struct Component {
    /// Its app id, which trails every encrypted body.
    pub app_id: String,
    /// Its secret, for `api_component_token`.
    pub app_secret: Secret,
    /// Signs callbacks.
    pub token: Secret,
    /// The 43-character EncodingAESKey.
    pub aes_key: Secret,
    /// The one before a rotation, still accepted for what comes in.
    pub aes_key_previous: Option<Secret>,
}

/// Table names and queue URLs, given by `template.yaml` to each function.
#[derive(Debug, Clone, Default)]
pub struct Resources {
    /// Tenants, accounts, bindings, rules.
    pub platform_table: String,
    /// Tickets and tokens.
    pub credentials_table: String,
    /// Fans, customers.
    pub customers_table: String,
    /// Events.
    pub timeline_table: String,
    /// Imports, messages, idempotency records.
    pub work_table: String,
    /// `authorization-callback`'s jobs.
    pub authorization_queue: String,
    /// `token-refresh`'s jobs.
    pub refresh_queue: String,
    /// `follower-import`'s jobs.
    pub import_queue: String,
    /// `message-send`'s jobs (FIFO).
    pub send_queue: String,
    /// `AWS_ENDPOINT_URL_DYNAMODB`; none on AWS.
    pub dynamodb_url: Option<String>,
    /// `AWS_ENDPOINT_URL_SQS`; none on AWS.
    pub sqs_url: Option<String>,
    /// `AWS_REGION`.
    pub region: String,
    /// The CloudFormation stack, by which its metrics are told from another's; none where there is no CloudWatch.
    pub stack: Option<String>,
    /// `SSL_CERT_FILE` names a bundle of root certificates of the operator's.
    pub has_own_roots: bool,
}

/// Everything that is set from outside.
#[derive(Debug, Clone)]
pub struct Config {
    /// The platform's credentials.
    pub component: Component,
    /// Base of the server API, without a trailing slash.
    pub wechat_api_url: String,
    /// Base of the authorization page and QR pictures.
    pub wechat_mp_url: String,
    /// Base of the OAuth pages.
    pub wechat_open_url: String,
    /// Base URL of this deployment.
    pub public_url: String,
    /// The operator's key.
    pub admin_key: Secret,
    /// Refuse callbacks whose timestamp is further than 10 minutes away.
    pub reject_stale_callbacks: bool,
    /// How many days an event is kept; those that are stored already keep their own.
    pub timeline_days: i64,
    /// Where tables and queues are.
    pub resources: Resources,
}

impl Config {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// The first setting that is missing or malformed.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::load(|name| std::env::var(name).ok())
    }

    /// Reads settings from `get`: the environment in a function, a map in the local runner and in tests.
    ///
    /// # Errors
    /// The first setting that is missing or malformed.
    pub fn load(get: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let get = |name: &str| get(name).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty());
        let check = |setting: &Setting, value: Option<String>, ok: fn(&str) -> bool| {
            value.filter(|v| ok(v)).ok_or(ConfigError { name: setting.name, expected: setting.expected })
        };
        let need = |setting: &Setting, ok: fn(&str) -> bool| check(setting, get(setting.name), ok);
        let url = |setting: &Setting, default: &str| {
            let value = get(setting.name).unwrap_or_else(|| default.to_owned());
            check(setting, Some(value), is_url).map(|v| v.trim_end_matches('/').to_owned())
        };
        let previous = match get(COMPONENT_AES_KEY_PREVIOUS.name) {
            None => None,
            some => Some(Secret::new(check(&COMPONENT_AES_KEY_PREVIOUS, some, is_aes_key)?)),
        };
        let stale = get(REJECT_STALE_CALLBACKS.name).unwrap_or_else(|| "false".into());
        let days = get(TIMELINE_DAYS.name).map_or(Some(TIMELINE_DAYS_DEFAULT), |days| days.parse().ok());
        let days = days.filter(|days| TIMELINE_DAYS_RANGE.contains(days));
        Ok(Self {
            component: Component {
                app_id: need(&COMPONENT_APP_ID, is_app_id)?,
                app_secret: Secret::new(need(&COMPONENT_APP_SECRET, |v| !v.contains(char::is_whitespace))?),
                token: Secret::new(need(&COMPONENT_TOKEN, |v| {
                    (3..=32).contains(&v.len()) && alphanumeric(v)
                })?),
                aes_key: Secret::new(need(&COMPONENT_AES_KEY, is_aes_key)?),
                aes_key_previous: previous,
            },
            wechat_api_url: url(&WECHAT_API_URL, "https://api.weixin.qq.com")?,
            wechat_mp_url: url(&WECHAT_MP_URL, "https://mp.weixin.qq.com")?,
            wechat_open_url: url(&WECHAT_OPEN_URL, "https://open.weixin.qq.com")?,
            public_url: need(&PUBLIC_URL, is_url)?.trim_end_matches('/').to_owned(),
            admin_key: Secret::new(need(&ADMIN_KEY, |v| !v.contains(char::is_whitespace))?),
            reject_stale_callbacks: check(&REJECT_STALE_CALLBACKS, Some(stale), |v| {
                v == "true" || v == "false"
            })? == "true",
            timeline_days: days
                .ok_or(ConfigError { name: TIMELINE_DAYS.name, expected: TIMELINE_DAYS.expected })?,
            resources: Resources {
                platform_table: get("OAHUB_PLATFORM_TABLE").unwrap_or_default(),
                credentials_table: get("OAHUB_CREDENTIALS_TABLE").unwrap_or_default(),
                customers_table: get("OAHUB_CUSTOMERS_TABLE").unwrap_or_default(),
                timeline_table: get("OAHUB_TIMELINE_TABLE").unwrap_or_default(),
                work_table: get("OAHUB_WORK_TABLE").unwrap_or_default(),
                authorization_queue: get("OAHUB_AUTHORIZATION_QUEUE").unwrap_or_default(),
                refresh_queue: get("OAHUB_REFRESH_QUEUE").unwrap_or_default(),
                import_queue: get("OAHUB_IMPORT_QUEUE").unwrap_or_default(),
                send_queue: get("OAHUB_SEND_QUEUE").unwrap_or_default(),
                dynamodb_url: get("AWS_ENDPOINT_URL_DYNAMODB"),
                sqs_url: get("AWS_ENDPOINT_URL_SQS"),
                stack: get("OAHUB_STACK"),
                region: get("AWS_REGION").unwrap_or_else(|| "us-east-1".into()),
                has_own_roots: get("SSL_CERT_FILE").is_some(),
            },
        })
    }
}

fn alphanumeric(v: &str) -> bool {
    v.bytes().all(|b| b.is_ascii_alphanumeric())
}

fn is_app_id(v: &str) -> bool {
    v.starts_with("wx") && (10..=32).contains(&v.len()) && alphanumeric(v)
}

fn is_aes_key(v: &str) -> bool {
    v.len() == 43 && alphanumeric(v)
}

fn is_url(v: &str) -> bool {
    v.parse::<http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|h| !h.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right(name: &str) -> Option<String> {
        let value = match name {
            "OAHUB_COMPONENT_APP_ID" => "wx00c0ffee00c0ffee",
            "OAHUB_COMPONENT_APP_SECRET" => "0123456789abcdef",
            "OAHUB_COMPONENT_TOKEN" => "pamtest",
            "OAHUB_COMPONENT_AES_KEY" => "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG",
            "OAHUB_PUBLIC_URL" => "https://hub.example/",
            "OAHUB_ADMIN_KEY" => "an-operators-long-key",
            _ => return None,
        };
        Some(value.into())
    }

    #[test]
    fn right_settings_load_with_their_defaults() {
        let config = Config::load(right).unwrap();
        assert_eq!(config.wechat_api_url, "https://api.weixin.qq.com");
        assert_eq!(config.public_url, "https://hub.example");
        assert!(!config.reject_stale_callbacks);
        assert_eq!(config.timeline_days, 365);
        assert!(!format!("{config:?}").contains("pamtest"), "a secret printed");
    }

    #[test]
    fn a_wrong_setting_is_named_without_its_value() {
        for (what, name, value) in [
            ("no app id", "OAHUB_COMPONENT_APP_ID", ""),
            ("an app id of another kind", "OAHUB_COMPONENT_APP_ID", "gh_3c884a361561"),
            ("no secret", "OAHUB_COMPONENT_APP_SECRET", ""),
            ("a token with a blank", "OAHUB_COMPONENT_TOKEN", "two words"),
            ("a token of two letters", "OAHUB_COMPONENT_TOKEN", "ab"),
            (
                "a key of 42 characters",
                "OAHUB_COMPONENT_AES_KEY",
                "abcdefghijklmnopqrstuvwxyz0123456789ABCDEF",
            ),
            ("a key with a plus", "OAHUB_COMPONENT_AES_KEY", "+bcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"),
            ("a malformed previous key", "OAHUB_COMPONENT_AES_KEY_PREVIOUS", "short-key-value"),
            ("an API URL without a scheme", "OAHUB_WECHAT_API_URL", "no-scheme.example"),
            ("no public URL", "OAHUB_PUBLIC_URL", ""),
            ("an admin key with a blank", "OAHUB_ADMIN_KEY", "two words"),
            ("a word that is no truth value", "OAHUB_REJECT_STALE_CALLBACKS", "yes please"),
            ("a word that is no number", "OAHUB_TIMELINE_DAYS", "forever"),
            ("fewer days than a queue keeps a job", "OAHUB_TIMELINE_DAYS", "14"),
            ("more than ten years", "OAHUB_TIMELINE_DAYS", "3651"),
        ] {
            let error =
                Config::load(|n| if n == name { Some(value.to_owned()) } else { right(n) }).unwrap_err();
            assert_eq!(error.name, name, "{what}");
            assert!(value.is_empty() || !error.to_string().contains(value), "{what}: the value is printed");
        }
    }
}
