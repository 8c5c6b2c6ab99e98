//! Messages to fans: decided by WeChat's rules, sent once, in order for each fan.
//!
//! A batch goes in rounds: the first job of every group, then the second, and so on, so that one request to the
//! database serves a whole round. After a job that failed, the rest of its group waits with it.
//!
//! What waits for something outside (a WeChat that answers, a token, a quota) waits in a timer ([`park`]), by its age and
//! for a day at most, and what is sent to the same fan later waits behind it.

mod batch;
mod claim;
mod decide;
mod found;
mod ground;
mod outcome;
mod park;
mod record;
mod release_check;
mod send;
mod shares;
mod template_result;

use std::sync::Arc;

use shared::{app::App, config::Need, function::Function, queue::batch::items};

/// What it is told, and nothing else.
pub const NEEDS: &[Need] = &[
    Need::ComponentAppId,
    Need::AppSecret,
    Need::WeChatApi,
    Need::TimelineDays,
    Need::PlatformTable,
    Need::CredentialsTable,
    Need::CustomersTable,
    Need::TimelineTable,
    Need::WorkTable,
    Need::SendQueue,
    Need::ResultQueue,
];

/// The function: takes `SendJob`s from its queue.
#[must_use]
pub fn function(app: Arc<App>) -> Function {
    let shares = Arc::new(shares::Shares::default());
    Function::new().sqs(move |event, until| {
        let (app, shares) = (Arc::clone(&app), Arc::clone(&shares));
        async move { batch::run(&app, &shares, items(event), until).await }
    })
}
