//! Functions, and what calls them: routes, schedules, queues.

use std::sync::Arc;

use local_sqs::Sqs;
use shared::services::Dependencies;
use tokio::{sync::watch, task::JoinSet};

use super::start_error::StartError;
use crate::{
    event_source_mapping::{self, EventSourceMapping},
    functions::Handler,
    iam::authorizing_client,
    lambda::{FunctionTarget, concurrency::AccountConcurrency},
    options::Options,
    routes::Routes,
    schedule,
    template::{EventSpec, FunctionSpec, Template},
};

/// [`crate::functions::Resolve`] with this system's environment, of which each function sees its own part.
pub type BuildHandler<'a> = dyn Fn(&FunctionSpec, Dependencies) -> Result<Arc<dyn Handler>, StartError> + 'a;

/// Starts schedules and event source mappings; returns the routes for the gateway.
pub fn start_functions(
    template: &Template,
    parts: &Dependencies,
    find: &BuildHandler<'_>,
    options: &Options,
    stopped: &watch::Receiver<bool>,
    tasks: &mut JoinSet<()>,
) -> Result<Routes<FunctionTarget>, StartError> {
    let mut routes = Routes::default();
    let account =
        AccountConcurrency::new(options.aws.concurrency, &template.functions).map_err(StartError::Other)?;
    let wire = parts.aws.dynamodb.config().http_client();
    let wire = wire.ok_or_else(|| StartError::Other("clients that lead nowhere".into()))?;
    for spec in &template.functions {
        // each function has its own process, caches and permissions on AWS, so each gets its own clients here
        let aws = authorizing_client::clients(&spec.name, &spec.permissions, &wire, &parts.aws);
        let own = Dependencies {
            clock: Arc::clone(&parts.clock),
            random: Arc::clone(&parts.random),
            transport: Arc::clone(&parts.transport),
            aws: aws.clone(),
        };
        let code = find(spec, own)?;
        let target = FunctionTarget {
            name: spec.name.clone(),
            handler: code,
            timeout: spec.timeout,
            clock: Arc::clone(&parts.clock),
            recursive: spec.recursive,
            concurrency: account.pool(&spec.name),
        };
        for event in &spec.events {
            match event {
                EventSpec::Http { method, path } => routes.add(method, path, target.clone()),
                EventSpec::Schedule { every } => {
                    let every = options.tick.unwrap_or(*every);
                    let (clock, random) = (Arc::clone(&parts.clock), Arc::clone(&parts.random));
                    schedule::start(
                        target.clone(),
                        every,
                        options.aws.schedule_faults(),
                        clock,
                        random,
                        stopped,
                        tasks,
                    );
                }
                EventSpec::Sqs { queue, batch_size, concurrency, item_failures } => {
                    let spec = template.queues.iter().find(|q| q.logical_id == *queue);
                    let queue =
                        spec.ok_or_else(|| StartError::Other(format!("no queue {queue} in template.yaml")))?;
                    let mapping = EventSourceMapping {
                        sqs: aws.sqs.clone(),
                        queue_url: Sqs::queue_url(&queue.name),
                        visibility_timeout: queue.visibility_timeout(),
                        batch_size: *batch_size,
                        concurrency: *concurrency,
                        item_failures: *item_failures,
                        target: target.clone(),
                    };
                    event_source_mapping::start(mapping, stopped, tasks);
                }
            }
        }
    }
    Ok(routes)
}
