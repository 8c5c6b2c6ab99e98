//! What can happen, and how a seed makes a history of it.

use oahub_harness::faults::FaultRates;
use rand::{RngExt as _, SeedableRng, seq::IndexedRandom as _};
use rand_chacha::ChaCha8Rng;

/// Accounts: the first two belong to the first tenant, the third to the other.
pub const ACCOUNTS: usize = 3;
/// Fans of an account who act: half of them follow from the start.
pub const FANS: usize = 4;

/// Texts that look like XML or like other messages, to catch wrong parsing. One that contains `more`
/// matches the rule of [`FanOpKind::AskForMore`].
const TRICKY_TEXTS: [&str; 6] = [
    "<a><![CDATA[b]]></a>",
    "x]]> <br> y",
    "if (a[b[0]]>1) stop",
    "more]]></Content><MsgId>1</MsgId><Content><![CDATA[of it",
    "]]></Content><MsgType><![CDATA[event]]></MsgType><Event><![CDATA[unsubscribe]]></Event><Content><![CDATA[",
    "<xml><ToUserName><![CDATA[gh_1]]></ToUserName><FromUserName><![CDATA[oOther]]></FromUserName><CreateTime>1\
     </CreateTime><MsgType><![CDATA[text]]></MsgType><Content><![CDATA[more]]></Content><MsgId>1</MsgId></xml>",
];

/// What a fan does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FanOpKind {
    Follow,
    FollowByCode,
    Unfollow,
    /// Writes a keyword whose rule gives a passive reply.
    Ask,
    /// Writes a keyword whose rule sends a customer-service message.
    AskForMore,
    /// Writes any other text.
    Chat,
    /// Writes a text that ends its own CDATA section, which WeChat does not escape.
    Paste(&'static str),
    Click,
    Scan,
}

/// One action of one fan of one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FanOp {
    pub account: usize,
    pub fan: usize,
    pub kind: FanOpKind,
}

/// A step of a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// The administrator binds the account; the browser may not return, and the event may be lost.
    Bind {
        account: usize,
        returns: bool,
        event: bool,
    },
    /// The administrator authorizes on WeChat's own pages, again or for the first time.
    Authorize {
        account: usize,
    },
    Unauthorize {
        account: usize,
        event: bool,
    },
    /// The tenant deletes the account.
    Delete {
        account: usize,
    },
    Act(FanOp),
    /// The same, and the push is delivered again when old pushes are.
    ActAndRepeatLater(FanOp),
    /// Several fans act at the same time.
    Burst(Vec<FanOp>),
    /// A program sends a message, in `times` concurrent requests.
    Send {
        account: usize,
        fan: usize,
        content: bool,
        template: bool,
        keyed: bool,
        times: usize,
    },
    Import {
        account: usize,
    },
    /// WeChat reports the result of a broadcast.
    BroadcastReport {
        account: usize,
    },
    /// The tenant sets reply rules with another text.
    SetReplyRules {
        account: usize,
        version: u32,
    },
    /// Processes so many batches of each queue concurrently.
    ProcessBatches {
        batches: u32,
    },
    /// Batches that were handled are delivered again.
    RedeliverBatches,
    /// Old pushes are delivered again.
    RedeliverPushes,
    Tick,
    Advance {
        seconds: i64,
    },
    /// All warm instances are dropped.
    DropWarmInstances,
    /// WeChat revokes tokens (40001) or expires them (42001); the platform's own if no account is given.
    EndTokens {
        account: Option<usize>,
        revoke: bool,
    },
    /// Whether each refresh returns a new refresh token from now on.
    RotateRefreshTokens(bool),
    /// A quota is used up: so many calls fail.
    ExhaustQuota {
        path: &'static str,
        times: u32,
    },
    /// WeChat sends, and so many answers to it are lost.
    LoseSendAnswers {
        path: &'static str,
        times: u32,
    },
    /// WeChat returns this text unescaped in a fan's details from now on.
    UnescapedRemark {
        account: usize,
        fan: usize,
        text: &'static str,
    },
    /// So many pushes of messages and events are never sent.
    DropPushes {
        times: u32,
    },
    /// The first job of the next import is lost.
    LoseFirstJob,
    /// Each fault has this rate from now on.
    SetFaults(FaultRates),
}

