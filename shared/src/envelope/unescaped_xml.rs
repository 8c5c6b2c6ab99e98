//! Pushes as WeChat really writes them: text of a follower is put into a CDATA section
//! unescaped, so that a `]]>` in it ends the section, and what follows looks like members.
//!
//! The rule. WeChat's own members stand before and behind those that users chose, and never contain
//! markup. So a push is read from both ends as long as its members are WeChat's own, or numbers; the rest
//! begins and ends with a member that a user chose, and a value there reaches to the *last* end tag of its
//! name. No user can write behind WeChat's end tag of their value, so that tag is the last one, whatever
//! the value contains. Two kinds of push have several such members side by side ([`USER_CHOSEN_GROUPS`]);
//! there a value ends where the next begins, and no other member is read between them. So nothing can be
//! forged: at worst a text moves the border between two texts of the same sender.
//!
//! A push that the general reader can parse, and in which no value was left by a `]]>`
//! ([`is_unambiguous`]), is taken as it is: this also keeps members that are not listed here.

use std::borrow::Cow;
use std::collections::HashSet;

use super::callback_error::CallbackError;
use super::element::{BRANCH_NAMES, Element, MAX_DEPTH, MAX_ELEMENTS};
use super::xml::{self, CDATA_END, CDATA_START, ParsedDocument, trim};

/// Members that WeChat fills in itself: they contain no markup.
const WECHAT_MEMBERS: [&str; 36] = [
    "ToUserName",
    "FromUserName",
    "CreateTime",
    "MsgType",
    "Event",
    "MsgId",
    "MsgID",
    "MsgDataId",
    "Idx",
    "bizmsgmenuid",
    "MediaId",
    "MediaId16K",
    "ThumbMediaId",
    "PicUrl",
    "Format",
    "FileKey",
    "FileMd5",
    "FileTotalLen",
    "Location_X",
    "Location_Y",
    "Scale",
    "Latitude",
    "Longitude",
    "Precision",
    "Ticket",
    "MenuId",
    "Status",
    "ScanType",
    "CardId",
    "UserCardCode",
    "OldUserCardCode",
    "FriendUserName",
    "UnionId",
    "StaffOpenId",
    "ConsumeSource",
    "TransId",
];
/// Those of them that say what a push is.
const HEADER_MEMBERS: [&str; 5] = ["ToUserName", "FromUserName", "CreateTime", "MsgType", "Event"];
/// Members of events that users chose: the author of a code, a link or a
/// menu, or the follower who picked a place. Each occurs once in a push.
const USER_CHOSEN_EVENT_MEMBERS: [&str; 7] =
    ["EventKey", "ScanResult", "Label", "Poiname", "OuterStr", "SessionFrom", "qrcode_info"];
/// Where several members side by side are chosen by users: the `MsgType`, or the member that contains them.
const USER_CHOSEN_GROUPS: [(&str, &[&str]); 4] = [
    ("link", &["Title", "Description", "Url"]),
    ("file", &["Title", "Description"]),
    ("miniprogrampage", &["Title", "AppId", "PagePath", "ThumbUrl", "ThumbMediaId"]),
    ("SendLocationInfo", &["Label", "Poiname"]),
];
/// `]]>` as an escaping writer puts it: split over two sections.
const SPLIT_CDATA_END: &str = "]]]]><![CDATA[>";
/// Most tags that are tried between the members of both ends; real pushes have a handful.
const MAX_TAGS_TRIED: usize = 64;
/// Most bytes of a name, and of the attributes of a tag, which real pushes do not have.
const MAX_TAG_BYTES: usize = 256;

/// Reads a push, whatever its texts contain.
///
/// # Errors
/// [`CallbackError::Malformed`] where it does not begin with `<xml>` and end
/// with `</xml>`, [`CallbackError::TooLarge`] beyond the bounds of any document.
pub(super) fn parse(source: &str) -> Result<Element<'_>, CallbackError> {
    match xml::read_document(source) {
        Ok(read) if is_unambiguous(&read, is_event(&read.root.children)) => Ok(read.root),
        _ => parse_ambiguous(source),
    }
}

