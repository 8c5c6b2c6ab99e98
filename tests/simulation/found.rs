//! Histories that were found, as plain tests: each names what it found.

use crate::{check, on_paused_time, ops::History, run::Run, world::chaos::Fate};

/// One bound account with nine followers, quiet.
async fn bound() -> Run {
    let history = History { followers: [9, 2, 2], bound: [true, false, false], ops: Vec::new() };
    let run = Run::new(1, &history).await;
    run.world.quiet().await;
    run
}

/// An import was written, its first job was not queued: it ran for ever, and refused every other.
#[test]
fn an_import_whose_first_job_was_lost_begins_when_it_is_asked_for_again() {
    on_paused_time(async {
        for (what, fate) in [("a lost request", Fate::Lost), ("a crash", Fate::Crash)] {
            let run = bound().await;
            let path = format!("/v1/accounts/{}/imports", run.apps[0]);
            run.world.base.chaos.strike("page_v1", fate);
            let answer = run.world.api(&run.keys[0], "POST", &path, None, None).await;
            assert!(answer.is_none_or(|(status, _)| status >= 500), "{what}");
            run.world.quiet().await;
            if what == "a lost request" {
                assert!(check::import_never_began(&run, &run.apps[0]), "{what}");
            }
            run.world.api(&run.keys[0], "POST", &path, None, None).await.unwrap();
            run.world.quiet().await;
            check::imports(&run);
            check::fans_are_the_followers(&run, 0);
        }
    });
}

/// A binding died between the two, and its repetition found the import started already.
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
