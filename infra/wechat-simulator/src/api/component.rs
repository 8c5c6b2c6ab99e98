//! Tickets, tokens and codes of the third-party platform.

use serde_json::{Value, json};

use super::endpoint::ApiRequest;
use crate::error::ApiError;
use crate::state::tokens::TokenOwner;
use crate::state::{AuthCode, PreAuthCode, is_cleanup_due};

/// Checks that the body's `component_appid` is the platform's.
pub(super) fn check_component(request: &ApiRequest<'_>) -> Result<(), ApiError> {
    let given = request.require("component_appid", 41018)?;
    let component = request.world.component;
    if given == component.app_id { Ok(()) } else { Err(ApiError::new(40013)) }
}

fn check_secret(request: &ApiRequest<'_>, name: &str) -> Result<(), ApiError> {
    let given = request.require(name, 41019)?;
    let component = request.world.component;
    if component.app_secret.constant_time_eq(&given) { Ok(()) } else { Err(ApiError::new(40125)) }
}

/// `api_start_push_ticket`: resumes pushes and sends one ticket at once. WeChat itself names the secret
/// differently here than in `api_component_token`.
pub(super) fn start_push_ticket(request: &mut ApiRequest<'_>) -> Result<Value, ApiError> {
    check_component(request)?;
    check_secret(request, "component_secret")?;
    let errmsg = if request.world.state.pushing { "in a normal state" } else { "ok" };
    request.world.state.pushing = true;
    request.world.queue_ticket();
    Ok(json!({"errcode": 0, "errmsg": errmsg}))
}

/// `api_component_token`.
pub(super) fn component_token(request: &mut ApiRequest<'_>) -> Result<Value, ApiError> {
    check_component(request)?;
    check_secret(request, "component_appsecret")?;
    let ticket = request.require("component_verify_ticket", 41020)?;
    let settings = request.world.state.settings.clone();
    match request.world.state.tickets.iter().find(|(known, _)| *known == ticket) {
        None => return Err(ApiError::new(61006)),
        Some((_, made)) if request.now >= made + settings.ticket_lifetime => {
            return Err(ApiError::new(61005));
        }
        Some(_) => {}
    }
    let token = format!("component_{}", request.world.random_hex(120));
    let lifetime = settings.component_token_lifetime;
    request.world.state.tokens.issue(
        token.clone(),
        TokenOwner::Component,
        request.now,
        lifetime,
        settings.token_grace,
    );
    Ok(json!({"component_access_token": token, "expires_in": lifetime}))
}

/// `api_create_preauthcode`.
pub(super) fn create_preauthcode(request: &mut ApiRequest<'_>) -> Result<Value, ApiError> {
    check_component(request)?;
    let code = format!("preauthcode@@@{}", request.world.random_hex(64));
    let (now, expires_in) = (request.now, request.world.state.settings.pre_auth_code_lifetime);
    if is_cleanup_due(request.world.state.pre_auth_codes.len()) {
        request.world.state.pre_auth_codes.retain(|_, code| now < code.expires_at + 86_400);
    }
    request
        .world
        .state
        .pre_auth_codes
        .insert(code.clone(), PreAuthCode { expires_at: now + expires_in, used: false });
    Ok(json!({"pre_auth_code": code, "expires_in": expires_in}))
}

/// `api_query_auth`: exchanges an authorization code, once.
pub(super) fn query_auth(request: &mut ApiRequest<'_>) -> Result<Value, ApiError> {
    check_component(request)?;
    let given = request.require("authorization_code", 61009)?;
    let (app_id, without_refresh_token) = match request.world.state.auth_codes.get_mut(&given) {
        None | Some(AuthCode { used: true, .. }) => return Err(ApiError::new(61009)),
        Some(code) if request.now >= code.expires_at => return Err(ApiError::new(61010)),
        Some(code) => {
            code.used = true;
            (code.app_id.clone(), code.without_refresh_token)
        }
    };
    let (token, expires_in) = issue_authorizer_token(request, &app_id);
    let account = request.world.state.account(&app_id)?;
    let grant = account.authorization.as_ref().ok_or_else(|| ApiError::new(61003))?;
    let refresh_token = if without_refresh_token { "" } else { &grant.refresh_token };
    Ok(json!({"authorization_info": {
        "authorizer_appid": app_id,
        "authorizer_access_token": token,
        "expires_in": expires_in,
        "authorizer_refresh_token": refresh_token,
        "func_info": account.func_info(),
    }}))
}

/// `api_authorizer_token`: keeps the refresh token, or rotates it if the settings say so.
pub(super) fn authorizer_token(request: &mut ApiRequest<'_>) -> Result<Value, ApiError> {
    check_component(request)?;
    let app_id = request.require("authorizer_appid", 40013)?;
    let given = request.text("authorizer_refresh_token");
    let (now, settings) = (request.now, request.world.state.settings.clone());
    let fresh = format!("refreshtoken@@@{}", request.world.random_hex(40));
    let account = request.world.state.account_mut(&app_id)?;
    // After a revocation there is no grant, so every refresh token is refused.
    let grant = account.authorization.as_mut().ok_or_else(|| ApiError::new(61023))?;
    let previous = grant.previous_refresh_token.as_ref().filter(|(_, until)| now < *until);
    if given != grant.refresh_token && previous.is_none_or(|(token, _)| *token != given) {
        return Err(ApiError::new(61023));
    }
    if settings.rotate_refresh_tokens {
        let old = std::mem::replace(&mut grant.refresh_token, fresh);
        grant.previous_refresh_token = Some((old, now + settings.token_grace));
    }
    let refresh_token = grant.refresh_token.clone();
    let (token, expires_in) = issue_authorizer_token(request, &app_id);
    Ok(json!({
        "authorizer_access_token": token,
        "expires_in": expires_in,
        "authorizer_refresh_token": refresh_token,
    }))
}

fn issue_authorizer_token(request: &mut ApiRequest<'_>, app_id: &str) -> (String, i64) {
    let token = format!("authorizer_{}", request.world.random_hex(120));
    let (lifetime, grace) =
        (request.world.state.settings.authorizer_token_lifetime, request.world.state.settings.token_grace);
    let owner = TokenOwner::Authorizer(app_id.to_owned());
    request.world.state.tokens.issue(token.clone(), owner, request.now, lifetime, grace);
    (token, lifetime)
}
