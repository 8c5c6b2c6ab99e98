//! Histories that were found, as plain tests: each names what it found.

use crate::{check, on_paused_time, ops::History, run::Run, world::chaos::Fate};

/// One bound account with nine followers, quiet.
async fn bound() -> Run {
    let history = History { followers: [9, 2, 2], bound: [true, false, false], ops: Vec::new() };
    let run = Run::new(1, &history).await;
    run.world.quiet().await;
    run
}

/// A binding died after its import was written and before the first job was queued; its repetition found the import
/// started already, which then ran for ever.
#[test]
fn a_binding_that_died_before_the_first_job_begins_the_import_when_it_comes_again() {
    on_paused_time(async {
        let run = bound().await;
        run.world.advance(120).await;
        run.world.sim().unauthorize(&run.apps[0], true).unwrap();
        run.world.quiet().await;
        run.world.base.chaos.strike("page_v1", Fate::Lost);
        run.world.bind(&run.keys[0], &run.apps[0], false, true).await;
        run.world.quiet().await;
        check::imports(&run);
        check::fans_are_the_followers(&run, 0);
    });
}