/// Whether no value was left by a `]]>` inside it. To do so, a user has to open a member of the same
/// name again before WeChat's own end tag, or to hide that tag in something that WeChat never writes.
/// Members of messages have different names; those of events may repeat, except those that users chose.
fn is_unambiguous(read: &ParsedDocument<'_>, is_event: bool) -> bool {
    let mut seen = HashSet::with_capacity(read.names.len());
    let once = |name: &str| HEADER_MEMBERS.contains(&name) || USER_CHOSEN_EVENT_MEMBERS.contains(&name);
    let counts = |name: &&str| !is_event || once(name);
    !read.is_unusual && read.names.iter().filter(|name| counts(name)).all(|name| seen.insert(*name))
}

fn is_event(members: &[Element<'_>]) -> bool {
    text_of(members, "MsgType").is_some_and(|kind| kind.eq_ignore_ascii_case("event"))
}

fn text_of<'t>(members: &'t [Element<'_>], name: &str) -> Option<&'t str> {
    members.iter().find(|member| member.name.eq_ignore_ascii_case(name)).map(|member| member.text.as_ref())
}

fn parse_ambiguous(source: &str) -> Result<Element<'_>, CallbackError> {
    let nothing = |c: char| c.is_whitespace() || c.is_control();
    let source = source.trim_matches(nothing);
    let source = match source.strip_prefix("<?xml ") {
        Some(declared) => declared.split_once("?>").map_or("", |(_, rest)| rest.trim_start_matches(nothing)),
        None => source,
    };
    let inside = source.strip_prefix("<xml>").and_then(|rest| rest.strip_suffix("</xml>"));
    let children = parse_members(inside.ok_or(CallbackError::Malformed)?, None, 1)?;
    Ok(Element { name: Cow::Borrowed("xml"), text: Cow::Borrowed(""), children })
}

/// The members of `inside`, which is the member `of`, or the whole push.
fn parse_members<'a>(
    inside: &'a str,
    of: Option<&str>,
    depth: usize,
) -> Result<Vec<Element<'a>>, CallbackError> {
    let (mut rest, mut found, mut last) = (inside, Vec::new(), Vec::new());
    while let Some((member, after)) = first_own_member(rest) {
        rest = after;
        found.push(member);
        if found.len() > MAX_ELEMENTS {
            return Err(CallbackError::TooLarge);
        }
    }
    while let Some((member, before)) = last_own_member(rest) {
        rest = before;
        last.push(member);
        if last.len() > MAX_ELEMENTS {
            return Err(CallbackError::TooLarge);
        }
    }
    let kind = || text_of(&found, "MsgType").or_else(|| text_of(&last, "MsgType"));
    let what = of.or_else(kind).unwrap_or_default();
    let list = USER_CHOSEN_GROUPS.iter().find(|(kind, _)| *kind == what).map(|(_, list)| *list);
    let holds = BRANCH_NAMES.iter().any(|name| rest.trim_end().ends_with(&format!("</{name}>")));
    for _ in 0..MAX_TAGS_TRIED {
        let Some(start) = rest.find('<') else { break };
        let (here, beyond) =
            (rest.get(start..).unwrap_or_default(), rest.get(start + 1..).unwrap_or_default());
        let free = |name: &str| {
            let taken = |member: &Element<'_>| member.name.eq_ignore_ascii_case(name);
            list.is_none_or(|list| list.contains(&name)) && !found.iter().chain(&last).any(taken)
        };
        let next = match list {
            Some(_) => FollowedBy::OneOf(&free),
            None if holds => FollowedBy::Branch,
            None => FollowedBy::Nothing,
        };
        let read = match start_tag(here) {
            Some(tag) if free(tag.name) => user_chosen_member(&tag, here, next, depth)?,
            _ => None,
        };
        match read {
            Some((member, after)) => {
                rest = after;
                found.push(member);
            }
            None => rest = beyond, // stray text
        }
    }
    found.extend(last.into_iter().rev());
    Ok(found)
}

