//! How long a page may take.

use std::time::Duration;

use axum::response::Response;
use shared::{error::Error, model::binding::Binding, services::Services, texts::Lang};

use super::{link::bind_page_url, result};

/// How long the bind page waits for a pre_auth_code, and the callback page for WeChat, before they show an
/// error. With the routes' rates this bounds the invocations that pages can hold (see the test below).
pub(super) const BIND_PAGE_TIMEOUT: Duration = Duration::from_secs(5);
pub(super) const CALLBACK_TIMEOUT: Duration = Duration::from_secs(10);

/// Returns the page that `work` makes, or an error page. `work` is dropped after `longest`, which is as safe
/// as a crash: every step of a binding may be repeated.
pub(super) async fn with_timeout(
    longest: Duration,
    app: &Services,
    lang: Lang,
    binding: &Binding,
    work: impl Future<Output = Result<Response, Error>>,
) -> Response {
    let retry_url = bind_page_url(app, binding);
    match tokio::time::timeout(longest, work).await {
        Ok(Ok(page)) => page,
        Ok(Err(Error::NoTicket)) => result::no_ticket(app, lang),
        Ok(Err(error)) => result::unavailable(app, lang, &error, Some(&retry_url)),
        Err(too_slow) => result::unavailable(app, lang, &too_slow, Some(&retry_url)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number after `name` in a line of the template that begins like this.
    fn number(line: &str, name: &str) -> u64 {
        let template = include_str!("../../../../template.yaml");
        let mut after = template.lines().filter(|at| at.trim_start().starts_with(line));
        let digits = after.next().unwrap().split(name).nth(1).unwrap();
        digits.split(|c: char| !c.is_ascii_digit()).find(|part| !part.is_empty()).unwrap().parse().unwrap()
    }

    #[test]
    fn pages_however_many_are_asked_for_leave_invocations_for_tickets() {
        let held = |route: &str, longest: Duration| {
            number(route, "ThrottlingBurstLimit:") + number(route, "ThrottlingRateLimit:") * longest.as_secs()
        };
        let pages = held("GET /bind/{binding_id}:", BIND_PAGE_TIMEOUT)
            + held("GET /bind/callback:", CALLBACK_TIMEOUT);
        let template = include_str!("../../../../template.yaml");
        let function = template.split("\n  AuthorizationCallback:\n").nth(1).unwrap();
        let of_function = |name: &str| -> u64 {
            let line = function.split(name).nth(1).unwrap().lines().next().unwrap();
            line.rsplit(',').next().unwrap().trim().trim_end_matches([']', '}', ' ']).parse().unwrap()
        };
        let (reserved, jobs) =
            (of_function("ReservedConcurrentExecutions:"), of_function("MaximumConcurrency:"));
        assert!(pages + jobs + 15 <= reserved, "{pages} by pages and {jobs} by jobs, of {reserved}");
    }
}
