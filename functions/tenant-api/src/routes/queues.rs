//! The queues between functions, for the operator.

use std::sync::Arc;

use axum::{Json, extract::State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared::{model::audit::PLATFORM_TENANT, problem::Problem, queue::JobQueue, services::Services};
use utoipa::ToSchema;

use crate::{
    audit::audited,
    caller::Caller,
    extract::{JsonBody, Page, Path, timestamp, timestamp_ms},
};

/// How long one call moves dead letters, seconds: API Gateway waits for 30.
const REDRIVE_SECONDS: i64 = 20;

/// How full a queue is.
#[derive(Serialize, ToSchema)]
#[schema(as = Queue, example = json!({
    "name": "send", "waiting": 12, "in_flight": 20, "delayed": 0, "dead_letters": 1
}))]
pub struct QueueState {
    /// Its name.
    name: String,
    /// Jobs that wait for somebody, roughly.
    waiting: u64,
    /// Jobs that somebody has, roughly.
    in_flight: u64,
    /// Jobs whose time has not come, roughly.
    delayed: u64,
    /// Jobs that were given up, roughly.
    dead_letters: u64,
}

/// List queues
///
/// How full the queues between functions are, as SQS counts them. `tick` has dead letters alone: ticks that were not
/// handed over. How old a queue's oldest job is only CloudWatch says (`ApproximateAgeOfOldestMessage`). Takes the
/// operator's key.
#[utoipa::path(get, path = "/v1/platform/queues", tag = "Platform",
    responses((status = 200, description = "All queues", body = Page<QueueState>)))]
pub async fn list_queues(State(app): State<Arc<Services>>) -> Result<Json<Page<QueueState>>, Problem> {
    let data = app.queues.depths().await?.into_iter().map(|depth| QueueState {
        name: depth.name,
        waiting: depth.waiting,
        in_flight: depth.in_flight,
        delayed: depth.delayed,
        dead_letters: depth.dead_letters,
    });
    Ok(Json(Page { data: data.collect(), next_cursor: None }))
}

/// A job that was given up, without what is in it.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "id": "5fea7756-0ea4-451a-a703-a558b933e274", "job": "authorized_v2", "queued_at": "2026-01-15T08:30:00.120Z",
    "age_seconds": 7200, "last_error": "the platform's own token: 40164: invalid ip", "failed_at": "2026-01-15T09:42:10Z",
    "receives": 40
}))]
pub struct DeadLetter {
    /// SQS's id of the message.
    id: String,
    /// What kind of job; null where it is none that this release knows.
    job: Option<String>,
    /// When it was queued.
    #[schema(value_type = String, format = DateTime)]
    queued_at: Timestamp,
    /// How long ago that was.
    age_seconds: i64,
    /// What stopped it the last time: the function's own words, WeChat's errcode, or AWS's. SQS keeps none, so the function
    /// that fails a job for the last time notes it; null where it could not: it died with the job, out of time or of
    /// memory, which its log tells, or the database did not answer.
    last_error: Option<String>,
    /// When that was; null where nothing was noted.
    #[schema(value_type = Option<String>, format = DateTime)]
    failed_at: Option<Timestamp>,
    /// How often it had been received by then; null where nothing was noted.
    receives: Option<u32>,
}

/// List dead letters
///
/// Up to 50 jobs of a queue that were given up, oldest first, and why: never what is in them, which are people's words. Of
/// `send` at most ten of one follower. It is on record, as `queue.dead_letters_listed`. Takes the operator's key.
#[utoipa::path(get, path = "/v1/platform/queues/{name}/dead-letters", tag = "Platform",
    params(("name" = String, Path, description = "The queue's name")),
    responses((status = 200, description = "Some of its dead letters", body = Page<DeadLetter>)))]
pub async fn list_dead_letters(
    State(app): State<Arc<Services>>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<Page<DeadLetter>>, Problem> {
    require_queue(&app, &name)?;
    let now = app.clock.now().as_millisecond();
    // audited although it reads: receiving hides the shown letters for a while
    let letters = audited(&app, &caller, PLATFORM_TENANT, "queue.dead_letters_listed", &name, async {
        Ok(app.queues.dead_letters(&name).await?)
    })
    .await?;
    let jobs: Vec<&str> = letters.iter().map(|letter| letter.fingerprint.as_str()).collect();
    let failures = app.store.job_failures().get_many(&jobs).await?;
    let data = letters.into_iter().map(|letter| {
        let failure = failures.get(&letter.fingerprint);
        DeadLetter {
            id: letter.id,
            job: letter.job,
            queued_at: timestamp_ms(letter.queued_at),
            age_seconds: (now - letter.queued_at).max(0) / 1000,
            last_error: failure.map(|failure| failure.why.clone()),
            failed_at: failure.map(|failure| timestamp(failure.at)),
            receives: failure.map(|failure| failure.receives),
        }
    });
    Ok(Json(Page { data: data.collect(), next_cursor: None }))
}

/// How many were moved.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"moved": 12}))]
pub struct Moved {
    /// Jobs that are in their queue again. 200 may mean that there are more: call it again.
    moved: usize,
}

/// No members.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RedriveRequest)]
pub struct RedriveRequest {}

/// Move dead letters back
///
/// At most 200 in one call. Mend first what made them fail, or they come back. Takes the operator's key.
#[utoipa::path(post, path = "/v1/platform/queues/{name}/redrive", tag = "Platform",
    params(("name" = String, Path, description = "The queue's name")),
    responses(
        (status = 200, description = "They are in their queue again", body = Moved),
        (status = 409, description = "`not_redrivable`, `request_in_progress`", body = Problem,
            content_type = "application/problem+json")))]
pub async fn redrive(
    State(app): State<Arc<Services>>,
    caller: Caller,
    Path(name): Path<String>,
    JsonBody(_nothing): JsonBody<RedriveRequest>,
) -> Result<Json<Moved>, Problem> {
    require_queue(&app, &name)?;
    let until = app.clock.unix() + REDRIVE_SECONDS;
    audited(&app, &caller, PLATFORM_TENANT, "queue.redriven", &name, async {
        let Some(target) = JobQueue::from_name(&name) else {
            return Err(Problem::conflict("not_redrivable", "A tick comes again by itself, each minute."));
        };
        let moved = app.queues.redrive(target, || app.clock.unix() < until).await?;
        Ok(Json(Moved { moved }))
    })
    .await
}

fn require_queue(app: &Services, name: &str) -> Result<(), Problem> {
    if app.queues.has_dead_letters(name) { Ok(()) } else { Err(Problem::not_found("queue")) }
}
