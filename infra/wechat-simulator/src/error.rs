//! WeChat's error codes and their JSON responses.

use serde_json::{Value, json};
use shared::{clock::Clock, random::Random};

/// An error: WeChat's code and message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// The code that callers decide by.
    pub errcode: i64,
    /// The message; the response appends ` rid: …`.
    pub errmsg: String,
}

impl ApiError {
    /// A code with WeChat's usual message.
    #[must_use]
    pub fn new(errcode: i64) -> Self {
        Self { errcode, errmsg: default_errmsg(errcode).to_owned() }
    }

    /// A code with a specific message.
    #[must_use]
    pub fn with_errmsg(errcode: i64, errmsg: impl Into<String>) -> Self {
        Self { errcode, errmsg: errmsg.into() }
    }

    /// The JSON response, with a request id that looks like WeChat's.
    #[must_use]
    pub fn to_json(&self, clock: &dyn Clock, random: &dyn Random) -> Value {
        let mut bytes = [0; 8];
        random.fill(&mut bytes);
        let tail = u64::from_be_bytes(bytes);
        let rid = format!("{:08x}-{:08x}-{:08x}", clock.unix(), tail >> 32, tail & 0xffff_ffff);
        json!({"errcode": self.errcode, "errmsg": format!("{} rid: {rid}", self.errmsg)})
    }
}

/// WeChat's usual message for a code.
fn default_errmsg(errcode: i64) -> &'static str {
    match errcode {
        -1 => "system error",
        40001 => "invalid credential, access_token is invalid or not latest",
        40003 => "invalid openid",
        40008 => "invalid message type",
        40013 => "invalid appid",
        40014 => "invalid access_token",
        40031 => "invalid openid list",
        40032 => "invalid openid list size",
        40035 => "invalid parameter",
        40037 => "invalid template_id",
        40066 => "invalid url",
        40091 => "component ticket is invalid",
        40097 => "invalid args",
        40125 => "invalid appsecret",
        40164 => "invalid ip, not in whitelist",
        41001 => "access_token missing",
        41018 => "component_appid missing",
        41019 => "component_appsecret missing",
        41020 => "component_verify_ticket missing",
        41021 => "component_access_token missing",
        42001 => "access_token expired",
        43001 => "require GET method",
        43002 => "require POST method",
        43004 => "require subscribe",
        44002 => "empty post data",
        44004 => "empty content",
        45002 => "content size out of limit",
        45008 => "article size out of limit",
        45009 => "reach max api daily quota limit",
        45011 => "api minute-quota reach limit, must slower, retry next minute",
        45015 => "response out of time limit or subscription is canceled",
        45047 => "out of response count limit",
        45072 => "invalid command, must be Typing or CancelTyping",
        45080 => "no valid interaction in the last 30 seconds",
        45081 => "already in typing state",
        47001 => "data format error",
        47003 => "argument invalid!",
        48001 => "api unauthorized",
        48006 => "forbid to clear quota because of reaching the limit",
        61003 => "component is not authorized by this account",
        61004 => "access clientip is not registered",
        61005 => "component ticket is expired",
        61006 => "component ticket is invalid",
        61007 => "api is unauthorized to component",
        61009 => "code is invalid",
        61010 => "code is expired",
        61011 => "invalid component",
        61012 => "invalid option name",
        61013 => "invalid option value",
        61014 => "must use component token for component api",
        61015 => "must use api authorizer token",
        61023 => "refresh_token is invalid",
        76021 => "cgi_path not found, please check",
        76022 => "could not use this cgi_path, no permission",
        _ => "error",
    }
}
