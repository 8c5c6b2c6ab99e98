//! What went wrong with consents once, as plain tests: each names what it found.

use std::time::Duration;

use wechat_simulator::{Fault, FaultKind};

use crate::{consent::Run, on_paused_time, world::chaos::Fate};

const EXCHANGE: &str = "/cgi-bin/component/api_query_auth";
const DETAILS: &str = "/cgi-bin/component/api_get_authorizer_info";

/// Time passes as it does for a schedule that runs.
async fn minutes(run: &Run, minutes: u32) {
    for _ in 0..minutes {
        tokio::time::sleep(Duration::from_secs(60)).await;
        run.world.tick().await;
        run.world.work(3).await;
    }
}

/// The first account, bound to the first tenant, with a page of a second consent that is open.
async fn bound(seed: u64) -> Run {
    let run = Run::new(seed).await;
    assert_eq!(run.world.bind(&run.keys[0], &run.apps[0], true, true).await, Some(200));
    run.world.quiet().await;
    run.world.advance(120).await;
    run
}

/// An account whose tokens had died was authorized again, and WeChat's code gave nothing that was stored: it was bound with
/// the dead tokens of before, failed every message, and was unbound within two hours.
#[test]
fn a_new_consent_does_not_inherit_the_dead_tokens_of_the_old_one() {
    for ended in ["withdrawn", "another password"] {
        for lost in ["no refresh token comes", "the answer is lost", "the write fails", "the code is old"] {
            on_paused_time(async {
                let run = bound(7).await;
                let (world, app) = (&run.world, run.apps[0].as_str());
                let sim = world.sim();
                if ended == "withdrawn" {
                    world.withdraw(app, false);
                } else {
                    sim.fail_refreshes(app, 42007);
                }
                world.advance(7_000).await;
                minutes(&run, 2).await;
                assert!(!world.bound(app), "{ended}: nobody noticed");
                sim.clear_faults();
                let lifetime = sim.settings().auth_code_lifetime;
                match lost {
                    "the answer is lost" => sim.fault(Fault::once(EXCHANGE, FaultKind::LostResponse)),
                    "the write fails" => world.base.chaos.strike("authorized_by", Fate::Lost),
                    "the code is old" => sim.configure(|habits| habits.auth_code_lifetime = -1),
                    _ => {}
                }
                let page = world.open(&run.keys[0]).await.unwrap();
                world.consent(&page, app, true, lost != "no refresh token comes").unwrap();
                sim.configure(|habits| habits.auth_code_lifetime = lifetime);
                world.quiet().await;
                assert!(world.bound(app), "{ended}, {lost}");
                run.bound_accounts_can_be_used().await;
                world.advance(7_800).await;
                minutes(&run, 2).await;
                assert!(world.bound(app), "{ended}, {lost}: unbound though its grant stands");
                run.bound_accounts_can_be_used().await;
            });
        }
    }
}

/// The job of a consent that was refused came late: it deleted the tokens of a good one, at that very moment.
#[test]
fn a_refused_consent_leaves_the_tokens_of_a_good_one() {
    on_paused_time(async {
        let run = Run::new(3).await;
        let (world, key, app) = (&run.world, run.keys[0].as_str(), run.apps[0].as_str());
        // on a link for another account, which only a hand that changes WeChat's address can do
        let wrong = world.open_for(key, Some(&run.apps[1])).await.unwrap();
        let back = world.consent(&wrong, app, true, true).unwrap();
        world.browse(&back, &wrong.cookies).await.unwrap();
        world.sim().deliver_pending().await; // its job waits
        world.advance(30).await;
        let good = world.open(key).await.unwrap();
        let back = world.consent(&good, app, false, true).unwrap();
        world.sim().fault(Fault::once(DETAILS, FaultKind::LateAnswer { ms: 4_000 }));
        let late = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            world.work(1).await
        };
        let (page, came) = tokio::join!(world.browse(&back, &good.cookies), late);
        assert!(came > 0, "the job of the other consent did not come");
        assert_eq!(page.unwrap().0, 200);
        assert!(world.bound(app), "the good consent did not bind");
        run.bound_accounts_can_be_used().await;
    });
}

/// The administrator thought better of it after WeChat had told the hub of the account, and before it was bound: the event
/// met an account that was not bound, and was forgotten.
#[test]
fn an_authorization_that_is_withdrawn_while_it_is_being_bound_unbinds() {
    on_paused_time(async {
        let run = Run::new(5).await;
        let (world, app) = (&run.world, run.apps[0].as_str());
        let page = world.open(&run.keys[0]).await.unwrap();
        let back = world.consent(&page, app, false, true).unwrap();
        world.sim().fault(Fault::once(DETAILS, FaultKind::LateAnswer { ms: 4_000 }));
        let withdrawn = async {
            tokio::time::sleep(Duration::from_secs(4)).await; // half of it passes in wait for the event
            world.withdraw(app, true);
            world.sim().deliver_pending().await;
        };
        let (page, ()) = tokio::join!(world.browse(&back, &page.cookies), withdrawn);
        assert_eq!(page.unwrap().0, 200);
        assert!(world.bound(app), "it was to be withdrawn in between");
        minutes(&run, 3).await;
        assert!(!world.bound(app), "bound, and its grant is withdrawn");
    });
}
