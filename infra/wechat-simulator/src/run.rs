//! What WeChat does on its own: it pushes a ticket every ten minutes, and queued pushes.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::log::{PushDelivery, PushOutcome};
use crate::simulator::Simulator;

/// Pause after a failed ticket push. Shorter than WeChat's: the hub may just have been started.
const TICKET_RETRY: Duration = Duration::from_secs(3);
/// How old an unsaved change may get.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);

impl Simulator {
    /// Pushes tickets and queued pushes until `shutdown`. Pushes in flight are dropped then, as when WeChat
    /// cannot reach a hub.
    pub async fn run(&self, shutdown: impl Future<Output = ()>) {
        let mut shutdown = std::pin::pin!(shutdown);
        let mut deliveries: JoinSet<PushDelivery> = JoinSet::new();
        let mut next_ticket = Instant::now();
        let mut save = tokio::time::interval(SAVE_INTERVAL);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                () = tokio::time::sleep_until(next_ticket) => {
                    next_ticket = Instant::now() + Duration::from_secs(self.settings().ticket_interval.max(1));
                    self.with_world(|mut world| world.queue_ticket());
                }
                () = self.wake().notified() => self.spawn_queued(&mut deliveries),
                Some(Ok(delivery)) = deliveries.join_next(), if !deliveries.is_empty() => {
                    if delivery.kind == "component_verify_ticket" && delivery.outcome == PushOutcome::Failed {
                        next_ticket = next_ticket.min(Instant::now() + TICKET_RETRY);
                    }
                }
                _ = save.tick() => self.save_now(),
            }
        }
        self.save_now();
    }

    /// Sends all queued pushes, one after the other: for tests without [`Simulator::run`].
    pub async fn deliver_pending(&self) -> Vec<PushDelivery> {
        let mut done = Vec::new();
        loop {
            let next = self.state().outbox.pop_front();
            let Some(push) = next else { return done };
            done.push(self.deliver(push).await);
        }
    }

    fn spawn_queued(&self, deliveries: &mut JoinSet<PushDelivery>) {
        let queued: Vec<_> = self.state().outbox.drain(..).collect();
        for push in queued {
            let simulator = self.clone();
            deliveries.spawn(async move {
                tokio::time::sleep(Duration::from_millis(push.delay_ms)).await;
                simulator.deliver(push).await
            });
        }
    }
}
