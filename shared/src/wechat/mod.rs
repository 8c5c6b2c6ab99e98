//! The only HTTP to WeChat: one method per API, one file per family.
//!
//! Nothing is retried here: the caller knows whether a second call is safe, holds the token's lease, and
//! knows how much time is left. [`ApiError::class`] and [`ApiError::may_have_happened`] say what is safe.
//!
//! A token is an argument of each call: the client stores none.

pub mod authorize_url;
pub mod component;
pub mod errcode;
pub mod http;
mod lenient;
pub mod message;
pub mod query;
pub mod transport;
pub mod user;

use std::sync::Arc;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use thiserror::Error;

use self::{
    errcode::ErrcodeClass,
    transport::{Method, Transport, TransportError, WeChatRequest},
};

/// The longest `errmsg` that is kept, in characters. Documented ones are below 200.
const MAX_ERRMSG_CHARS: usize = 500;

/// The query parameter of an account's token.
const ACCESS_TOKEN: &str = "access_token";

/// A call that failed.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum ApiError {
    /// No usable response.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// WeChat answered with an errcode whose class is not [`ErrcodeClass::Ok`].
    #[error("WeChat refused with {errcode}: {errmsg}")]
    Refused {
        /// See [`errcode`].
        errcode: i64,
        /// As WeChat spells it, the rid included; at most 500 characters.
        errmsg: String,
        /// The request id by which WeChat's `openapi/rid/get` and its staff look up a call.
        rid: Option<String>,
    },
    /// A response of WeChat that does not match the API's page: often unescaped
    /// user text. The message says what is wrong, and quotes nothing.
    #[error("WeChat's answer is not understood: {0}")]
    Malformed(String),
}

impl ApiError {
    /// The errcode, where WeChat gave one.
    #[must_use]
    pub fn errcode(&self) -> Option<i64> {
        match self {
            Self::Refused { errcode, .. } => Some(*errcode),
            Self::Transport(_) | Self::Malformed(_) => None,
        }
    }

    /// What may be done next, according to WeChat. A transport error is [`ErrcodeClass::Retry`];
    /// before a call with an effect is retried, check [`ApiError::may_have_happened`].
    #[must_use]
    pub fn class(&self) -> ErrcodeClass {
        match self {
            Self::Transport(_) => ErrcodeClass::Retry,
            Self::Refused { errcode, .. } => errcode::class(*errcode),
            Self::Malformed(_) => ErrcodeClass::Unknown,
        }
    }

    /// Whether the call may have taken effect all the same.
    #[must_use]
    pub fn may_have_happened(&self) -> bool {
        match self {
            Self::Transport(TransportError::NotSent(_)) | Self::Refused { .. } => false,
            Self::Transport(TransportError::Unanswered(_)) | Self::Malformed(_) => true,
        }
    }
}

/// WeChat's APIs at one base URL. Clones share their connections.
#[derive(Clone)]
pub struct Client {
    transport: Arc<dyn Transport>,
    api_url: String,
}

/// No JSON body; names the type for `GET`.
const NO_BODY: Option<&()> = None;

/// The members that every response may have.
#[derive(Deserialize)]
struct ErrcodeResponse {
    #[serde(default, deserialize_with = "lenient::int")]
    errcode: i64,
    #[serde(default, deserialize_with = "lenient::text")]
    errmsg: String,
}

/// The response of a call that returns only an errcode.
#[derive(Deserialize)]
struct EmptyResponse {}

impl Client {
    /// `api_url` is `OAHUB_WECHAT_API_URL`, with or without a slash at its end.
    #[must_use]
    pub fn new(transport: Arc<dyn Transport>, api_url: String) -> Self {
        Self { transport, api_url: api_url.trim_end_matches('/').to_owned() }
    }

    /// One call. `path` starts with `/`; `query` is not encoded yet. The body is sent as raw
    /// UTF-8, without `\u` escapes, which WeChat refuses (40033, 47002) or shows literally.
    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&impl Serialize>,
    ) -> Result<T, ApiError> {
        let body = body.map(serde_json::to_vec).transpose();
        let body = body.map_err(|_| ApiError::Malformed("the request is no JSON".to_owned()))?;
        let url = format!("{}{path}{}", self.api_url, query::encode_query(query));
        let answer = self.transport.send(WeChatRequest { method, url, body }).await?;
        match answer.status {
            200 if lenient::is_object(&answer.body) => parse_response(&answer.body),
            // From a gateway or proxy in front of WeChat; the service behind it may have acted.
            200 => {
                let bytes = answer.body.len();
                Err(TransportError::Unanswered(format!("not a JSON object in {bytes} bytes")).into())
            }
            status => Err(TransportError::Unanswered(format!("HTTP {status}")).into()),
        }
    }

    /// A `POST` for an account or the component, with its token under `name`.
    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        (name, token): (&str, &crate::secret::Secret),
        body: &impl Serialize,
    ) -> Result<T, ApiError> {
        self.call(Method::Post, path, &[(name, token.expose())], Some(body)).await
    }
}

/// Reads a 200. `errcode` is checked first: an error has none of the data.
fn parse_response<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let outcome: ErrcodeResponse = lenient::from_json_slice(body).map_err(ApiError::Malformed)?;
    if errcode::class(outcome.errcode) == ErrcodeClass::Ok {
        return lenient::from_json_slice(body).map_err(ApiError::Malformed);
    }
    Err(ApiError::Refused {
        errcode: outcome.errcode,
        rid: rid(&outcome.errmsg),
        errmsg: outcome.errmsg.chars().take(MAX_ERRMSG_CHARS).collect(),
    })
}

/// The rid at the end of an errmsg: `… rid: 677f0000-11111111-22222222`.
fn rid(errmsg: &str) -> Option<String> {
    let (_, after) = errmsg.rsplit_once("rid:")?;
    let rid = after.trim_start().split(|letter: char| !letter.is_ascii_hexdigit() && letter != '-').next()?;
    if rid.is_empty() { None } else { Some(rid.to_owned()) }
}

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;
