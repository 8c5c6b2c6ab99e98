//! `/cgi-bin/component/*`: the platform's own token chain and the authorizations of accounts.
//!
//! Source: WeChat's pages of the component APIs, from api_start_push_ticket to api_get_authorizer_list.

use serde::Deserialize;
use serde_json::json;

use super::{ApiError, Client, EmptyResponse, lenient, transport::Method};
use crate::secret::Secret;

/// The query parameter of the component's token. The documentation of
/// 2025 says `access_token`; the older name is what current SDKs send.
const COMPONENT_ACCESS_TOKEN: &str = "component_access_token";

/// Most accounts on one page of [`Client::get_authorizer_list`].
pub const MAX_AUTHORIZERS_PER_PAGE: u32 = 500;

/// The platform's token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentToken {
    /// For the other methods of this file.
    pub token: Secret,
    /// Lifetime in seconds from now.
    pub expires_in: i64,
}

/// The code for one authorization attempt. The `authorized` event names it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreAuthCode {
    /// Goes into the authorization URL.
    pub code: Secret,
    /// Lifetime in seconds from now; WeChat's pages say 600 or 1800.
    pub expires_in: i64,
}

/// What an authorization code is exchanged for, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorizationInfo {
    /// The account.
    pub app_id: String,
    /// Absent when the account has no right to any API.
    pub tokens: Option<AuthorizerTokens>,
    /// The ids of the permission sets that were granted, as WeChat lists them.
    pub granted: Vec<u32>,
}

/// An account's pair of tokens. Store both before the first use: the refresh token may have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorizerTokens {
    /// For the account's APIs.
    pub access_token: Secret,
    /// Lifetime of the access token in seconds from now.
    pub expires_in: i64,
    /// For the next [`Client::authorizer_token`]; `None` means that the current one stays valid.
    pub refresh_token: Option<Secret>,
}

/// An account as its administrator set it up. Empty strings where WeChat gives nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorizerInfo {
    /// The account.
    pub app_id: String,
    /// Its name.
    pub nick_name: String,
    /// URL of its picture.
    pub head_img: String,
    /// 0 and 1 subscription account, 2 service account; mini programs use these numbers otherwise.
    pub service_type: Option<i64>,
    /// -1 not verified, 0 by WeChat, 1 and 2 by a microblog only, 3 to 5 qualification.
    pub verify_type: Option<i64>,
    /// The original id, `gh_…`.
    pub user_name: String,
    /// The name that people search for.
    pub alias: String,
    /// URL of the account's QR code; does not show on other sites.
    pub qrcode_url: String,
    /// Who owns it.
    pub principal_name: String,
    /// 1 normal, 14 cancelled, 16 banned, 18 warned, 19 frozen.
    pub account_status: Option<i64>,
    /// A mini program: `MiniProgramInfo` is there.
    pub is_mini_program: bool,
    /// The ids of the permission sets that were granted.
    pub granted: Vec<u32>,
    /// The current refresh token, where WeChat gives it.
    pub refresh_token: Option<Secret>,
}

/// A page of the accounts that authorized the platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorizerPage {
    /// Of all pages.
    pub total_count: i64,
    /// Of this page.
    pub list: Vec<AuthorizerEntry>,
}

/// One of the accounts that authorized the platform.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AuthorizerEntry {
    /// The account.
    #[serde(rename = "authorizer_appid")]
    pub app_id: String,
    /// The current refresh token: how a lost one is recovered. `None` when WeChat leaves it empty; then only
    /// a new authorization helps.
    #[serde(default, deserialize_with = "lenient::optional_secret")]
    pub refresh_token: Option<Secret>,
    /// Unix seconds.
    #[serde(default, deserialize_with = "lenient::int")]
    pub auth_time: i64,
}

