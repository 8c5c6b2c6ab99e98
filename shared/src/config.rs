//! The settings, read once; each function reads only those that it needs. Tests compare the
//! README's table with [`SETTINGS`], and the variables in `template.yaml` with the [`Need`]s.

mod need;
mod setting;

use std::{collections::BTreeMap, fmt};

pub use need::Need;
pub use setting::{
    MIN_ADMIN_KEY_CHARS, RunMode, SETTINGS, SIMULATED_ADMIN_KEY, Setting, TIMELINE_DAYS_DEFAULT,
    TIMELINE_DAYS_RANGE, WhenUnset, is_queue_variable,
};

use crate::secret::Secret;

/// A setting that is missing or malformed. It never holds the value found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettingError {
    /// The environment variable.
    pub name: &'static str,
    /// What a right value looks like.
    pub expected: &'static str,
    /// There is no value, rather than a wrong one.
    pub missing: bool,
}

impl SettingError {
    fn malformed(setting: &Setting) -> Self {
        Self { name: setting.name, expected: setting.expected, missing: false }
    }
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.missing { "missing" } else { "malformed" };
        write!(f, "{} is {how}: it must be {}", self.name, self.expected)
    }
}

/// All settings that are missing or malformed, a line for each.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError(pub Vec<SettingError>);