/// A history.
#[derive(Debug)]
pub struct History {
    /// Followers of each account from the start.
    pub followers: [u64; ACCOUNTS],
    /// Which accounts are bound from the start.
    pub bound: [bool; ACCOUNTS],
    /// What happens.
    pub ops: Vec<Op>,
}

/// Generates the history of a seed.
pub fn generate(seed: u64) -> History {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let followers = std::array::from_fn(|_| *[2, 3, 9, 23].choose(&mut rng).unwrap());
    let bound = [3, 1, 2].map(|quarters| rng.random_range(0..4) < quarters);
    let steps = rng.random_range(5..=20);
    let mut ops: Vec<Op> = (0..steps).map(|_| random_op(&mut rng)).collect();
    ops.insert(0, Op::SetFaults(random_faults(&mut rng)));
    match rng.random_range(0..STORY_ONE_IN) {
        0 => weave(&mut rng, &mut ops, late_push_after_unbinding),
        1 => weave(&mut rng, &mut ops, answer_lost_before_tokens_end),
        2 => weave(&mut rng, &mut ops, quota_used_up_before_a_message),
        _ => {}
    }
    History { followers, bound, ops }
}

/// Of so many histories, one has each of the stories below: steps that lead to a rare state which steps drawn one
/// by one reach in less than one of a hundred histories.
const STORY_ONE_IN: u32 = 16;
/// Most steps between two of a story.
const MAX_STEPS_BETWEEN: usize = 2;

/// Puts the steps of a story among the others, in their order and close to each other.
fn weave(rng: &mut ChaCha8Rng, ops: &mut Vec<Op>, story: fn(&mut ChaCha8Rng) -> Vec<Op>) {
    let mut at = rng.random_range(1..=ops.len());
    for op in story(rng) {
        ops.insert(at, op);
        at = (at + 1 + rng.random_range(0..=MAX_STEPS_BETWEEN)).min(ops.len());
    }
}

/// A push comes again after its account was unbound.
fn late_push_after_unbinding(rng: &mut ChaCha8Rng) -> Vec<Op> {
    let account = random_account(rng);
    let kinds = [FanOpKind::Ask, FanOpKind::AskForMore, FanOpKind::Chat, FanOpKind::Click];
    let act = FanOp { account, fan: random_early_fan(rng), kind: *kinds.choose(rng).unwrap() };
    vec![
        Op::ActAndRepeatLater(act),
        Op::Unauthorize { account, event: true },
        Op::ProcessBatches { batches: 3 },
        Op::Advance { seconds: 60 }, // an event of the second of the binding is looked at once more
        Op::RedeliverPushes,
    ]
}

/// WeChat sends a message, its answer is lost, and the account's tokens end before anybody asks again.
fn answer_lost_before_tokens_end(rng: &mut ChaCha8Rng) -> Vec<Op> {
    let (account, fan) = (random_account(rng), random_early_fan(rng));
    let (path, template, times) = *[
        ("/cgi-bin/message/custom/send", false, 1),
        ("/cgi-bin/message/template/send", true, 1),
        ("/cgi-bin/message/template/send", true, 20), // for as long as it may be sent again
    ]
    .choose(rng)
    .unwrap();
    let keyed = rng.random_range(0..2) == 0;
    vec![
        Op::Act(FanOp { account, fan, kind: FanOpKind::Chat }), // opens a window
        Op::LoseSendAnswers { path, times },
        Op::Send { account, fan, content: !template, template, keyed, times: 1 },
        Op::ProcessBatches { batches: 3 },
        Op::EndTokens { account: Some(account), revoke: rng.random_range(0..2) == 0 },
        Op::ProcessBatches { batches: 3 },
    ]
}

/// WeChat refuses a message because the account's quota is used up.
fn quota_used_up_before_a_message(rng: &mut ChaCha8Rng) -> Vec<Op> {
    let (account, fan) = (random_account(rng), random_early_fan(rng));
    let template = rng.random_range(0..2) == 0;
    let path = if template { "/cgi-bin/message/template/send" } else { "/cgi-bin/message/custom/send" };
    vec![
        Op::Act(FanOp { account, fan, kind: FanOpKind::Chat }), // opens a window
        Op::ExhaustQuota { path, times: rng.random_range(1..4) },
        Op::Send { account, fan, content: !template, template, keyed: true, times: 1 },
        Op::ProcessBatches { batches: 3 },
    ]
}