impl Client {
    /// Asks WeChat to push the ticket again. It comes within about ten minutes,
    /// at the callback; if pushing is already switched on, that is a success too.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn start_push_ticket(&self, app_id: &str, secret: &Secret) -> Result<(), ApiError> {
        // This API names the secret differently from `component_token`.
        let body = json!({ "component_appid": app_id, "component_secret": secret.expose() });
        let path = "/cgi-bin/component/api_start_push_ticket";
        self.call::<EmptyResponse>(Method::Post, path, &[], Some(&body)).await.map(drop)
    }

    /// The platform's token, for its secret and the newest ticket.
    ///
    /// # Errors
    /// [`ApiError`]; 61005 and 61006 mean that the ticket is too old.
    pub async fn component_token(
        &self,
        app_id: &str,
        secret: &Secret,
        ticket: &Secret,
    ) -> Result<ComponentToken, ApiError> {
        #[derive(Deserialize)]
        struct ComponentTokenResponse {
            #[serde(default, deserialize_with = "lenient::optional_secret")]
            component_access_token: Option<Secret>,
            #[serde(default, deserialize_with = "lenient::int")]
            expires_in: i64,
        }
        let body = json!({
            "component_appid": app_id,
            "component_appsecret": secret.expose(),
            "component_verify_ticket": ticket.expose(),
        });
        let path = "/cgi-bin/component/api_component_token";
        let answer: ComponentTokenResponse = self.call(Method::Post, path, &[], Some(&body)).await?;
        let (token, expires_in) =
            with_lifetime(answer.component_access_token, answer.expires_in, "component_access_token")?;
        Ok(ComponentToken { token, expires_in })
    }

    /// A code to start one authorization attempt with.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn create_preauthcode(&self, token: &Secret, app_id: &str) -> Result<PreAuthCode, ApiError> {
        #[derive(Deserialize)]
        struct PreAuthCodeResponse {
            #[serde(default, deserialize_with = "lenient::optional_secret")]
            pre_auth_code: Option<Secret>,
            #[serde(default, deserialize_with = "lenient::int")]
            expires_in: i64,
        }
        let body = json!({ "component_appid": app_id });
        let path = "/cgi-bin/component/api_create_preauthcode";
        let answer: PreAuthCodeResponse = self.post(path, (COMPONENT_ACCESS_TOKEN, token), &body).await?;
        let (code, expires_in) = with_lifetime(answer.pre_auth_code, answer.expires_in, "pre_auth_code")?;
        Ok(PreAuthCode { code, expires_in })
    }

    /// Redeems an authorization code. The redirect and the event bring one each for the same grant:
    /// the second call returns 61009 or 61010, which is not a failure if the account is bound by then.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn query_auth(
        &self,
        token: &Secret,
        app_id: &str,
        authorization_code: &Secret,
    ) -> Result<AuthorizationInfo, ApiError> {
        #[derive(Deserialize)]
        struct QueryAuthResponse {
            authorization_info: AuthorizationInfoMembers,
        }
        let body = json!({ "component_appid": app_id, "authorization_code": authorization_code.expose() });
        let path = "/cgi-bin/component/api_query_auth";
        let answer: QueryAuthResponse = self.post(path, (COMPONENT_ACCESS_TOKEN, token), &body).await?;
        let raw = answer.authorization_info;
        if raw.authorizer_appid.is_empty() {
            return Err(missing_member("authorizer_appid"));
        }
        let tokens = match raw.authorizer_access_token {
            None => None,
            some => Some(authorizer_tokens(some, raw.expires_in, raw.authorizer_refresh_token)?),
        };
        Ok(AuthorizationInfo { app_id: raw.authorizer_appid, tokens, granted: granted_ids(&raw.func_info) })
    }

    /// New tokens for an account. It costs a daily quota, and the old
    /// access token soon becomes invalid: only one refresher at a time.
    ///
    /// # Errors
    /// [`ApiError`]; 61023 when the refresh token is not the current one (any more).
    pub async fn authorizer_token(
        &self,
        token: &Secret,
        app_id: &str,
        authorizer_app_id: &str,
        refresh_token: &Secret,
    ) -> Result<AuthorizerTokens, ApiError> {
        let body = json!({
            "component_appid": app_id,
            "authorizer_appid": authorizer_app_id,
            "authorizer_refresh_token": refresh_token.expose(),
        });
        let path = "/cgi-bin/component/api_authorizer_token";
        let raw: AuthorizationInfoMembers = self.post(path, (COMPONENT_ACCESS_TOKEN, token), &body).await?;
        authorizer_tokens(raw.authorizer_access_token, raw.expires_in, raw.authorizer_refresh_token)
    }

    /// What an account is and what it granted.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn get_authorizer_info(
        &self,
        token: &Secret,
        app_id: &str,
        authorizer_app_id: &str,
    ) -> Result<AuthorizerInfo, ApiError> {
        #[derive(Deserialize)]
        struct AuthorizerInfoResponse {
            authorizer_info: AuthorizerInfoMembers,
            #[serde(default, deserialize_with = "lenient::or_default_if_invalid")]
            authorization_info: AuthorizationInfoMembers,
        }
        let body = json!({ "component_appid": app_id, "authorizer_appid": authorizer_app_id });
        let path = "/cgi-bin/component/api_get_authorizer_info";
        let answer: AuthorizerInfoResponse = self.post(path, (COMPONENT_ACCESS_TOKEN, token), &body).await?;
        let (info, authorization) = (answer.authorizer_info, answer.authorization_info);
        Ok(AuthorizerInfo {
            app_id: authorizer_app_id.to_owned(),
            nick_name: info.nick_name,
            head_img: info.head_img,
            service_type: info.service_type_info.id,
            verify_type: info.verify_type_info.id,
            user_name: info.user_name,
            alias: info.alias,
            qrcode_url: info.qrcode_url,
            principal_name: info.principal_name,
            account_status: info.account_status,
            is_mini_program: info.mini_program_info.is_some(),
            granted: granted_ids(&authorization.func_info),
            refresh_token: authorization.authorizer_refresh_token,
        })
    }

    /// A page of all accounts that authorized the platform. `offset` counts from 0, `count` is at most
    /// [`MAX_AUTHORIZERS_PER_PAGE`].
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn get_authorizer_list(
        &self,
        token: &Secret,
        app_id: &str,
        offset: u32,
        count: u32,
    ) -> Result<AuthorizerPage, ApiError> {
        #[derive(Deserialize)]
        struct AuthorizerListResponse {
            #[serde(default, deserialize_with = "lenient::int")]
            total_count: i64,
            #[serde(default, deserialize_with = "lenient::list")]
            list: Vec<AuthorizerEntry>,
        }
        let count = count.min(MAX_AUTHORIZERS_PER_PAGE);
        let body = json!({ "component_appid": app_id, "offset": offset, "count": count });
        let path = "/cgi-bin/component/api_get_authorizer_list";
        let answer: AuthorizerListResponse = self.post(path, (COMPONENT_ACCESS_TOKEN, token), &body).await?;
        Ok(AuthorizerPage { total_count: answer.total_count, list: answer.list })
    }
}

