//! Generates what `docs` serves: the API's description from the handlers and types, and its page from that. The results
//! are committed as `openapi.json` and `docs.html`; only tests generate them, so that the function renders nothing.

mod openapi;
mod page;
mod schema;
mod text;
mod vocabulary;

use std::{env, fs, path::Path};

use askama::Template;
use page::DocsPage;

use crate::docs::PAGE_CSS;

/// Compares the description and its page with the committed copies; `UPDATE_GOLDEN=1` rewrites them.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a switch of this test, not a setting")]
async fn the_description_is_the_one_that_was_reviewed() {
    let document = openapi::document();
    let page = DocsPage::of(&document, PAGE_CSS).render().unwrap();
    let document = serde_json::to_string_pretty(&document).unwrap();
    for (file, now) in [("openapi.json", document), ("docs.html", page)] {
        let (path, now) = (Path::new(env!("CARGO_MANIFEST_DIR")).join(file), now + "\n");
        if env::var("UPDATE_GOLDEN").is_ok() {
            fs::write(&path, &now).unwrap();
        }
        let reviewed = fs::read_to_string(&path).unwrap_or_default();
        assert!(now == reviewed, "{file} differs; look at it and run again with UPDATE_GOLDEN=1");
    }
}
