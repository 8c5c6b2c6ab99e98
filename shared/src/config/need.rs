//! Which settings a function needs. What it does not name is neither given to it nor read.

use super::setting::{self, Setting};

/// A group of settings that a function gets in its environment. Each function lists its own
/// (`NEEDS` beside its wiring), and `template.yaml` gives it those variables and no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The third-party platform's app id.
    ComponentAppId,
    /// The platform's secret: for functions that call WeChat as the platform.
    AppSecret,
    /// The platform's token and keys, and those before a rotation: for functions that receive pushes.
    PushKeys,
    /// Where WeChat's server API is.
    WeChatApi,
    /// Where WeChat's authorization page and OAuth pages are.
    WeChatPages,
    /// Where this deployment is.
    PublicUrl,
    /// The operator's key, and that before a rotation.
    AdminKey,
    /// How many requests a tenant may make.
    TenantRates,
    /// How long an event is kept: for functions that store events.
    TimelineDays,
    /// How many jobs hand over timers at once.
    Sweepers,
    /// Tenants, accounts, bindings, rules.
    PlatformTable,
    /// Tickets and tokens.
    CredentialsTable,
    /// Fans, customers.
    CustomersTable,
    /// Events.
    TimelineTable,
    /// Imports, messages, idempotency records.
    WorkTable,
    /// `authorization-callback`'s jobs.
    AuthorizationQueue,
    /// `token-refresh`'s jobs.
    RefreshQueue,
    /// `follower-import`'s jobs of imports.
    ImportQueue,
    /// `follower-import`'s jobs of single followers.
    FollowerQueue,
    /// `message-send`'s jobs.
    SendQueue,
    /// The dead-letter queues of every queue and of the tick: for the operator's routes.
    DeadLetters,
    /// `message-send`'s jobs that need no order.
    ResultQueue,
}

impl Need {
    /// All of them: for the local program and for tests.
    pub const ALL: &[Self] = &[
        Self::ComponentAppId,
        Self::AppSecret,
        Self::PushKeys,
        Self::WeChatApi,
        Self::WeChatPages,
        Self::PublicUrl,
        Self::AdminKey,
        Self::TenantRates,
        Self::TimelineDays,
        Self::Sweepers,
        Self::PlatformTable,
        Self::CredentialsTable,
        Self::CustomersTable,
        Self::TimelineTable,
        Self::WorkTable,
        Self::AuthorizationQueue,
        Self::RefreshQueue,
        Self::ImportQueue,
        Self::FollowerQueue,
        Self::SendQueue,
        Self::DeadLetters,
        Self::ResultQueue,
    ];

    /// The variables that belong to it.
    #[must_use]
    pub const fn settings(self) -> &'static [&'static Setting] {
        match self {
            Self::ComponentAppId => &[&setting::COMPONENT_APP_ID],
            Self::AppSecret => &[&setting::COMPONENT_APP_SECRET],
            Self::PushKeys => &[
                &setting::COMPONENT_TOKEN,
                &setting::COMPONENT_TOKEN_PREVIOUS,
                &setting::COMPONENT_AES_KEY,
                &setting::COMPONENT_AES_KEY_PREVIOUS,
                &setting::REJECT_STALE_CALLBACKS,
            ],
            Self::WeChatApi => &[&setting::WECHAT_API_URL],
            Self::WeChatPages => &[&setting::WECHAT_MP_URL, &setting::WECHAT_OPEN_URL],
            Self::PublicUrl => &[&setting::PUBLIC_URL],
            Self::AdminKey => &[&setting::ADMIN_KEY, &setting::ADMIN_KEY_PREVIOUS],
            Self::TenantRates => &[&setting::TENANT_READ_RATE, &setting::TENANT_WRITE_RATE],
            Self::TimelineDays => &[&setting::TIMELINE_DAYS],
            Self::Sweepers => &[&setting::SWEEPERS],
            Self::PlatformTable => &[&setting::PLATFORM_TABLE],
            Self::CredentialsTable => &[&setting::CREDENTIALS_TABLE],
            Self::CustomersTable => &[&setting::CUSTOMERS_TABLE],
            Self::TimelineTable => &[&setting::TIMELINE_TABLE],
            Self::WorkTable => &[&setting::WORK_TABLE],
            Self::AuthorizationQueue => &[&setting::AUTHORIZATION_QUEUE],
            Self::RefreshQueue => &[&setting::REFRESH_QUEUE],
            Self::ImportQueue => &[&setting::IMPORT_QUEUE],
            Self::FollowerQueue => &[&setting::FOLLOWER_QUEUE],
            Self::SendQueue => &[&setting::SEND_QUEUE],
            Self::DeadLetters => &setting::DEAD_LETTERS,
            Self::ResultQueue => &[&setting::RESULT_QUEUE],
        }
    }
}