#[derive(Deserialize, Default)]
struct AuthorizationInfoMembers {
    #[serde(default, deserialize_with = "lenient::text")]
    authorizer_appid: String,
    #[serde(default, deserialize_with = "lenient::optional_secret")]
    authorizer_access_token: Option<Secret>,
    #[serde(default, deserialize_with = "lenient::int")]
    expires_in: i64,
    #[serde(default, deserialize_with = "lenient::optional_secret")]
    authorizer_refresh_token: Option<Secret>,
    #[serde(default, deserialize_with = "lenient::list")]
    func_info: Vec<FuncInfoMembers>,
}

#[derive(Deserialize, Default)]
struct FuncInfoMembers {
    #[serde(default, deserialize_with = "lenient::or_default_if_invalid")]
    funcscope_category: IdMember,
}

#[derive(Deserialize, Default)]
struct IdMember {
    #[serde(default, deserialize_with = "lenient::optional_int")]
    id: Option<i64>,
}

#[derive(Deserialize)]
struct AuthorizerInfoMembers {
    #[serde(default, deserialize_with = "lenient::text")]
    nick_name: String,
    #[serde(default, deserialize_with = "lenient::text")]
    head_img: String,
    #[serde(default, deserialize_with = "lenient::or_default_if_invalid")]
    service_type_info: IdMember,
    #[serde(default, deserialize_with = "lenient::or_default_if_invalid")]
    verify_type_info: IdMember,
    #[serde(default, deserialize_with = "lenient::text")]
    user_name: String,
    #[serde(default, deserialize_with = "lenient::text")]
    alias: String,
    #[serde(default, deserialize_with = "lenient::text")]
    qrcode_url: String,
    #[serde(default, deserialize_with = "lenient::text")]
    principal_name: String,
    #[serde(default, deserialize_with = "lenient::optional_int")]
    account_status: Option<i64>,
    #[serde(default, rename = "MiniProgramInfo")]
    mini_program_info: Option<serde::de::IgnoredAny>,
}

fn granted_ids(func_info: &[FuncInfoMembers]) -> Vec<u32> {
    let ids = func_info.iter().filter_map(|function| function.funcscope_category.id);
    ids.filter_map(|id| u32::try_from(id).ok()).collect()
}

fn authorizer_tokens(
    access_token: Option<Secret>,
    expires_in: i64,
    refresh_token: Option<Secret>,
) -> Result<AuthorizerTokens, ApiError> {
    let (access_token, expires_in) = with_lifetime(access_token, expires_in, "authorizer_access_token")?;
    Ok(AuthorizerTokens { access_token, expires_in, refresh_token })
}

/// The token, if it is there and has a lifetime: one without would be refreshed in a loop.
fn with_lifetime(token: Option<Secret>, expires_in: i64, name: &str) -> Result<(Secret, i64), ApiError> {
    let token = token.ok_or_else(|| missing_member(name))?;
    if expires_in > 0 { Ok((token, expires_in)) } else { Err(missing_member("a positive expires_in")) }
}

fn missing_member(name: &str) -> ApiError {
    ApiError::Malformed(format!("it lacks {name}"))
}

#[cfg(test)]
mod tests;
