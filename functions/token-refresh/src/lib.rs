//! Every minute, refreshes the component token and all accounts' tokens that are due.
//!
//! The tick finds the due accounts by index (a wheel of 110 one-minute slots, and a sorted list for unusual
//! lifetimes) and hands them on in batches of 25 through this function's own queue, so that 100,000 accounts
//! are 15 refreshes a second spread over short invocations. Nothing due: one invocation, 27 cheap requests.
//!
//! Then it delivers the timers that are due ([`sweep`]), and checks the hub's health for the alarms
//! ([`health_checks`]) and for the operator ([`platform_status`]).

mod batch;
mod status;
mod sweep;
mod tick;
pub mod watch;

use std::sync::Arc;

use shared::{app::App, config::Need, function::Function};

/// The settings that it may read.
pub const NEEDS: &[Need] = &[
    Need::ComponentAppId,
    Need::AppSecret,
    Need::WeChatApi,
    Need::Sweepers,
    Need::PlatformTable,
    Need::CredentialsTable,
    Need::WorkTable,
    Need::RefreshQueue,
    Need::ImportQueue,
    Need::FollowerQueue,
    Need::SendQueue,
];

/// The function.
#[must_use]
pub fn function(app: Arc<App>) -> Function {
    let ticking = Arc::clone(&app);
    let state = Arc::new(watch::State::default());
    let noted = Arc::new(status::State::default());
    Function::new()
        .schedule(move |until| {
            let (app, state, noted) = (Arc::clone(&ticking), Arc::clone(&state), Arc::clone(&noted));
            async move {
                // run one after the other, whatever fails: one failure must not stop the rest
                let ticked = tick::run(&app, until).await;
                sweep::tick(&app, until).await;
                watch::run(&app, &state).await;
                status::run(&app, &noted).await;
                ticked
            }
        })
        .sqs(move |event, until| {
            let app = Arc::clone(&app);
            async move { batch::run(&app, event, until).await }
        })
}