/// A start tag at the start of a text.
struct StartTag<'a> {
    name: &'a str,
    /// It has no content, `<Name/>`.
    empty: bool,
    after: &'a str,
}

fn start_tag(source: &str) -> Option<StartTag<'_>> {
    let inside = source.strip_prefix('<')?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':');
    let length = inside.bytes().take(MAX_TAG_BYTES).take_while(|byte| plain(*byte)).count();
    let name = inside.get(..length).filter(|name| !name.is_empty())?;
    let rest = inside.get(length..)?;
    if let Some(after) = rest.strip_prefix('>') {
        return Some(StartTag { name, empty: false, after });
    }
    let end = rest.bytes().take(MAX_TAG_BYTES).position(|byte| matches!(byte, b'<' | b'>'))?;
    let (attributes, after) = (rest.get(..end)?, rest.get(end..)?.strip_prefix('>')?);
    let empty = attributes.ends_with('/');
    let right = attributes == "/" || attributes.starts_with(|c: char| c.is_whitespace());
    right.then_some(StartTag { name, empty, after })
}

/// `source` without the end tag that it begins with.
fn strip_end_tag<'a>(source: &'a str, name: &str) -> Option<&'a str> {
    source.strip_prefix("</")?.strip_prefix(name)?.strip_prefix('>')
}

fn leaf<'a>(name: &'a str, text: &'a str) -> Element<'a> {
    Element { name: Cow::Borrowed(name), text: Cow::Borrowed(trim(text)), children: Vec::new() }
}

/// Whether a value without a CDATA section is WeChat's own.
fn is_wechats_own(name: &str, value: &str) -> bool {
    let number = value.trim().bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+'));
    number || (WECHAT_MEMBERS.contains(&name) && !value.contains('&'))
}

/// The first member, if it is WeChat's own or empty, and what follows it. Text before it is ignored.
fn first_own_member(source: &str) -> Option<(Element<'_>, &str)> {
    let mut rest = source.get(source.find('<')?..)?;
    while let Some(comment) = rest.strip_prefix("<!--") {
        let (_, after) = comment.split_once("-->")?;
        rest = after.get(after.find('<')?..)?;
    }
    let tag = start_tag(rest)?;
    if tag.empty {
        return Some((leaf(tag.name, ""), tag.after));
    }
    if let Some(inside) = tag.after.trim_start().strip_prefix(CDATA_START) {
        let (value, after) = inside.split_once(CDATA_END)?;
        let after = strip_end_tag(after.trim_start(), tag.name)?;
        let own = WECHAT_MEMBERS.contains(&tag.name) && !value.contains('<');
        return own.then(|| (leaf(tag.name, value), after));
    }
    let value = tag.after.get(..tag.after.find('<')?)?;
    let after = strip_end_tag(tag.after.get(value.len()..)?, tag.name)?;
    is_wechats_own(tag.name, value).then(|| (leaf(tag.name, value), after))
}

/// The last member, if it is WeChat's own or empty, and what is before it.
fn last_own_member(source: &str) -> Option<(Element<'_>, &str)> {
    let open = source.trim_end().strip_suffix('>')?;
    if let Some(open) = open.strip_suffix('/') {
        let (before, name) = open.rsplit_once('<')?;
        return is_name(name).then(|| (leaf(name, ""), before));
    }
    let (value, name) = open.rsplit_once("</")?;
    if !is_name(name) {
        return None;
    }
    let start =
        |before: &'_ str| Some(before.strip_suffix('>')?.strip_suffix(name)?.strip_suffix('<')?.len());
    if let Some(value) = value.trim_end().strip_suffix(CDATA_END) {
        let at = value.rfind('<')?;
        let before = source.get(..start(value.get(..at)?.trim_end())?)?;
        let value = value.get(at..)?.strip_prefix(CDATA_START)?;
        return WECHAT_MEMBERS.contains(&name).then(|| (leaf(name, value), before));
    }
    let (tag, value) = value.split_at(value.rfind('>')? + 1);
    let before = source.get(..start(tag)?)?;
    is_wechats_own(name, value).then(|| (leaf(name, value), before))
}

