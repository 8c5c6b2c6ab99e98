//! A page of WeChat's list of an account's followers, as an import stores it.

use serde::{Deserialize, Serialize};

/// A page of WeChat's follower list.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ListedPage {
    /// Its openids; stored as one text, which is parsed much faster than a list of ten thousand.
    #[serde(rename = "open_id_lines", alias = "open_ids", with = "newline_separated")]
    pub open_ids: Vec<String>,
    /// WeChat's cursor of the next page; none on the last.
    pub next_cursor: Option<String>,
    /// WeChat's `total` on this page.
    pub total: u64,
    /// Why the list ends here although more should follow.
    pub cut: Option<String>,
}

/// A list of texts stored as one, a line each. Lists of earlier releases are read too.
mod newline_separated {
    use serde::{Deserialize, Deserializer, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum StoredList {
        Text(String),
        List(Vec<String>),
    }

    pub fn serialize<S: Serializer>(list: &[String], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&list.join("\n"))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
        Ok(match StoredList::deserialize(deserializer)? {
            StoredList::Text(text) => text.lines().map(str::to_owned).collect(),
            StoredList::List(list) => list,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_listed_page_is_kept_as_one_text() {
        let page = |open_ids: &[&str]| ListedPage {
            open_ids: open_ids.iter().map(|id| (*id).to_owned()).collect(),
            next_cursor: None,
            total: 2,
            cut: None,
        };
        for (what, open_ids, stored) in [
            ("nobody", &[][..], json!("")),
            ("one", &["o1"], json!("o1")),
            ("two", &["o1", "o-_2"], json!("o1\no-_2")),
            ("as before", &["o1", "o2"], json!(["o1", "o2"])),
        ] {
            let name = if stored.is_string() { "open_id_lines" } else { "open_ids" };
            let item = json!({name: stored, "total": 2});
            assert_eq!(
                serde_json::from_value::<ListedPage>(item).unwrap().open_ids,
                page(open_ids).open_ids,
                "{what}"
            );
            if stored.is_string() {
                assert_eq!(serde_json::to_value(page(open_ids)).unwrap()["open_id_lines"], stored, "{what}");
            }
        }
    }
}
