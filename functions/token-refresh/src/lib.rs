//! Every minute: the component token, and all accounts' tokens that are due.
//!
//! The tick finds the due accounts by index (a wheel of 110 one-minute slots, and a sorted list for unusual
//! lifetimes) and hands them on in batches of 25 through this function's own queue, so that 100,000 accounts
//! are 15 refreshes a second spread over short invocations. Nothing due: one invocation, five cheap queries.

mod batch;
mod tick;

use std::sync::Arc;

use shared::{app::App, function::Function};

/// The function.
#[must_use]
pub fn function(app: Arc<App>) -> Function {
    let ticking = Arc::clone(&app);
    let state = Arc::new(tick::State::default());
    Function::new()
        .schedule(move || {
            let (app, state) = (Arc::clone(&ticking), Arc::clone(&state));
            async move { tick::run(&app, &state).await }
        })
        .sqs(move |event| {
            let app = Arc::clone(&app);
            async move { batch::run(&app, event).await }
        })
}
