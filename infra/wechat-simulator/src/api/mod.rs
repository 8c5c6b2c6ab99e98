//! The server API: the checks before an endpoint runs, and the response.
//!
//! The order of checks: fault, method, token, body, granted permission set, account type, quota. A refused call
//! costs no quota.

mod accounts;
mod component;
mod endpoint;
mod messages;
mod quotas;
mod templates;
mod users;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::error::ApiError;
use crate::faults::{FaultKind, corrupt_page, take_fault};
use crate::log::LoggedCall;
use crate::simulator::Simulator;
use crate::state::WeChatState;
use crate::state::account::{AccountKind, SimulatedAccount};
use crate::state::tokens::TokenOwner;
use crate::world::World;
use endpoint::{
    AccountRequirement, ApiRequest, Endpoint, RequiredToken, account, component, either, tokenless,
};

/// An HTTP response of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimulatedResponse {
    /// The HTTP status: 200 for most errors too.
    pub status: u16,
    /// Usually `application/json; encoding=utf-8`.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

/// No response: the connection broke or timed out. The caller cannot know whether the call had its effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no answer")]
pub struct NoResponse;

/// Permission sets that allow customer-service messages.
const CUSTOMER_SERVICE_SCOPES: &[u32] = &[1, 6, 19, 100, 101];
const TEMPLATE_SCOPES: &[u32] = &[7, 100, 101];

const ENDPOINTS: &[Endpoint] = &[
    tokenless("/cgi-bin/component/api_start_push_ticket", component::start_push_ticket),
    tokenless("/cgi-bin/component/api_component_token", component::component_token),
    component("/cgi-bin/component/api_create_preauthcode", component::create_preauthcode),
    component("/cgi-bin/component/api_query_auth", component::query_auth),
    component("/cgi-bin/component/api_authorizer_token", component::authorizer_token),
    component("/cgi-bin/component/api_get_authorizer_info", accounts::authorizer_info),
    component("/cgi-bin/component/api_get_authorizer_list", accounts::authorizer_list),
    component("/cgi-bin/component/api_get_authorizer_option", accounts::get_option),
    component("/cgi-bin/component/api_set_authorizer_option", accounts::set_option),
    account("GET", "/cgi-bin/user/get", &[2], AccountRequirement::Verified, 500, users::get),
    account("GET", "/cgi-bin/user/info", &[2], AccountRequirement::Verified, 500_000, users::info),
    account(
        "POST",
        "/cgi-bin/user/info/batchget",
        &[2],
        AccountRequirement::Verified,
        500_000,
        users::batchget,
    ),
    account(
        "POST",
        "/cgi-bin/user/info/updateremark",
        &[2],
        AccountRequirement::Verified,
        10_000,
        users::update_remark,
    ),
    account(
        "POST",
        "/cgi-bin/message/custom/send",
        CUSTOMER_SERVICE_SCOPES,
        AccountRequirement::VerifiedOrMini,
        500_000,
        messages::send,
    ),
    account(
        "POST",
        "/cgi-bin/message/custom/typing",
        CUSTOMER_SERVICE_SCOPES,
        AccountRequirement::Verified,
        500_000,
        messages::typing,
    ),
    account(
        "POST",
        "/cgi-bin/message/template/send",
        TEMPLATE_SCOPES,
        AccountRequirement::VerifiedService,
        100_000,
        templates::send,
    ),
    account(
        "GET",
        "/cgi-bin/template/get_all_private_template",
        TEMPLATE_SCOPES,
        AccountRequirement::VerifiedService,
        100_000,
        templates::list,
    ),
    either("POST", "/cgi-bin/clear_quota", None, quotas::clear),
    either("POST", "/cgi-bin/openapi/quota/get", None, quotas::get),
    either("GET", "/cgi-bin/getcallbackip", Some(5000), quotas::callback_ip),
];

