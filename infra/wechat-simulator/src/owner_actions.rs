//! The owner's side: authorization, changes, revocation. Not an API: owners do it on WeChat's pages.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::error::ApiError;
use crate::log::PushDelivery;
use crate::simulator::Simulator;
use crate::state::account::{AuthorizationGrant, PERMISSIONS};
use crate::state::outgoing_push::{CallbackUrl, OutgoingPush};
use crate::state::tokens::TokenOwner;
use crate::state::{AuthCode, PreAuthCode, is_cleanup_due};
use crate::world::World;
use crate::xml::XmlBuilder;

/// What an owner decides on the authorization page.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OwnerConsent {
    /// Which account.
    pub app_id: String,
    /// From the authorization URL; without one, the event comes unrequested, as in WeChat's release check.
    pub pre_auth_code: Option<String>,
    /// Where the browser goes next.
    pub redirect_uri: Option<String>,
    /// The permission sets; all that the page offers if absent.
    pub func_ids: Option<Vec<u32>>,
    /// Suppresses the event, as if it were lost.
    pub without_event: bool,
    /// `api_query_auth` returns an empty refresh token, as WeChat sometimes does; the details have it.
    pub without_refresh_token: bool,
}

/// What WeChat issues after consent.
#[derive(Debug, Clone, Serialize)]
pub struct IssuedAuthCode {
    /// Exchangeable once at `api_query_auth`.
    pub auth_code: String,
    /// Seconds.
    pub expires_in: i64,
    /// The browser's next page, with `auth_code` and `expires_in`.
    pub redirect_url: Option<String>,
}

impl Simulator {
    /// Whether a `pre_auth_code` may still be used.
    ///
    /// # Errors
    /// 61009 for an unknown or used one, 61010 for an expired one.
    pub fn check_pre_auth_code(&self, code: &str) -> Result<(), ApiError> {
        self.with_world(|world| world.check_pre_auth_code(code))
    }

    /// The owner of an account consents. Queues `authorized`, or `updateauthorized` for an existing grant.
    ///
    /// # Errors
    /// A bad code or account, or a `redirect_uri` that is not a URL.
    pub fn authorize(&self, grant: OwnerConsent) -> Result<IssuedAuthCode, ApiError> {
        let issued = self.with_world(|mut world| world.authorize(grant))?;
        self.save_now();
        Ok(issued)
    }

    /// The owner revokes the authorization: all tokens become void and `unauthorized` is queued.
    ///
    /// # Errors
    /// 61003 when the account was not authorized.
    pub fn unauthorize(&self, app_id: &str, with_event: bool) -> Result<(), ApiError> {
        self.with_world(|mut world| world.unauthorize(app_id, with_event))?;
        self.save_now();
        Ok(())
    }

    /// Pushes a new ticket now.
    pub async fn push_ticket(&self) -> PushDelivery {
        let push = self.with_world(|mut world| world.new_ticket_push());
        self.deliver(push).await
    }
}