impl ConfigError {
    /// The platform's current or previous EncodingAESKey is malformed.
    pub(crate) fn malformed_aes_key(previous: bool) -> Self {
        let setting =
            if previous { &setting::COMPONENT_AES_KEY_PREVIOUS } else { &setting::COMPONENT_AES_KEY };
        Self(vec![SettingError::malformed(setting)])
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, fault) in self.0.iter().enumerate() {
            write!(f, "{}{fault}", if number == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// The third-party platform's own credentials; empty where the function does not need them.
#[derive(Debug, Clone, Default)]
pub struct PlatformCredentials {
    /// Its app id, which trails every encrypted body.
    pub app_id: String,
    /// Its secret, for `api_component_token`.
    pub app_secret: Secret,
    /// Signs callbacks.
    pub token: Secret,
    /// The one before a rotation, still accepted for what comes in.
    pub token_previous: Option<Secret>,
    /// The 43-character EncodingAESKey.
    pub aes_key: Secret,
    /// The one before a rotation, still accepted for what comes in.
    pub aes_key_previous: Option<Secret>,
}

/// Requests a second that one tenant may make; [`None`] for no limit.
#[derive(Debug, Clone, Copy, Default)]
pub struct TenantRateLimits {
    /// GET.
    pub read: Option<u32>,
    /// All other requests.
    pub write: Option<u32>,
}

/// Table names and queue URLs, given by `template.yaml` to each function; empty where the function does not need it.
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
    /// `follower-import`'s queue of single followers.
    pub follower_queue: String,
    /// `message-send`'s jobs (FIFO).
    pub send_queue: String,
    /// Dead letters, by the name of their queue, and of the tick.
    pub dead_letters: BTreeMap<String, String>,
    /// `message-send`'s jobs that need no order.
    pub result_queue: String,
    /// `AWS_ENDPOINT_URL_DYNAMODB`; none on AWS.
    pub dynamodb_url: Option<String>,
    /// `AWS_ENDPOINT_URL_SQS`; none on AWS.
    pub sqs_url: Option<String>,
    /// `AWS_REGION`.
    pub region: String,
    /// The CloudFormation stack, which keeps its metrics apart from others'; [`None`] without CloudWatch.
    pub stack: Option<String>,
    /// The operator has set `SSL_CERT_FILE` to a bundle of root certificates.
    pub has_custom_ca_bundle: bool,
}

/// All settings. What the function does not need is empty.
#[derive(Debug, Clone)]
pub struct Config {
    /// The platform's credentials.
    pub component: PlatformCredentials,
    /// Base of the server API, without a trailing slash.
    pub wechat_api_url: String,
    /// Base of the authorization page and QR pictures.
    pub wechat_mp_url: String,
    /// Base of the OAuth pages.
    pub wechat_open_url: String,
    /// Base URL of this deployment.
    pub public_url: String,
    /// The operator's keys: the current one, then the one before
    /// a rotation. Without any, nobody can act as operator.
    pub admin_keys: Vec<Secret>,
    /// How many requests a tenant may make.
    pub tenant_rates: TenantRateLimits,
    /// Refuse callbacks whose timestamp is further than 10 minutes away.
    pub reject_stale_callbacks: bool,
    /// How many days an event is kept; a change does not affect events that are already stored.
    pub timeline_days: i64,
    /// How many jobs hand over timers at once where many are due.
    pub sweepers: usize,
    /// Where tables and queues are.
    pub resources: Resources,
}

impl Config {
    /// Reads what `needs` names from the process's environment, as a function on AWS does.
    ///
    /// # Errors
    /// Every setting that is missing or malformed.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub fn from_env(needs: &[Need]) -> Result<Self, ConfigError> {
        Self::load(needs, RunMode::Live, |name| std::env::var(name).ok())
    }

    /// Reads what `needs` names from `get`: the environment in a function, a map in the local runner and in tests.
    ///
    /// # Errors
    /// Every setting that is missing or malformed.
    pub fn load(
        needs: &[Need],
        mode: RunMode,
        get: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let get = |name: &str| get(name).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty());
        let mut errors = Vec::new();
        let mut read = |setting: &'static Setting| -> Option<String> {
            if !needs.iter().any(|need| need.settings().iter().any(|needed| needed.name == setting.name)) {
                return None;
            }
            let Some(value) = get(setting.name) else {
                return match setting.when_unset {
                    WhenUnset::Default(value) => Some(value.to_owned()),
                    WhenUnset::Optional => None,
                    WhenUnset::Required => {
                        errors.push(SettingError { missing: true, ..SettingError::malformed(setting) });
                        None
                    }
                };
            };
            if (setting.is_valid)(&value, mode) {
                return Some(value);
            }
            errors.push(SettingError::malformed(setting));
            None
        };
        let mut text = |setting| read(setting).unwrap_or_default();
        let rate = |value: Option<String>| value?.parse().ok().filter(|rate| *rate > 0);
        let url = |value: String| value.trim_end_matches('/').to_owned();
        let component = PlatformCredentials {
            app_id: text(&setting::COMPONENT_APP_ID),
            app_secret: Secret::new(text(&setting::COMPONENT_APP_SECRET)),
            token: Secret::new(text(&setting::COMPONENT_TOKEN)),
            aes_key: Secret::new(text(&setting::COMPONENT_AES_KEY)),
            token_previous: None,
            aes_key_previous: None,
        };
        let resources = Resources {
            platform_table: text(&setting::PLATFORM_TABLE),
            credentials_table: text(&setting::CREDENTIALS_TABLE),
            customers_table: text(&setting::CUSTOMERS_TABLE),
            timeline_table: text(&setting::TIMELINE_TABLE),
            work_table: text(&setting::WORK_TABLE),
            authorization_queue: text(&setting::AUTHORIZATION_QUEUE),
            refresh_queue: text(&setting::REFRESH_QUEUE),
            import_queue: text(&setting::IMPORT_QUEUE),
            follower_queue: text(&setting::FOLLOWER_QUEUE),
            send_queue: text(&setting::SEND_QUEUE),
            dead_letters: BTreeMap::new(),
            result_queue: text(&setting::RESULT_QUEUE),
            dynamodb_url: get("AWS_ENDPOINT_URL_DYNAMODB"),
            sqs_url: get("AWS_ENDPOINT_URL_SQS"),
            stack: get("OAHUB_STACK"),
            region: get(setting::REGION.name).unwrap_or_default(),
            has_custom_ca_bundle: get("SSL_CERT_FILE").is_some(),
        };
        let config = Self {
            wechat_api_url: url(text(&setting::WECHAT_API_URL)),
            wechat_mp_url: url(text(&setting::WECHAT_MP_URL)),
            wechat_open_url: url(text(&setting::WECHAT_OPEN_URL)),
            public_url: url(text(&setting::PUBLIC_URL)),
            admin_keys: [read(&setting::ADMIN_KEY), read(&setting::ADMIN_KEY_PREVIOUS)]
                .into_iter()
                .flatten()
                .map(Secret::new)
                .collect(),
            tenant_rates: TenantRateLimits {
                read: rate(read(&setting::TENANT_READ_RATE)),
                write: rate(read(&setting::TENANT_WRITE_RATE)),
            },
            reject_stale_callbacks: read(&setting::REJECT_STALE_CALLBACKS).is_some_and(|v| v == "true"),
            timeline_days: read(&setting::TIMELINE_DAYS)
                .and_then(|days| days.parse().ok())
                .unwrap_or(TIMELINE_DAYS_DEFAULT),
            sweepers: read(&setting::SWEEPERS).and_then(|jobs| jobs.parse().ok()).unwrap_or(1),
            component: PlatformCredentials {
                token_previous: read(&setting::COMPONENT_TOKEN_PREVIOUS).map(Secret::new),
                aes_key_previous: read(&setting::COMPONENT_AES_KEY_PREVIOUS).map(Secret::new),
                ..component
            },
            resources: Resources {
                dead_letters: setting::DEAD_LETTERS
                    .iter()
                    .filter_map(|one| Some((setting::queue_of_dead_letters(one.name), read(one)?)))
                    .collect(),
                ..resources
            },
        };
        // every function asks AWS, and Lambda sets it: no need names it
        let region = &config.resources.region;
        if !(setting::REGION.is_valid)(region, mode) {
            errors.push(SettingError {
                missing: region.is_empty(),
                ..SettingError::malformed(&setting::REGION)
            });
        }
        if errors.is_empty() { Ok(config) } else { Err(ConfigError(errors)) }
    }
}

#[cfg(test)]
mod tests;
