//! Faults that are injected on request.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Kinds of fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FaultKind {
    /// Returns this error code; the call has no effect. -1 means busy, 45009 that the quota is used up.
    Error {
        /// WeChat's error code.
        errcode: i64,
    },
    /// Returns the correct response, late.
    Delay {
        /// How late.
        ms: u64,
    },
    /// Computes the response at once and delivers it late, so it misses what happens in between.
    LateAnswer {
        /// How late.
        ms: u64,
    },
    /// Has no effect and never responds.
    Timeout,
    /// Has its effect and never responds: the caller cannot know.
    LostResponse,
    /// Returns this HTTP status with an HTML page; the call has no effect.
    Http {
        /// 500, 502, 504…
        status: u16,
    },
    /// Returns 200 with something that is not JSON; the call has no effect.
    Garbage,
    /// Returns the correct response after a byte order mark.
    ByteOrderMark,
    /// `user/get` returns the previous page again.
    DuplicatePage,
    /// `user/get` returns an empty list although there are more followers.
    EmptyData,
    /// `user/get` returns a `count` that is not the list's length.
    CountMismatch,
    /// `user/get` returns `"openid": null`.
    NullList,
    /// `user/get` returns the `next_openid` that it was called with.
    StuckCursor,
    /// A push is never sent. Its paths are `push/component`, `push/message`, or a single kind of push such as
    /// `push/authorized`.
    DropPush,
    /// A push that was accepted is sent once more, as if the hub's response had been lost.
    RepeatPush,
    /// The owner closes the browser after consenting and never returns to `redirect_uri`. Its path is
    /// `page/return`.
    DropReturn,
}

/// A fault: its kind, where it applies, and how often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InjectedFault {
    /// The API's path, `push/…`, `page/return`, or `*` for every API.
    pub path: String,
    /// Only calls for this account: identified by its token, or by the app id in a component call.
    #[serde(default)]
    pub app_id: Option<String>,
    /// Calls that pass before the fault applies.
    #[serde(default)]
    pub skip: u32,
    /// Calls that it applies to; one if absent.
    #[serde(default = "default_times")]
    pub times: u32,
    /// The kind of fault.
    #[serde(flatten)]
    pub kind: FaultKind,
}

fn default_times() -> u32 {
    1
}

impl InjectedFault {
    /// Applies to the next call of `path`.
    #[must_use]
    pub fn once(path: impl Into<String>, kind: FaultKind) -> Self {
        Self { path: path.into(), app_id: None, skip: 0, times: 1, kind }
    }

    /// Applies to the next `times` calls.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times, ..self }
    }

    /// Lets `skip` calls pass first.
    #[must_use]
    pub fn after_calls(self, skip: u32) -> Self {
        Self { skip, ..self }
    }

    /// Applies only to calls for one account.
    #[must_use]
    pub fn for_account(self, app_id: impl Into<String>) -> Self {
        Self { app_id: Some(app_id.into()), ..self }
    }
}

/// Takes the fault that applies to this call, if any. `paths` are the alternative names of the call.
pub(crate) fn take_fault(
    faults: &mut Vec<InjectedFault>,
    paths: &[&str],
    app_id: Option<&str>,
) -> Option<FaultKind> {
    let index = faults.iter_mut().position(|fault| {
        let here =
            paths.iter().any(|path| fault.path == *path || (fault.path == "*" && path.starts_with('/')));
        if !here || fault.app_id.as_deref().is_some_and(|only| Some(only) != app_id) {
            return false;
        }
        if fault.skip > 0 {
            fault.skip -= 1;
            return false;
        }
        true
    })?;
    let fault = faults.get_mut(index)?;
    fault.times = fault.times.saturating_sub(1);
    let kind = fault.kind.clone();
    if fault.times == 0 {
        faults.remove(index);
    }
    Some(kind)
}

/// Corrupts a correct page of `user/get`. `before` is the page that ended at `next_openid`.
pub(crate) fn corrupt_page(kind: &FaultKind, page: &mut Value, next_openid: &str, before: Vec<String>) {
    match kind {
        FaultKind::DuplicatePage if !before.is_empty() => {
            *page = json!({
                "total": page.get("total"), "count": before.len(),
                "next_openid": before.last(), "data": {"openid": before},
            });
        }
        FaultKind::EmptyData => {
            *page =
                json!({"total": page.get("total"), "count": 0, "data": {"openid": []}, "next_openid": ""});
        }
        FaultKind::CountMismatch => {
            set(page, "count", json!(page.get("count").and_then(Value::as_i64).unwrap_or(0) + 7))
        }
        FaultKind::NullList => set(page, "data", json!({"openid": null})),
        FaultKind::StuckCursor => set(page, "next_openid", json!(next_openid)),
        _ => {}
    }
}

fn set(page: &mut Value, key: &str, value: Value) {
    if let Some(page) = page.as_object_mut() {
        page.insert(key.into(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_where_and_as_often_as_it_says() {
        let mut faults =
            vec![InjectedFault::once("/a", FaultKind::Timeout).after_calls(1).times(2).for_account("wx1")];
        let mut struck = |path: &str, app: &str| take_fault(&mut faults, &[path], Some(app)).is_some();
        for (what, path, app, expected) in [
            ("another path", "/b", "wx1", false),
            ("another account", "/a", "wx2", false),
            ("the skipped one", "/a", "wx1", false),
            ("the first", "/a", "wx1", true),
            ("the second", "/a", "wx1", true),
            ("spent", "/a", "wx1", false),
        ] {
            assert_eq!(struck(path, app), expected, "{what}");
        }
    }

    #[test]
    fn faults_are_written_in_json_with_their_kind() {
        let fault: InjectedFault =
            serde_json::from_str(r#"{"path":"/a","kind":"error","errcode":-1,"times":3}"#).unwrap();
        assert_eq!(fault, InjectedFault::once("/a", FaultKind::Error { errcode: -1 }).times(3));
    }
}
