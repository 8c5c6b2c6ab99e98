//! Decides where a list of followers ends. Pure: takes WeChat's answer and the position, returns the page.
//!
//! WeChat's lists end in many ways: no `data`, a null list, an empty or a repeated `next_openid`, a last page
//! whose `next_openid` is its own last follower, a repeated page. Each ends it. An end far below `total`
//! is fetched again; if it stays, the page's `cut` says so, and the import must not mark those who are
//! missing as unsubscribed.

use std::collections::HashSet;

use shared::{
    store::import_progress::ListedPage,
    wechat::user::{FollowerPage, MAX_FOLLOWERS_PER_PAGE},
};

/// The most pages of one import: 20 million followers, or four days of WeChat's 500 calls a day.
pub const MAX_PAGES: u32 = 2_000;
/// How many may join while a list is read; a list that exceeds `total` by more is circular.
const MAX_LISTED_BEYOND_TOTAL: u64 = 100_000;

/// The position of a listing before a page.
#[derive(Debug, Clone, Copy)]
pub struct ListPosition<'a> {
    /// The page's number.
    pub page: u32,
    /// The cursor that it was fetched with.
    pub cursor: &'a str,
    /// Openids on the pages before.
    pub listed: u64,
    /// The first openid of the page before.
    pub previous_page_first: Option<&'a str>,
}

/// The page as it should be stored.
#[must_use]
pub fn classify(answer: FollowerPage, at: ListPosition<'_>) -> ListedPage {
    let total = u64::try_from(answer.total).unwrap_or(0);
    let full = answer.openids.len() >= MAX_FOLLOWERS_PER_PAGE;
    let mut seen = HashSet::new();
    let mut open_ids = answer.openids;
    open_ids.retain(|id| !id.is_empty() && seen.insert(id.clone()));
    if at.previous_page_first.is_some() && open_ids.first().map(String::as_str) == at.previous_page_first {
        open_ids.clear(); // counted already
    }
    let listed = at.listed.saturating_add(open_ids.len() as u64);
    let is_circular = listed > total.saturating_add(MAX_LISTED_BEYOND_TOTAL) && at.page > 0;
    let next = answer.next_openid;
    // `total` is of this response and says nothing of followers on earlier pages who left since
    let complete = at.page == 0 && !full && listed >= total;
    let ends = open_ids.is_empty() || next.is_empty() || next == at.cursor || complete;
    let last = ends || is_circular || at.page + 1 >= MAX_PAGES;
    let cut = if is_circular || (!ends && last) {
        Some(format!("WeChat's list of followers does not end: {listed} were listed, it counts {total}"))
    } else if last && total - listed.min(total) > tolerance(total) {
        Some(format!("WeChat's list of followers ended after {listed}, it counts {total}"))
    } else {
        None
    };
    let cut = cut.map(|what| {
        what + "; those who were listed are here, nobody was marked as gone; start another import"
    });
    ListedPage { open_ids, next_cursor: (!last).then_some(next), total, cut }
}

/// How many may be missing, because `total` also counts people whom the list leaves out.
fn tolerance(total: u64) -> u64 {
    (total / 1000).max(10.min(total / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(from: usize, count: usize) -> Vec<String> {
        (from..from + count).map(|n| format!("o{n}")).collect()
    }

    #[test]
    fn a_list_ends_where_everybody_is_on_it() {
        const FULL: usize = MAX_FOLLOWERS_PER_PAGE;
        // (what, page, cursor, listed, (total, from, count, next)) → (kept, next, cut)
        for (what, page, cursor, listed, (total, from, count, next), (kept, goes_on, cut)) in [
            ("an empty account", 0, "", 0, (0, 0, 0, ""), (0, false, false)),
            ("everybody on one page", 0, "", 0, (3, 0, 3, "o2"), (3, false, false)),
            ("10,000 exactly: one more look", 0, "", 0, (10_000, 0, FULL, "o9999"), (FULL, true, false)),
            ("10,001: cut at 10k", 0, "", 0, (10_001, 0, FULL, "o9999"), (FULL, true, false)),
            ("its last page: asked on", 1, "o9999", 10_000, (10_001, FULL, 1, "o10000"), (1, true, false)),
            ("two have left since they were listed", 1, "o6", 7, (12, 7, 5, "o11"), (5, true, false)),
            ("a null list at the end", 1, "o9999", 10_000, (10_000, 0, 0, ""), (0, false, false)),
            ("beyond 100,000", 11, "o", 110_000, (150_000, 110_000, FULL, "p"), (FULL, true, false)),
            ("an empty next_openid", 1, "o9999", 10_000, (15_000, FULL, 5_000, ""), (5_000, false, false)),
            ("a cursor that stands", 1, "p", 10_000, (15_000, FULL, 5_000, "p"), (5_000, false, false)),
            ("one that stands too early", 1, "p", 10_000, (30_000, FULL, FULL, "p"), (FULL, false, true)),
            ("a page that comes twice", 1, "o9999", 10_000, (30_000, 0, FULL, "o9999"), (0, false, true)),
            ("the last page twice", 1, "o2", 3, (3, 0, 3, "o2"), (0, false, false)),
            ("a null list in the middle", 1, "o9999", 10_000, (30_000, 0, 0, ""), (0, false, true)),
            ("a null list at the start", 0, "", 0, (30_000, 0, 0, ""), (0, false, true)),
            ("a null list of one follower", 0, "", 0, (1, 0, 0, ""), (0, false, true)),
            ("a short page in the middle", 0, "", 0, (10_500, 0, 9_000, "o8999"), (9_000, true, false)),
            ("a total that shrank", 1, "o9999", 10_000, (9_990, FULL, 20, "o"), (20, true, false)),
            ("a total that grew", 1, "o9999", 10_000, (10_060, FULL, 60, "o"), (60, true, false)),
            ("a few who are not listed", 1, "o9999", 10_000, (10_070, FULL, 60, ""), (60, false, false)),
            ("pages in a circle", 15, "o", 150_000, (50_000, 0, FULL, "p"), (FULL, false, true)),
            ("the bound", 1_999, "o", 19_990_000, (20_990_000, 0, FULL, "p"), (FULL, false, true)),
        ] {
            let answer = FollowerPage {
                total,
                count: 0, // not believed
                openids: ids(from, count),
                next_openid: next.into(),
            };
            let first_before = (page > 0).then_some("o0").filter(|_| listed < 150_000);
            let page =
                classify(answer, ListPosition { page, cursor, listed, previous_page_first: first_before });
            assert_eq!(page.open_ids.len(), kept, "{what}: openids");
            assert_eq!(page.next_cursor.is_some(), goes_on, "{what}: goes on");
            assert_eq!(page.cut.is_some(), cut, "{what}: {:?}", page.cut);
        }
    }

    #[test]
    fn an_openid_counts_once_on_a_page() {
        let answer = FollowerPage {
            total: 2,
            count: 4,
            openids: ["a", "b", "a", ""].map(str::to_owned).to_vec(),
            next_openid: "b".into(),
        };
        let page =
            classify(answer, ListPosition { page: 0, cursor: "", listed: 0, previous_page_first: None });
        assert_eq!(page.open_ids, ["a", "b"]);
        assert_eq!(page.next_cursor, None);
    }
}