impl World<'_> {
    fn check_pre_auth_code(&self, code: &str) -> Result<(), ApiError> {
        match self.state.pre_auth_codes.get(code) {
            Some(PreAuthCode { used: true, .. }) => {
                Err(ApiError::with_errmsg(61009, "pre_auth_code was used already"))
            }
            Some(known) if self.now() >= known.expires_at => {
                Err(ApiError::with_errmsg(61010, "pre_auth_code is expired"))
            }
            Some(_) => Ok(()),
            None => Err(ApiError::with_errmsg(61009, "pre_auth_code is invalid")),
        }
    }

    fn authorize(&mut self, grant: OwnerConsent) -> Result<IssuedAuthCode, ApiError> {
        let pre_auth_code = match &grant.pre_auth_code {
            Some(code) => {
                self.check_pre_auth_code(code)?;
                code.clone()
            }
            None => format!("preauthcode@@@{}", self.random_hex(40)),
        };
        let auth_code = format!("queryauthcode@@@{}", self.random_hex(64));
        let (now, refresh_token) = (self.now(), format!("refreshtoken@@@{}", self.random_hex(40)));
        let expires_in = self.state.settings.auth_code_lifetime;
        let redirect_url = match &grant.redirect_uri {
            Some(uri) => Some(redirect_url(
                uri,
                &[("auth_code", &auth_code), ("expires_in", &expires_in.to_string())],
            )?),
            None => None,
        };
        let account = self.state.account_mut(&grant.app_id)?;
        if !matches!(account.account_status, 1 | 18) {
            return Err(ApiError::with_errmsg(
                40013,
                "this account is not offered: cancelled, banned or frozen",
            ));
        }
        let funcs: BTreeSet<u32> = match grant.func_ids {
            Some(ids) => ids.into_iter().collect(),
            None => PERMISSIONS.iter().map(|(id, ..)| *id).collect(),
        };
        let info_type = match &mut account.authorization {
            Some(existing) => {
                existing.funcs = funcs;
                existing.auth_time = now;
                "updateauthorized"
            }
            None => {
                account.authorization = Some(AuthorizationGrant {
                    funcs,
                    refresh_token,
                    previous_refresh_token: None,
                    auth_time: now,
                });
                "authorized"
            }
        };
        if let Some(code) = self.state.pre_auth_codes.get_mut(&pre_auth_code) {
            code.used = true;
        }
        let expires_at = now + expires_in;
        let code = AuthCode {
            app_id: grant.app_id.clone(),
            expires_at,
            used: false,
            without_refresh_token: grant.without_refresh_token,
        };
        if is_cleanup_due(self.state.auth_codes.len()) {
            self.state.auth_codes.retain(|_, code| now < code.expires_at + 86_400);
        }
        self.state.auth_codes.insert(auth_code.clone(), code);
        if !grant.without_event {
            let event = self
                .component_event(info_type)
                .text("AuthorizerAppid", &grant.app_id)
                .text("AuthorizationCode", &auth_code)
                .number("AuthorizationCodeExpiredTime", expires_at)
                .text("PreAuthCode", &pre_auth_code);
            self.state.enqueue(component_push(info_type, event));
        }
        Ok(IssuedAuthCode { auth_code, expires_in, redirect_url })
    }

    fn unauthorize(&mut self, app_id: &str, with_event: bool) -> Result<(), ApiError> {
        let account = self.state.account_mut(app_id)?;
        account.authorization.take().ok_or_else(|| ApiError::new(61003))?;
        self.state.tokens.revoke(&TokenOwner::Authorizer(app_id.to_owned()));
        self.state.auth_codes.retain(|_, code| code.app_id != app_id);
        if with_event {
            let event = self.component_event("unauthorized").text("AuthorizerAppid", app_id);
            self.state.enqueue(component_push("unauthorized", event));
        }
        Ok(())
    }

    /// Queues a push with a new ticket.
    pub fn queue_ticket(&mut self) {
        let push = self.new_ticket_push();
        self.state.enqueue(push);
    }

    fn new_ticket_push(&mut self) -> OutgoingPush {
        let ticket = format!("ticket@@@{}", self.random_hex(87));
        let now = self.now();
        let lifetime = self.state.settings.ticket_lifetime;
        self.state.tickets.retain(|(_, made)| now < made + lifetime);
        self.state.tickets.push_back((ticket.clone(), now));
        self.state.pushing = true;
        self.state.dirty = true;
        let event = self.component_event("component_verify_ticket").text("ComponentVerifyTicket", &ticket);
        component_push("component_verify_ticket", event)
    }

    fn component_event(&self, info_type: &str) -> XmlBuilder {
        XmlBuilder::default()
            .text("AppId", &self.component.app_id)
            .number("CreateTime", self.now())
            .text("InfoType", info_type)
    }
}

fn component_push(kind: &str, event: XmlBuilder) -> OutgoingPush {
    OutgoingPush {
        target: CallbackUrl::Component,
        kind: kind.to_owned(),
        app_id: None,
        openid: None,
        plaintext: event.build(),
        delay_ms: 0,
    }
}

/// `uri` with more query parameters appended to its own.
pub(crate) fn redirect_url(uri: &str, query: &[(&str, &str)]) -> Result<String, ApiError> {
    let url = reqwest::Url::parse(uri).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let mut url = url.ok_or_else(|| ApiError::with_errmsg(40048, "redirect_uri is not an http(s) URL"))?;
    url.query_pairs_mut().extend_pairs(query);
    Ok(url.into())
}
