//! Sends messages to fans: by WeChat's rules, once, and in order for each fan.
//!
//! A batch is handled in rounds: the first job of every group, then the second, and so on: one request
//! to the database then serves a whole round. If a job fails, the rest of its group waits with it.
//!
//! A message that waits for something outside (WeChat, a token, a quota) waits in a timer ([`park`]), limited
//! by its age to a day, and later messages to the same fan wait behind it. [`states`] lists the states of a
//! message, and what leads from one to the next.
//!
//! To read it: [`batch`] → [`round`] → [`admission`] → [`lease`] → [`send`] → [`call`] → [`record`].

mod account_context;
mod admission;
mod batch;
mod call;
mod channel_choice;
mod fair_share;
mod lease;
mod park;
mod record;
mod recovery;
mod release_check;
mod retry_policy;
mod round;
mod send;
mod states;
mod template_result;
mod work;

use std::sync::{Arc, Mutex, PoisonError};

use fair_share::FairShare;
use shared::{config::Need, function::Function, queue::batch::read_batch, services::Services};

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
pub fn function(app: Arc<Services>) -> Function {
    // What an instance has observed. Lambda runs one batch at a time; elsewhere each has its own.
    let idle: Arc<Mutex<Vec<FairShare>>> = Arc::default();
    Function::new().sqs(move |event, until| {
        let (app, idle) = (Arc::clone(&app), Arc::clone(&idle));
        async move {
            let shares = idle.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
            let undone = batch::run(&app, &shares, read_batch(event), until).await;
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(shares);
            undone
        }
    })
}
