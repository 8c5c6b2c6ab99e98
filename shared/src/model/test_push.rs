//! Pushes for the tests of the models.

use super::push::Push;

/// A push of `o1` to `gh_1` with these members. Its text is leaked, since a push borrows from it.
pub fn push(members: &str) -> Push<'static> {
    push_to("gh_1", members)
}

/// The same to another account.
pub fn push_to(original_id: &str, members: &str) -> Push<'static> {
    let sides = format!("<ToUserName>{original_id}</ToUserName><FromUserName>o1</FromUserName>");
    let text = format!("<xml>{sides}<CreateTime>7</CreateTime>{members}</xml>");
    Push::parse(text.leak().as_bytes()).unwrap()
}
