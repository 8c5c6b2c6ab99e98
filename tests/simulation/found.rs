//! Histories that were found, as plain tests: each names what it found.

use serde_json::json;

use crate::{
    check, on_paused_time,
    ops::History,
    run::Run,
    world::{chaos::Fate, dynamo},
};

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
        assert!(run.world.base.chaos.has_struck(), "no first job was queued");
        check::imports(&run);
        check::fans_are_the_followers(&run, 0);
    });
}

/// The runbook's way back from a lost credentials table: an item with any refresh token, due at once. WeChat refuses
/// it, and the right one is looked up in its list of authorizers.
#[test]
fn tokens_that_were_lost_come_back_from_the_authorizer_list() {
    on_paused_time(async {
        let run = bound().await;
        let (world, app) = (&run.world, &run.apps[0]);
        let item = json!({
            "pk": {"S": format!("AUTHORIZER#{app}")}, "sk": {"S": "AUTHORIZER"}, "v": {"N": "1"},
            "tenant_id": {"S": run.tenants[0]}, "refresh_token": {"S": "lost"},
            "due": {"S": "AT#0"}, "due_at": {"N": "0"},
        });
        dynamo::raw(&world.base.db, "PutItem", &json!({"TableName": "CredentialsTable", "Item": item}));
        world.tick().await;
        world.quiet().await;
        let found = world.app().store.authorizer(app).await.unwrap().unwrap();
        assert!(found.token.is_some(), "no token");
        assert_ne!(found.refresh_token.expose(), "lost");
        assert!(found.wheel_slot().is_some(), "it has no turn: {:?}", found.due);
    });
}