/// A fan who follows from the start.
fn random_early_fan(rng: &mut ChaCha8Rng) -> usize {
    rng.random_range(0..FANS / 2)
}

/// One time in four nothing goes wrong.
pub fn random_faults(rng: &mut ChaCha8Rng) -> FaultRates {
    if rng.random_range(0..4) == 0 { FaultRates::default() } else { FaultRates::draw(rng) }
}

fn random_fan_op(rng: &mut ChaCha8Rng) -> FanOp {
    const FAN_OP_KINDS: [FanOpKind; 11] = [
        FanOpKind::Follow,
        FanOpKind::FollowByCode,
        FanOpKind::Unfollow,
        FanOpKind::Ask,
        FanOpKind::Ask,
        FanOpKind::AskForMore,
        FanOpKind::AskForMore,
        FanOpKind::Chat,
        FanOpKind::Paste(""),
        FanOpKind::Click,
        FanOpKind::Scan,
    ];
    let (account, fan) = (random_account(rng), rng.random_range(0..FANS));
    let what = match *FAN_OP_KINDS.choose(rng).unwrap() {
        FanOpKind::Paste(_) => FanOpKind::Paste(TRICKY_TEXTS.choose(rng).unwrap()),
        what => what,
    };
    FanOp { account, fan, kind: what }
}

/// The first account gets most of the traffic, so that operations overlap.
fn random_account(rng: &mut ChaCha8Rng) -> usize {
    *[0, 0, 0, 1, 2].choose(rng).unwrap()
}

fn random_op(rng: &mut ChaCha8Rng) -> Op {
    let account = random_account(rng);
    let likely = rng.random_range(0..10) > 1;
    match rng.random_range(0..100) {
        0..4 => Op::Bind { account, returns: likely, event: rng.random_range(0..10) > 1 },
        4..7 => Op::Authorize { account },
        7..9 => Op::Unauthorize { account, event: likely },
        9..10 => Op::Delete { account },
        10..28 => Op::Act(random_fan_op(rng)),
        28..40 => Op::Burst((0..rng.random_range(2..6)).map(|_| random_fan_op(rng)).collect()),
        40..52 => {
            let template = rng.random_range(0..2) == 0;
            Op::Send {
                account,
                fan: rng.random_range(0..FANS),
                content: !template || rng.random_range(0..2) == 0,
                template,
                keyed: rng.random_range(0..2) == 0,
                times: *[1, 1, 2].choose(rng).unwrap(),
            }
        }
        52..55 => Op::Import { account },
        55..56 => Op::BroadcastReport { account },
        56..60 => Op::SetReplyRules { account, version: rng.random_range(0..1000) },
        60..74 => Op::ProcessBatches { batches: rng.random_range(1..4) },
        74..77 => Op::RedeliverBatches,
        77..79 => Op::RedeliverPushes,
        79..82 => Op::Tick,
        82..83 => Op::DropPushes { times: rng.random_range(1..4) },
        83..89 => {
            let seconds = [1, 3, 30, 60, 200, 900, 5400, 49 * 3600];
            Op::Advance { seconds: *seconds.choose(rng).unwrap() }
        }
        89..91 => Op::DropWarmInstances,
        91..94 => {
            let account = (rng.random_range(0..3) > 0).then_some(account);
            Op::EndTokens { account, revoke: rng.random_range(0..2) == 0 }
        }
        94..95 => Op::RotateRefreshTokens(rng.random_range(0..2) == 0),
        96 => {
            let texts = ["", "a\"b", "a\\", "\\ud83d", "it\\'s", "a\nb"];
            Op::UnescapedRemark { account, fan: rng.random_range(0..FANS), text: texts.choose(rng).unwrap() }
        }
        95 | 97 if likely => {
            let paths = [
                "/cgi-bin/user/info/batchget",
                "/cgi-bin/user/info",
                "/cgi-bin/user/get",
                "/cgi-bin/message/custom/send",
                "/cgi-bin/message/template/send",
            ];
            Op::ExhaustQuota { path: paths.choose(rng).unwrap(), times: rng.random_range(1..4) }
        }
        97 => Op::LoseFirstJob,
        _ => Op::SetFaults(random_faults(rng)),
    }
}
