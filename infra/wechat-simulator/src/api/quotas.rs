//! Quotas and callback addresses: for the component's token and for an account's.

use serde_json::{Value, json};

use super::endpoint::{ApiRequest, ok};
use crate::error::ApiError;
use crate::state::quota::beijing_month;

/// The owner of the quota: whoever owns the token.
fn quota_owner(request: &ApiRequest<'_>) -> String {
    request.app_id.clone().unwrap_or_else(|| request.world.component.app_id.clone())
}

/// `clear_quota`.
pub(super) fn clear(request: &mut ApiRequest<'_>) -> Result<Value, ApiError> {
    let owner = quota_owner(request);
    if request.require("appid", 40013)? != owner {
        return Err(ApiError::new(40013));
    }
    request.world.state.quotas.clear(&owner, beijing_month(request.now))?;
    Ok(ok())
}

/// `openapi/quota/get`.
pub(super) fn get(request: &mut ApiRequest<'_>) -> Result<Value, ApiError> {
    let path = request.text("cgi_path");
    let daily = request.daily_limit(&path).ok_or_else(|| ApiError::new(76021))?;
    let (owner, now) = (quota_owner(request), request.now);
    let quota = request.world.state.quotas.get(&owner, &path, daily, now);
    Ok(json!({
        "errcode": 0, "errmsg": "ok", "quota": quota,
        "rate_limit": {"call_count": 5000, "refresh_second": 60},
        "component_rate_limit": {"call_count": 5000, "refresh_second": 60},
    }))
}

/// `getcallbackip`.
pub(super) fn callback_ip(_: &mut ApiRequest<'_>) -> Result<Value, ApiError> {
    Ok(json!({"ip_list": ["127.0.0.1", "203.0.113.0/26"]}))
}
