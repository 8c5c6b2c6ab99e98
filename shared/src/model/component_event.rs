//! One decrypted push to the component itself.
//!
//! # Source
//! WeChat "Authorization change notifications" and "component_verify_ticket".

use crate::envelope::CallbackError;
use crate::envelope::element::{self, Element};
use crate::secret::Secret;

/// Most bytes of an account's id, which becomes part of a table key. WeChat's have 18.
const MAX_APP_ID_BYTES: usize = 64;

/// A grant that an account's administrator gave or changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorizationNotice {
    /// `AuthorizerAppid`.
    pub authorizer_app_id: String,
    /// `AuthorizationCode`: good for one `api_query_auth`.
    pub code: Secret,
    /// `AuthorizationCodeExpiredTime`, in unix seconds.
    pub code_expires_at: Option<i64>,
    /// `PreAuthCode`: identifies the binding that asked for it.
    pub pre_auth_code: Option<Secret>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ComponentEventKind {
    /// `component_verify_ticket`, every ten minutes.
    VerifyTicket(Secret),
    /// `authorized`.
    Authorized(AuthorizationNotice),
    /// `updateauthorized`: other permissions than before.
    UpdateAuthorized(AuthorizationNotice),
    /// `unauthorized`, with the `AuthorizerAppid`.
    Unauthorized(String),
    /// Another `InfoType`: acknowledged and ignored.
    Other(String),
}

/// One push to the component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentEvent {
    /// The component's own `AppId`.
    pub app_id: String,
    /// Unix seconds; 0 if it is missing.
    pub create_time: i64,
    /// What happened.
    pub kind: ComponentEventKind,
}

impl ComponentEvent {
    /// Reads a decrypted body.
    ///
    /// # Errors
    /// [`CallbackError::Malformed`] or [`CallbackError::TooLarge`]. Members of some types may be missing.
    pub fn parse(plaintext: &[u8]) -> Result<Self, CallbackError> {
        let text = element::decode(plaintext)?;
        let root = Element::parse(&text)?;
        let need = |name| root.text_of(name).map(str::to_owned).ok_or(CallbackError::Malformed);
        let account = || {
            need("AuthorizerAppid").and_then(|id| {
                if id.len() <= MAX_APP_ID_BYTES { Ok(id) } else { Err(CallbackError::Malformed) }
            })
        };
        let authorization = || {
            Ok(AuthorizationNotice {
                authorizer_app_id: account()?,
                code: Secret::new(need("AuthorizationCode")?),
                code_expires_at: root.text_of("AuthorizationCodeExpiredTime").and_then(|at| at.parse().ok()),
                pre_auth_code: root.text_of("PreAuthCode").map(Secret::new),
            })
        };
        let info_type = need("InfoType")?;
        let kind = match info_type.to_ascii_lowercase().as_str() {
            "component_verify_ticket" => {
                ComponentEventKind::VerifyTicket(Secret::new(need("ComponentVerifyTicket")?))
            }
            "authorized" => ComponentEventKind::Authorized(authorization()?),
            "updateauthorized" => ComponentEventKind::UpdateAuthorized(authorization()?),
            "unauthorized" => ComponentEventKind::Unauthorized(account()?),
            _ => ComponentEventKind::Other(info_type),
        };
        Ok(Self {
            app_id: need("AppId")?,
            create_time: root.text_of("CreateTime").and_then(|at| at.parse().ok()).unwrap_or_default(),
            kind,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_without_what_it_is_about_is_refused() {
        let endless = format!(
            "<InfoType>unauthorized</InfoType><AuthorizerAppid>{}</AuthorizerAppid>",
            "w".repeat(3000)
        );
        for (what, members, right) in [
            ("an account that fits into no key", endless.as_str(), false),
            (
                "a ticket",
                "<InfoType>component_verify_ticket</InfoType><ComponentVerifyTicket>t</ComponentVerifyTicket>",
                true,
            ),
            ("a ticket without its value", "<InfoType>component_verify_ticket</InfoType>", false),
            (
                "a grant without its code",
                "<InfoType>authorized</InfoType><AuthorizerAppid>wx</AuthorizerAppid>",
                false,
            ),
            (
                "a grant of nobody",
                "<InfoType>authorized</InfoType><AuthorizationCode>c</AuthorizationCode>",
                false,
            ),
            ("an end without its account", "<InfoType>unauthorized</InfoType>", false),
            ("a kind that is new", "<InfoType>notify_of_2030</InfoType>", true),
            ("no kind", "", false),
        ] {
            let body = format!("<xml><AppId>wxc</AppId>{members}</xml>");
            assert_eq!(ComponentEvent::parse(body.as_bytes()).is_ok(), right, "{what}");
        }
        let ticket = ComponentEvent::parse(
            b"<xml><AppId>wxc</AppId><InfoType>component_verify_ticket</InfoType><ComponentVerifyTicket>ticket@@@x</ComponentVerifyTicket></xml>",
        );
        assert!(!format!("{ticket:?}").contains("ticket@@@x"), "a ticket printed");
    }
}
