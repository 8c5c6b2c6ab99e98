//! Extractors for path, query, body and cursor. All refusals are problems.

use axum::{
    Json,
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{StatusCode, request::Parts};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use shared::{model::content::ContentError, problem::Problem};
use utoipa::ToSchema;

use crate::plain_errors;

/// Maximum bytes of a body.
pub const MAX_BODY_BYTES: usize = 256 * 1024;
/// Maximum bytes of an id: DynamoDB's sort keys have at most 1 KB.
const MAX_ID_BYTES: usize = 200;
/// Maximum bytes of a cursor.
const MAX_CURSOR_BYTES: usize = 1024;
const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 200;

/// Reads a whole body.
///
/// # Errors
/// 413 beyond [`MAX_BODY_BYTES`].
pub async fn read_body(body: axum::body::Body) -> Result<Bytes, Problem> {
    axum::body::to_bytes(body, MAX_BODY_BYTES).await.map_err(|_| {
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            format!("A body has at most {MAX_BODY_BYTES} bytes."),
        )
    })
}

/// A JSON body. An empty body counts as `{}`.
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let bytes = read_body(request.into_body()).await?;
        parse_json(if bytes.is_empty() { b"{}" } else { &bytes }).map(Self)
    }
}

/// Reads a JSON object.
///
/// # Errors
/// 422 that says what is wrong, and where.
pub fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // serde accepts an array as a struct's members in order
    if bytes.iter().find(|b| !b.is_ascii_whitespace()).is_some_and(|b| b"[\"0123456789-tfn".contains(b)) {
        return Err(Problem::invalid("body: must be a JSON object"));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let error = error.into_inner();
        if !error.is_data() {
            return Problem::invalid(format!("body: {}", plain_errors::not_json(&error)));
        }
        let path = if path == "." || path == "?" { "body".to_owned() } else { path };
        Problem::invalid(format!("{path}: {}", plain_errors::plain_message(&error.to_string())))
    })?;
    json.end().map_err(|error| Problem::invalid(format!("body: {}", plain_errors::not_json(&error))))?;
    Ok(value)
}

/// The problem for invalid content or rules under the member `parent`.
pub fn content_problem(error: ContentError, parent: &str) -> Problem {
    let error = if parent.is_empty() { error } else { error.with_parent_path(parent) };
    let path = if error.path.is_empty() { "body" } else { &error.path };
    Problem::invalid(format!("{path}: {}", error.message))
}

/// Path parameters; what cannot be an id is 404.
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let missing = || Problem::not_found("resource");
        if parts.uri.path().split('/').any(|segment| segment.len() > MAX_ID_BYTES) {
            return Err(missing());
        }
        let path = axum::extract::Path::from_request_parts(parts, state).await;
        path.map(|axum::extract::Path(path)| Self(path)).map_err(|_| missing())
    }
}

/// Query parameters; unknown ones are refused, so that a filter with a typo does not list everything.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parse_query(&parts.uri).map(Self)
    }
}

/// Reads a query.
///
/// # Errors
/// 422 that says which parameter is wrong, and how.
pub fn parse_query<T: DeserializeOwned>(uri: &http::Uri) -> Result<T, Problem> {
    axum::extract::Query::try_from_uri(uri).map(|axum::extract::Query(query)| query).map_err(|error| {
        let text = error.body_text();
        let text = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
        match text.split_once(": ") {
            Some((name, message)) => {
                Problem::invalid(format!("{name}: {}", plain_errors::plain_message(message)))
            }
            None => Problem::invalid(plain_errors::plain_message(text)),
        }
    })
}

/// Checks `limit`.
///
/// # Errors
/// 422 outside of 1 to [`MAX_LIMIT`].
pub fn checked_limit(given: Option<u32>) -> Result<u32, Problem> {
    let limit = given.unwrap_or(DEFAULT_LIMIT);
    if (1..=MAX_LIMIT).contains(&limit) {
        Ok(limit)
    } else {
        Err(Problem::invalid(format!("limit: must be 1 to {MAX_LIMIT}")))
    }
}

