//! What the third-party platform may read and set of the accounts that authorized it.

use serde_json::{Value, json};

use super::component::check_component;
use super::endpoint::{ApiRequest, ok};
use crate::error::ApiError;
use crate::state::account::{AccountKind, SimulatedAccount};

/// Most entries of one `api_get_authorizer_list` response.
const MAX_LIST_COUNT: usize = 500;
/// Options with their allowed values and the permission set that they need.
const OPTIONS: [(&str, &[&str], u32); 3] = [
    ("location_report", &["0", "1", "2"], 2),
    ("voice_recognize", &["0", "1"], 1),
    ("customer_service", &["0", "1"], 6),
];

fn authorized_account<'a>(request: &'a mut ApiRequest<'_>) -> Result<&'a mut SimulatedAccount, ApiError> {
    check_component(request)?;
    let app_id = request.require("authorizer_appid", 40013)?;
    let account = request.world.state.account_mut(&app_id)?;
    if account.authorization.is_none() { Err(ApiError::new(61003)) } else { Ok(account) }
}

/// `api_get_authorizer_info`.
pub(super) fn authorizer_info(request: &mut ApiRequest<'_>) -> Result<Value, ApiError> {
    let without_refresh_token = request.world.state.settings.details_without_refresh_token;
    let account = authorized_account(request)?;
    let mut info = json!({
        "nick_name": account.name,
        "head_img": format!("http://wx.qlogo.cn/mmopen/{}/0", account.original_id),
        "service_type_info": {"id": account.kind.service_type()},
        "verify_type_info": {"id": account.verify_type},
        "user_name": account.original_id,
        "principal_name": account.principal_name,
        "business_info": {"open_store": 0, "open_scan": 0, "open_pay": 0, "open_card": 1, "open_shake": 0},
        "alias": account.alias,
        "qrcode_url": format!("http://mmbiz.qpic.cn/mmbiz_jpg/{}/0", account.original_id),
        "signature": "a simulated account",
        "idc": 1,
        "account_status": account.account_status,
        "basic_config": {"is_phone_configured": true, "is_email_configured": true},
    });
    if account.kind == AccountKind::MiniProgram
        && let Some(info) = info.as_object_mut()
    {
        info.insert(
            "MiniProgramInfo".into(),
            json!({
                "network": {"RequestDomain": ["https://example.com"], "WsRequestDomain": [], "UploadDomain": [],
                            "DownloadDomain": [], "BizDomain": [], "UDPDomain": []},
                "categories": [{"first": "Tools", "second": "Efficiency"}],
                "visit_status": 0,
            }),
        );
    }
    let grant = account.authorization.as_ref().filter(|_| !without_refresh_token);
    let refresh_token = grant.map(|grant| grant.refresh_token.clone());
    Ok(json!({
        "authorizer_info": info,
        "authorization_info": {
            "authorizer_appid": account.app_id,
            "authorizer_refresh_token": refresh_token,
            "func_info": account.func_info(),
        },
    }))
}

/// `api_get_authorizer_list`: recovers a lost refresh token.
pub(super) fn authorizer_list(request: &mut ApiRequest<'_>) -> Result<Value, ApiError> {
    check_component(request)?;
    let number =
        |name: &str| request.body.get(name).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
    let (offset, count) = (number("offset").unwrap_or(0), number("count").unwrap_or(MAX_LIST_COUNT));
    if count == 0 || count > MAX_LIST_COUNT {
        return Err(ApiError::with_errmsg(40097, "invalid args: count is 1 to 500"));
    }
    let accounts = request.world.state.accounts_in_order();
    let granted: Vec<_> = accounts.iter().filter_map(|a| a.authorization.as_ref().map(|g| (a, g))).collect();
    let list: Vec<Value> = granted
        .iter()
        .skip(offset)
        .take(count)
        .map(|(account, grant)| {
            json!({
                "authorizer_appid": account.app_id,
                "refresh_token": grant.refresh_token,
                "auth_time": grant.auth_time,
            })
        })
        .collect();
    Ok(json!({"total_count": granted.len(), "list": list}))
}

/// `api_get_authorizer_option`.
pub(super) fn get_option(request: &mut ApiRequest<'_>) -> Result<Value, ApiError> {
    let name = request.text("option_name");
    let (_, _, scope) = find_option(&name)?;
    let account = authorized_account(request)?;
    require_scope(account, scope)?;
    let value = account.options.get(&name).cloned().unwrap_or_default();
    Ok(json!({"authorizer_appid": account.app_id, "option_name": name, "option_value": value}))
}

/// `api_set_authorizer_option`.
pub(super) fn set_option(request: &mut ApiRequest<'_>) -> Result<Value, ApiError> {
    let (name, value) = (request.text("option_name"), request.text("option_value"));
    let (_, values, scope) = find_option(&name)?;
    let account = authorized_account(request)?;
    require_scope(account, scope)?;
    if !values.contains(&value.as_str()) {
        return Err(ApiError::new(61013));
    }
    account.options.insert(name, value);
    Ok(ok())
}

fn find_option(name: &str) -> Result<(&'static str, &'static [&'static str], u32), ApiError> {
    OPTIONS.iter().find(|(known, ..)| *known == name).copied().ok_or_else(|| ApiError::new(61012))
}

fn require_scope(account: &SimulatedAccount, scope: u32) -> Result<(), ApiError> {
    let has = account.authorization.as_ref().is_some_and(|grant| grant.funcs.contains(&scope));
    if has { Ok(()) } else { Err(ApiError::new(61007)) }
}
