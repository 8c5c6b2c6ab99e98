//! What an endpoint is, and the request that it gets.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::error::ApiError;
use crate::state::account::SimulatedAccount;
use crate::world::World;

/// Which kind of token an endpoint takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum RequiredToken {
    None,
    Component,
    Authorizer,
    Either,
}

/// The account type and verification that an endpoint requires.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum AccountRequirement {
    Any,
    Verified,
    VerifiedService,
    /// [`AccountRequirement::Verified`], or a mini program, which has customer-service messages too.
    VerifiedOrMini,
}

pub(super) type Handler = fn(&mut ApiRequest<'_>) -> Result<Value, ApiError>;

/// One endpoint.
pub(super) struct Endpoint {
    pub path: &'static str,
    pub method: &'static str,
    pub token: RequiredToken,
    /// One of these permission sets is required; empty for none.
    pub scopes: &'static [u32],
    pub account_requirement: AccountRequirement,
    /// Calls a day, unless they are not limited.
    pub daily: Option<u64>,
    pub run: Handler,
}

pub(super) const fn component(path: &'static str, run: Handler) -> Endpoint {
    Endpoint {
        path,
        method: "POST",
        token: RequiredToken::Component,
        scopes: &[],
        account_requirement: AccountRequirement::Any,
        daily: None,
        run,
    }
}

pub(super) const fn tokenless(path: &'static str, run: Handler) -> Endpoint {
    Endpoint {
        path,
        method: "POST",
        token: RequiredToken::None,
        scopes: &[],
        account_requirement: AccountRequirement::Any,
        daily: None,
        run,
    }
}

pub(super) const fn account(
    method: &'static str,
    path: &'static str,
    scopes: &'static [u32],
    needs: AccountRequirement,
    daily: u64,
    run: Handler,
) -> Endpoint {
    Endpoint {
        path,
        method,
        token: RequiredToken::Authorizer,
        scopes,
        account_requirement: needs,
        daily: Some(daily),
        run,
    }
}

pub(super) const fn either(
    method: &'static str,
    path: &'static str,
    daily: Option<u64>,
    run: Handler,
) -> Endpoint {
    Endpoint {
        path,
        method,
        token: RequiredToken::Either,
        scopes: &[],
        account_requirement: AccountRequirement::Any,
        daily,
        run,
    }
}

/// A call that passed all checks.
pub(super) struct ApiRequest<'a> {
    pub world: World<'a>,
    pub now: i64,
    pub query: &'a BTreeMap<String, String>,
    pub body: Value,
    /// The account of the token; `None` for the component's.
    pub app_id: Option<String>,
    /// All endpoints, for the one that tells the limits of the others.
    pub endpoints: &'static [Endpoint],
}

impl ApiRequest<'_> {
    /// A member of the body as text, also if it is a number.
    pub fn text(&self, name: &str) -> String {
        match self.body.get(name) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => String::new(),
        }
    }

    /// The same; fails with `errcode` if it is missing or empty.
    pub fn require(&self, name: &str, errcode: i64) -> Result<String, ApiError> {
        Some(self.text(name)).filter(|text| !text.is_empty()).ok_or_else(|| ApiError::new(errcode))
    }

    pub fn app_id(&self) -> &str {
        self.app_id.as_deref().unwrap_or_default()
    }

    /// An endpoint's daily limit, if there is such an endpoint and if it has a limit.
    pub fn daily_limit(&self, path: &str) -> Option<Option<u64>> {
        self.endpoints.iter().find(|endpoint| endpoint.path == path).map(|endpoint| endpoint.daily)
    }

    /// The account whose token was used.
    pub fn account(&mut self) -> Result<&mut SimulatedAccount, ApiError> {
        let app_id = self.app_id.clone().unwrap_or_default();
        self.world.state.account_mut(&app_id)
    }
}

/// `{"errcode":0,"errmsg":"ok"}`.
pub(super) fn ok() -> Value {
    json!({"errcode": 0, "errmsg": "ok"})
}