/// Checks a filter that is looked up as a table key.
///
/// # Errors
/// 422 if it cannot be an id.
pub fn checked_filter<'a>(name: &str, value: Option<&'a str>) -> Result<Option<&'a str>, Problem> {
    match value {
        Some(value) if value.is_empty() || value.len() > MAX_ID_BYTES => {
            Err(Problem::invalid(format!("{name}: must have 1 to {MAX_ID_BYTES} bytes")))
        }
        value => Ok(value),
    }
}

/// Encodes a cursor.
pub fn encode_cursor<T: Serialize>(position: &T) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(position).unwrap_or_default())
}

/// Decodes a cursor.
///
/// # Errors
/// 422 for one that we did not spell.
pub fn decode_cursor<T: DeserializeOwned>(cursor: Option<&str>) -> Result<Option<T>, Problem> {
    let wrong = || Problem::invalid("cursor: must be a `next_cursor` of the same list");
    let Some(cursor) = cursor else { return Ok(None) };
    if cursor.len() > MAX_CURSOR_BYTES {
        return Err(wrong());
    }
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| wrong())?;
    serde_json::from_slice(&bytes).map(Some).map_err(|_| wrong())
}

/// Decodes the cursor of a list that continues after a key.
///
/// # Errors
/// 422 for one that we did not spell.
pub fn decode_key_cursor(cursor: Option<&str>) -> Result<Option<String>, Problem> {
    Ok(decode_cursor::<KeyCursor>(cursor)?.map(|after| after.0))
}

/// The position in a list, given by one key.
#[derive(Serialize, Deserialize)]
#[serde(try_from = "String")]
struct KeyCursor(String);

impl TryFrom<String> for KeyCursor {
    type Error = &'static str;

    fn try_from(key: String) -> Result<Self, Self::Error> {
        if key.is_empty() { Err("an empty key") } else { Ok(Self(key)) }
    }
}

/// A list that takes no other parameters.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Paging {
    /// How many at most: 1 to 200.
    #[param(default = 50, minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(min_length = 1)]
    pub cursor: Option<String>,
}

/// A page of a list.
#[derive(Serialize, ToSchema)]
pub struct Page<T> {
    /// What is on this page; it may be short although there is more.
    pub data: Vec<T>,
    /// Where the next page begins; null on the last one.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// A page of `items`, converted by `to_api`; `next` is the key after which the list continues.
    pub fn by_key<F>(items: Vec<F>, next: Option<String>, to_api: impl Fn(F) -> T) -> Json<Self> {
        let next_cursor = next.map(|next| encode_cursor(&KeyCursor(next)));
        Json(Self { data: items.into_iter().map(to_api).collect(), next_cursor })
    }
}

/// The timestamp of unix seconds.
pub fn timestamp(second: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(second).unwrap_or_default()
}

/// The timestamp of unix milliseconds.
pub fn timestamp_ms(millisecond: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_millisecond(millisecond).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_back_and_strange_ones_refused() {
        let spelled = encode_cursor(&KeyCursor("wx1".into()));
        assert_eq!(decode_cursor::<KeyCursor>(Some(&spelled)).unwrap().unwrap().0, "wx1");
        assert!(decode_cursor::<KeyCursor>(None).unwrap().is_none());
        for strange in ["", "?", "bm9uc2Vuc2U", &encode_cursor(&KeyCursor(String::new())), &"a".repeat(2000)]
        {
            assert!(decode_cursor::<KeyCursor>(Some(strange)).is_err(), "{strange}");
        }
        assert!(
            checked_limit(Some(0)).is_err()
                && checked_limit(Some(201)).is_err()
                && checked_limit(None).unwrap() == 50
        );
    }
}
