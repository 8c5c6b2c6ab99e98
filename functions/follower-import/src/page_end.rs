//! Decides where a list of followers ends. Pure: takes WeChat's answer and the position, returns the page.
//!
//! WeChat's lists end in many ways: no `data`, a null list, an empty or a repeated `next_openid`, a last page
//! whose `next_openid` is its own last follower, a repeated page. Each ends it. An end far below `total`
//! is fetched again; if it stays, the page's `cut` says so, and the import must not mark those who are
//! missing as unsubscribed.

use std::collections::HashSet;

use shared::{
    model::listed_page::ListedPage,
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
    } else if last && (total - listed.min(total) > tolerance(total) || (total == 0 && at.listed > 0)) {
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
    use std::ops::Range;

    use super::*;

    fn ids(range: Range<usize>) -> Vec<String> {
        range.map(|n| format!("o{n}")).collect()
    }

    const FULL: usize = MAX_FOLLOWERS_PER_PAGE;

    #[derive(Debug, PartialEq)]
    enum End {
        GoesOn,
        Complete,
        Cut,
    }

    /// A page that WeChat answers, and whether the list ends there.
    struct Row {
        page: u32,
        cursor: &'static str,
        /// Openids on the pages before.
        listed: u64,
        /// WeChat's `total`, openids and `next_openid`.
        total: i64,
        openids: Range<usize>,
        next: &'static str,
        /// Whether the page before was the same, so that none of it counts.
        comes_twice: bool,
        end: End,
    }

    const FIRST: Row = Row {
        page: 0,
        cursor: "",
        listed: 0,
        total: 0,
        openids: 0..0,
        next: "",
        comes_twice: false,
        end: End::Complete,
    };
    const SECOND: Row = Row { page: 1, cursor: "o9999", listed: 10_000, ..FIRST };

    #[test]
    fn a_list_ends_where_everybody_is_on_it() {
        use End::{Cut, GoesOn};
        let full = || 0..FULL;
        let next = |count| FULL..FULL + count;
        for (what, row) in [
            ("an empty account", FIRST),
            ("everybody on one page", Row { total: 3, openids: 0..3, next: "o2", ..FIRST }),
            (
                "10,000 exactly: one more look",
                Row { total: 10_000, openids: full(), next: "o9999", end: GoesOn, ..FIRST },
            ),
            (
                "10,001: cut at 10k",
                Row { total: 10_001, openids: full(), next: "o9999", end: GoesOn, ..FIRST },
            ),
            (
                "its last page: asked on",
                Row { total: 10_001, openids: next(1), next: "o10000", end: GoesOn, ..SECOND },
            ),
            (
                "two have left since they were listed",
                Row {
                    cursor: "o6",
                    listed: 7,
                    total: 12,
                    openids: 7..12,
                    next: "o11",
                    end: GoesOn,
                    ..SECOND
                },
            ),
            ("a null list at the end", Row { total: 10_000, ..SECOND }),
            ("a second page of an account without followers", Row { end: Cut, ..SECOND }),
            (
                "beyond 100,000",
                Row {
                    page: 11,
                    cursor: "o",
                    listed: 110_000,
                    total: 150_000,
                    openids: 110_000..120_000,
                    next: "p",
                    end: GoesOn,
                    ..FIRST
                },
            ),
            ("an empty next_openid", Row { total: 15_000, openids: next(5_000), ..SECOND }),
            (
                "a cursor that stands",
                Row { cursor: "p", total: 15_000, openids: next(5_000), next: "p", ..SECOND },
            ),
            (
                "one that stands too early",
                Row { cursor: "p", total: 30_000, openids: next(FULL), next: "p", end: Cut, ..SECOND },
            ),
            (
                "a page that comes twice",
                Row { total: 30_000, openids: full(), next: "o9999", comes_twice: true, end: Cut, ..SECOND },
            ),
            (
                "the last page twice",
                Row {
                    cursor: "o2",
                    listed: 3,
                    total: 3,
                    openids: 0..3,
                    next: "o2",
                    comes_twice: true,
                    ..SECOND
                },
            ),
            ("a null list in the middle", Row { total: 30_000, end: Cut, ..SECOND }),
            ("a null list at the start", Row { total: 30_000, end: Cut, ..FIRST }),
            ("a null list of one follower", Row { total: 1, end: Cut, ..FIRST }),
            (
                "a short page in the middle",
                Row { total: 10_500, openids: 0..9_000, next: "o8999", end: GoesOn, ..FIRST },
            ),
            (
                "a total that shrank",
                Row { total: 9_990, openids: next(20), next: "o", end: GoesOn, ..SECOND },
            ),
            ("a total that grew", Row { total: 10_060, openids: next(60), next: "o", end: GoesOn, ..SECOND }),
            ("a few who are not listed", Row { total: 10_070, openids: next(60), ..SECOND }),
            (
                "pages in a circle",
                Row {
                    page: 15,
                    cursor: "o",
                    listed: 150_000,
                    total: 50_000,
                    openids: full(),
                    next: "p",
                    end: Cut,
                    ..FIRST
                },
            ),
            (
                "the bound",
                Row {
                    page: 1_999,
                    cursor: "o",
                    listed: 19_990_000,
                    total: 20_990_000,
                    openids: full(),
                    next: "p",
                    end: Cut,
                    ..FIRST
                },
            ),
        ] {
            let Row { page, cursor, listed, total, comes_twice, .. } = row;
            let openids = ids(row.openids);
            let kept = if comes_twice { 0 } else { openids.len() };
            let previous_page_first = (page > 0).then_some(if comes_twice { "o0" } else { "other" });
            let answer = FollowerPage { total, count: 0, openids, next_openid: row.next.into() }; // `count` is not believed
            let listed = classify(answer, ListPosition { page, cursor, listed, previous_page_first });
            let end = match (&listed.next_cursor, &listed.cut) {
                (Some(_), None) => End::GoesOn,
                (None, None) => End::Complete,
                (None, Some(_)) => Cut,
                (Some(_), Some(_)) => panic!("{what}: it goes on after a cut"),
            };
            assert_eq!((listed.open_ids.len(), end), (kept, row.end), "{what}: {:?}", listed.cut);
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
