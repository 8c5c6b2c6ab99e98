//! Sends messages to fans: by WeChat's rules, once, and in order for each fan.
//!
//! A batch is handled in rounds: the first job of every group, then the second, and so on: one request
//! to the database then serves a whole round. If a job fails, the rest of its group waits with it.
//!
//! A message that waits for something outside (WeChat, a token, a quota) waits in a timer ([`park`]), limited
//! by its age to a day, and later messages to the same fan wait behind it.

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

/// The settings that it may read.
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
    // What an instance has observed. Lambda runs one batch at a time; elsewhere each has its own.
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
