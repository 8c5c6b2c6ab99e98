//! Messages to fans: decided by WeChat's rules, sent once, in order for each fan.
//!
//! A batch goes in rounds: the first job of every group, then the second, and so on, so that one request to the
//! database serves a whole round. After a job that failed, the rest of its group waits with it.
//!
//! What waits for something outside (a WeChat that answers, a token, a quota) waits in a timer ([`park`]), by its age and
//! for a day at most, and what is sent to the same fan later waits behind it.

mod batch;
mod begin;
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
mod work;

use std::sync::{Arc, Mutex, PoisonError};

use shared::{app::App, config::Need, function::Function, queue::batch::items};
use shares::Shares;

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
    // What an instance has seen. On Lambda one takes one batch at a time; where several run at once here, each has its own.
    let idle: Arc<Mutex<Vec<Shares>>> = Arc::default();
    Function::new().sqs(move |event, until| {
        let (app, idle) = (Arc::clone(&app), Arc::clone(&idle));
        async move {
            let shares = idle.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
            let undone = batch::run(&app, &shares, items(event), until).await;
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(shares);
            undone
        }
    })
}
