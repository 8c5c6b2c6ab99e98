//! Every minute, refreshes the component token and all accounts' tokens that are due.
//!
//! The tick finds the due accounts by index (a wheel of 110 one-minute slots, and a sorted list for unusual
//! lifetimes) and hands them on in batches of 25 through this function's own queue, so that 100,000 accounts
//! are 15 refreshes a second spread over short invocations. Nothing due: one invocation, 27 cheap requests.
//!
//! Then it delivers the timers that are due ([`sweep`]), and checks the hub's health for the alarms
//! ([`health_checks`]) and for the operator ([`platform_status`]).

mod batch;
pub mod health_checks;
mod platform_status;
mod sweep;
mod tick;

use std::sync::Arc;

use shared::{config::Need, function::Function, services::Services};

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
pub fn function(app: Arc<Services>) -> Function {
    let ticking = Arc::clone(&app);
    let last_import_check = Arc::new(health_checks::LastImportCheck::default());
    let last_expiring_count = Arc::new(platform_status::LastExpiringCount::default());
    Function::new()
        .schedule(move |until| {
            let (app, last_import_check, last_expiring_count) =
                (Arc::clone(&ticking), Arc::clone(&last_import_check), Arc::clone(&last_expiring_count));
            async move {
                // run one after the other, whatever fails: one failure must not stop the rest
                let ticked = tick::run(&app, until).await;
                sweep::sweep_on_tick(&app, until).await;
                health_checks::run(&app, &last_import_check).await;
                platform_status::run(&app, &last_expiring_count).await;
                ticked
            }
        })
        .sqs(move |event, until| {
            let app = Arc::clone(&app);
            async move { batch::run(&app, event, until).await }
        })
}