impl Simulator {
    /// Calls the API in process, exactly as over HTTP.
    ///
    /// # Errors
    /// [`NoResponse`] when a fault swallows the response.
    pub async fn request(
        &self,
        method: &str,
        path_and_query: &str,
        body: &str,
    ) -> Result<SimulatedResponse, NoResponse> {
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        let query: BTreeMap<String, String> = reqwest::Url::parse(&format!("http://api/?{query}"))
            .map(|url| url.query_pairs().into_owned().collect())
            .unwrap_or_default();
        let latency = {
            let settings = &self.state().settings;
            settings.latencies_ms.get(path).copied().unwrap_or(settings.latency_ms)
        };
        if latency > 0 {
            tokio::time::sleep(Duration::from_millis(latency)).await;
        }
        let app_id = self.account_of_call(&query, body);
        let fault = take_fault(&mut self.state().faults, &[path], app_id.as_deref());
        let mut call = LoggedCall {
            at: self.now(),
            method: method.to_owned(),
            path: path.to_owned(),
            app_id,
            errcode: 0,
            fault: fault.as_ref().map(fault_name),
        };
        let effective = !matches!(
            fault,
            Some(FaultKind::Error { .. } | FaultKind::Timeout | FaultKind::Http { .. } | FaultKind::Garbage)
        );
        if let Some(FaultKind::Delay { ms }) = fault {
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
        let (status, value) = match &fault {
            Some(FaultKind::Error { errcode }) => {
                call.errcode = *errcode;
                (200, self.error_json(&ApiError::new(*errcode)))
            }
            _ if effective => {
                match self
                    .with_world(|world| call_endpoint(world, method, path, &query, body, fault.as_ref()))
                {
                    Ok(value) => (200, value),
                    Err(error) => {
                        call.errcode = error.errcode;
                        let status = if error.errcode == 40066 { 404 } else { 200 };
                        (status, self.error_json(&error))
                    }
                }
            }
            _ => (200, Value::Null),
        };
        self.state().calls.add(call);
        if path.starts_with("/cgi-bin/component/") {
            self.save_now();
        }
        match fault {
            Some(FaultKind::Timeout) => {
                tokio::time::sleep(Duration::from_secs(60)).await;
                Err(NoResponse)
            }
            Some(FaultKind::LostResponse) => Err(NoResponse),
            Some(FaultKind::Http { status }) => {
                let body =
                    format!("<html><head><title>{status}</title></head><body>upstream error</body></html>");
                Ok(SimulatedResponse { status, content_type: "text/html", body })
            }
            Some(FaultKind::Garbage) => Ok(SimulatedResponse {
                status: 200,
                content_type: "text/plain",
                body: "{\"errcode\":".into(),
            }),
            kind => {
                if let Some(FaultKind::LateAnswer { ms }) = kind {
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                }
                let mark = if kind == Some(FaultKind::ByteOrderMark) { "\u{feff}" } else { "" };
                let body = format!("{mark}{}", users::restore_unescaped(value.to_string()));
                Ok(SimulatedResponse { status, content_type: "application/json; encoding=utf-8", body })
            }
        }
    }

    /// The account that a call is about, allowed or not, for faults and the log: the token's, or the one
    /// that a component call names.
    fn account_of_call(&self, query: &BTreeMap<String, String>, body: &str) -> Option<String> {
        let state = self.state();
        let token = query.get("access_token").map(|token| state.tokens.check(token, i64::MIN));
        if let Some(Ok(TokenOwner::Authorizer(app_id))) = token {
            return Some(app_id);
        }
        let body: Value = serde_json::from_str(body).ok()?;
        let member = |name: &str| body.get(name).and_then(Value::as_str);
        let coded = || Some(state.auth_codes.get(member("authorization_code")?)?.app_id.clone());
        member("authorizer_appid").map(str::to_owned).or_else(coded)
    }

    fn error_json(&self, error: &ApiError) -> Value {
        self.with_world(|world| error.to_json(world.clock, world.random))
    }
}

/// Checks a call and runs its endpoint.
fn call_endpoint(
    world: World<'_>,
    method: &str,
    path: &str,
    query: &BTreeMap<String, String>,
    body: &str,
    fault: Option<&FaultKind>,
) -> Result<Value, ApiError> {
    let endpoint = ENDPOINTS.iter().find(|e| e.path == path).ok_or_else(|| ApiError::new(40066))?;
    if endpoint.method != method {
        return Err(ApiError::new(if endpoint.method == "GET" { 43001 } else { 43002 }));
    }
    let now = world.now();
    let app_id = authenticate(endpoint.token, query, world.state, now)?;
    let body = match method {
        "GET" => Value::Null,
        _ if body.is_empty() => return Err(ApiError::new(44002)),
        _ => serde_json::from_str(body).map_err(|_| ApiError::new(47001))?,
    };
    if let Some(app_id) = &app_id {
        check_permission(endpoint, world.state.account(app_id)?)?;
    }
    if endpoint.token != RequiredToken::None {
        let owner = app_id.as_deref().unwrap_or(&world.component.app_id);
        world.state.quotas.count_call(owner, path, endpoint.daily, now)?;
    }
    let before =
        fault.map(|_| users::previous_page(world.state, app_id.as_deref(), query)).unwrap_or_default();
    let mut request = ApiRequest { world, now, query, body, app_id, endpoints: ENDPOINTS };
    let mut value = (endpoint.run)(&mut request)?;
    request.world.state.dirty = true;
    if let Some(fault) = fault
        && path == "/cgi-bin/user/get"
    {
        corrupt_page(fault, &mut value, query.get("next_openid").map_or("", String::as_str), before);
    }
    Ok(value)
}

/// The account that a token belongs to; `None` for the component and where no token is needed.
fn authenticate(
    token: RequiredToken,
    query: &BTreeMap<String, String>,
    state: &WeChatState,
    now: i64,
) -> Result<Option<String>, ApiError> {
    let given = match token {
        RequiredToken::None => return Ok(None),
        // Both names are in use: the older one and today's.
        RequiredToken::Component => query.get("component_access_token").or_else(|| query.get("access_token")),
        RequiredToken::Authorizer | RequiredToken::Either => query.get("access_token"),
    };
    let missing = if token == RequiredToken::Component { 41021 } else { 41001 };
    let given = given.filter(|t| !t.is_empty()).ok_or_else(|| ApiError::new(missing))?;
    match (state.tokens.check(given, now)?, token) {
        (TokenOwner::Component, RequiredToken::Authorizer) => Err(ApiError::new(61015)),
        (TokenOwner::Authorizer(_), RequiredToken::Component) => Err(ApiError::new(61014)),
        (TokenOwner::Component, _) => Ok(None),
        (TokenOwner::Authorizer(app_id), _) => Ok(Some(app_id)),
    }
}

/// Checks the granted permission sets, then what this type of account can do at all.
fn check_permission(endpoint: &Endpoint, account: &SimulatedAccount) -> Result<(), ApiError> {
    let granted = account.authorization.as_ref().map(|a| &a.funcs).ok_or_else(|| ApiError::new(61003))?;
    if !endpoint.scopes.is_empty() && !endpoint.scopes.iter().any(|scope| granted.contains(scope)) {
        return Err(ApiError::new(61007));
    }
    if account.account_status == 19 {
        return Err(ApiError::with_errmsg(50002, "user limited: the account is frozen"));
    }
    let able = match endpoint.account_requirement {
        AccountRequirement::Any => true,
        AccountRequirement::Verified => account.is_verified() && account.kind != AccountKind::MiniProgram,
        AccountRequirement::VerifiedOrMini => {
            account.is_verified() || account.kind == AccountKind::MiniProgram
        }
        AccountRequirement::VerifiedService => account.is_verified() && account.kind == AccountKind::Service,
    };
    if able { Ok(()) } else { Err(ApiError::new(48001)) }
}

fn fault_name(fault: &FaultKind) -> String {
    let value = serde_json::to_value(fault).unwrap_or_default();
    value.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned()
}
