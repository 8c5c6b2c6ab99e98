//! Load test of the whole on one machine: the real program, its database in a fresh file, beside a simulated
//! WeChat that takes 50 ms for every call.
//!
//! `cargo bench -p oahub-tests --bench load` measures all at full size in five minutes. Arguments choose
//! parts and sizes: `-- import=25000`, `-- callbacks send=2000`, `-- counts`. Run by `cargo test` it does the same
//! at small size, without measuring: it only checks that nothing is lost and nothing happens twice.
//!
//! | room | what it measures |
//! |---|---|
//! | `bound_account` | an import of followers, whose account the others use |
//! | `callbacks` | followers' messages, at a steady rate and at the highest that the hub keeps up with |
//! | `send` | customer-service messages, from the first accepted to the last sent |
//! | `fairness` | another tenant's pushes and messages, while one floods 50,000 messages beyond its quota |
//! | `counts` | requests to the database for each of these |
//! | `reference` | what this machine can do at all |

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "what does not hold ends the run")]

mod bound_account;
mod callbacks;
mod counts;
mod fairness;
mod open_loop;
mod plan;
mod reference;
mod report;
mod send;

use plan::Plan;
use report::Report;

fn main() {
    let plan = Plan::from(std::env::args().skip(1));
    let report = oahub_tests::run(run(&plan));
    if plan.measures {
        print!("{report}");
    }
}

async fn run(plan: &Plan) -> Report {
    let mut report = Report::default();
    if plan.reference {
        reference::measure(&mut report).await;
    }
    if plan.import || plan.callbacks || plan.send || plan.fair {
        let stage = bound_account::LoadTestHub::new("warn").await;
        let play = stage.import(plan, &mut report).await;
        if plan.callbacks {
            callbacks::measure(&play, plan, &mut report).await;
        }
        if plan.send {
            send::measure(&play, plan, &mut report).await;
        }
        if plan.fair {
            fairness::measure(&play, plan, &mut report).await;
        }
        report.memory(&stage);
    }
    if plan.counts {
        counts::measure(&mut report).await;
    }
    report
}