fn is_name(name: &str) -> bool {
    start_tag(&format!("<{name}>")).is_some_and(|tag| tag.name == name)
}

/// What may follow a value that a user chose.
#[derive(Clone, Copy)]
enum FollowedBy<'a> {
    /// No other user-chosen value.
    Nothing,
    /// Another one, if the name is allowed.
    OneOf(&'a dyn Fn(&str) -> bool),
    /// A branch with a user-chosen value. Before it is the account's own choice, a button's key.
    Branch,
}

/// A member that a user chose, and what follows it.
fn user_chosen_member<'a>(
    tag: &StartTag<'a>,
    here: &'a str,
    next: FollowedBy<'_>,
    depth: usize,
) -> Result<Option<(Element<'a>, &'a str)>, CallbackError> {
    if tag.empty {
        return Ok(Some((leaf(tag.name, ""), tag.after)));
    }
    if let Some(inside) = tag.after.trim_start().strip_prefix(CDATA_START) {
        let Some((value, after)) = section_value(inside, tag.name, next) else { return Ok(None) };
        let mut member = leaf(tag.name, value);
        // as the general reader returns it where no value was left
        if value.contains(SPLIT_CDATA_END) && !value.replace(SPLIT_CDATA_END, "").contains(CDATA_END) {
            member.text = Cow::Owned(value.replace(SPLIT_CDATA_END, CDATA_END).trim().to_owned());
        }
        return Ok(Some((member, after)));
    }
    let close = format!("</{}>", tag.name);
    let Some(end) = tag.after.rfind(&close) else { return Ok(None) };
    let (inside, after) = tag.after.split_at(end);
    let after = after.get(close.len()..).unwrap_or_default();
    let whole = here.get(..here.len() - after.len()).unwrap_or_default();
    let mut member = leaf(tag.name, inside);
    match xml::read_document(whole) {
        Err(CallbackError::TooLarge) if !BRANCH_NAMES.contains(&tag.name) => {
            return Err(CallbackError::TooLarge);
        }
        Ok(read) if is_unambiguous(&read, BRANCH_NAMES.contains(&tag.name)) => member = read.root,
        _ if BRANCH_NAMES.contains(&tag.name) && depth < MAX_DEPTH => {
            member.children = parse_members(inside, Some(tag.name), depth + 1)?;
            member.text = Cow::Borrowed("");
        }
        _ => {}
    }
    Ok(Some((member, after)))
}

/// A section's value and what follows its member, by the rule at the head of this
/// file: up to the last end tag; with siblings, up to the last end tag that one of
/// them follows; before a branch, up to the first end tag that a branch follows.
fn section_value<'a>(inside: &'a str, name: &str, next: FollowedBy<'_>) -> Option<(&'a str, &'a str)> {
    let close = format!("</{name}>");
    let (mut last, mut fitting) = (None, None);
    for (at, _) in inside.rmatch_indices(&close) {
        let (value, after) = (inside.get(..at)?, inside.get(at + close.len()..)?);
        let Some(value) = value.trim_end().strip_suffix(CDATA_END) else { continue };
        last = last.or(Some((value, after)));
        let follows = start_tag(after.trim_start()).filter(|tag| tag.name != name);
        match (next, follows) {
            (FollowedBy::Nothing, _) => return last,
            (FollowedBy::OneOf(free), Some(tag)) if free(tag.name) => return Some((value, after)),
            (FollowedBy::Branch, Some(tag)) if BRANCH_NAMES.contains(&tag.name) => {
                fitting = Some((value, after))
            }
            _ => {}
        }
    }
    fitting.or(last)
}
