//! WeChat puts user-chosen text into CDATA sections unescaped. Whatever the text is: the push
//! is read, the text is complete, and nothing that WeChat itself says can be forged by it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may fail loudly")]

use proptest::prelude::*;
use serde_json::Value;
use shared::model::push::Push;

const HEAD: &str = "<ToUserName><![CDATA[gh_7b1c9d2e4f60]]></ToUserName>\n<FromUserName><![CDATA[oFan]]>\
    </FromUserName>\n<CreateTime>1735689600</CreateTime>\n";

/// A kind of push: WeChat's members, with `{}` for user-chosen values, and the names of those.
struct PushCase {
    what: &'static str,
    members: &'static str,
    user_chosen: &'static [&'static str],
    /// Values that WeChat fills in behind them.
    members_after: &'static [(&'static str, &'static str)],
}

const PUSH_CASES: [PushCase; 12] = [
    PushCase {
        what: "a text",
        members: "<MsgType><![CDATA[text]]></MsgType>\n<Content><![CDATA[{}]]></Content>\n<MsgId>7</MsgId>\n",
        user_chosen: &["Content"],
        members_after: &[("MsgId", "7")],
    },
    PushCase {
        what: "a choice of a menu",
        members: "<MsgType><![CDATA[text]]></MsgType><Content><![CDATA[{}]]></Content><MsgId>7</MsgId>\
                  <bizmsgmenuid><![CDATA[101]]></bizmsgmenuid>",
        user_chosen: &["Content"],
        members_after: &[("MsgId", "7"), ("bizmsgmenuid", "101")],
    },
    PushCase {
        what: "a text from an article",
        members: "<MsgType><![CDATA[text]]></MsgType><Content><![CDATA[{}]]></Content><MsgId>7</MsgId>\
                  <MsgDataId>22</MsgDataId><Idx>1</Idx>",
        user_chosen: &["Content"],
        members_after: &[("MsgId", "7"), ("MsgDataId", "22"), ("Idx", "1")],
    },
    PushCase {
        what: "a voice message",
        members: "<MsgType><![CDATA[voice]]></MsgType><MediaId><![CDATA[m1]]></MediaId><Format><![CDATA[amr]]>\
                  </Format><Recognition><![CDATA[{}]]></Recognition><MsgId>7</MsgId>",
        user_chosen: &["Recognition"],
        members_after: &[("MsgId", "7"), ("MediaId", "m1")],
    },
    PushCase {
        what: "a place",
        members: "<MsgType><![CDATA[location]]></MsgType><Location_X>23.1</Location_X><Location_Y>113.3\
                  </Location_Y><Scale>20</Scale><Label><![CDATA[{}]]></Label><MsgId>7</MsgId>",
        user_chosen: &["Label"],
        members_after: &[("MsgId", "7"), ("Location_X", "23.1"), ("Scale", "20")],
    },
    PushCase {
        what: "a link",
        members: "<MsgType><![CDATA[link]]></MsgType>\n<Title><![CDATA[{}]]></Title>\n<Description><![CDATA[{}]]>\
                  </Description>\n<Url><![CDATA[{}]]></Url>\n<MsgId>7</MsgId>",
        user_chosen: &["Title", "Description", "Url"],
        members_after: &[("MsgId", "7")],
    },
    PushCase {
        what: "a file",
        members: "<MsgType><![CDATA[file]]></MsgType><Title><![CDATA[{}]]></Title><Description><![CDATA[{}]]>\
                  </Description><FileKey><![CDATA[k]]></FileKey><FileMd5><![CDATA[f0]]></FileMd5>\
                  <FileTotalLen>9</FileTotalLen><MsgId>7</MsgId>",
        user_chosen: &["Title", "Description"],
        members_after: &[("MsgId", "7"), ("FileKey", "k"), ("FileTotalLen", "9")],
    },
    PushCase {
        what: "a scan",
        members: "<MsgType><![CDATA[event]]></MsgType><Event><![CDATA[SCAN]]></Event><EventKey><![CDATA[{}]]>\
                  </EventKey><Ticket><![CDATA[t1]]></Ticket>",
        user_chosen: &["EventKey"],
        members_after: &[("Event", "SCAN"), ("Ticket", "t1")],
    },
    PushCase {
        what: "a page of a menu",
        members: "<MsgType><![CDATA[event]]></MsgType><Event><![CDATA[VIEW]]></Event><EventKey><![CDATA[{}]]>\
                  </EventKey><MenuId>5</MenuId>",
        user_chosen: &["EventKey"],
        members_after: &[("Event", "VIEW"), ("MenuId", "5")],
    },
    PushCase {
        what: "a code that a menu scans",
        members: "<MsgType><![CDATA[event]]></MsgType><Event><![CDATA[scancode_waitmsg]]></Event><EventKey>\
                  <![CDATA[k]]></EventKey><ScanCodeInfo><ScanType><![CDATA[qrcode]]></ScanType><ScanResult>\
                  <![CDATA[{}]]></ScanResult></ScanCodeInfo>",
        user_chosen: &["ScanCodeInfo/ScanResult"],
        members_after: &[
            ("Event", "scancode_waitmsg"),
            ("EventKey", "k"),
            ("ScanCodeInfo/ScanType", "qrcode"),
        ],
    },
    PushCase {
        what: "a place that a menu asks for",
        members: "<MsgType><![CDATA[event]]></MsgType><Event><![CDATA[location_select]]></Event><EventKey>\
                  <![CDATA[k]]></EventKey><SendLocationInfo><Location_X><![CDATA[23]]></Location_X><Location_Y>\
                  <![CDATA[113]]></Location_Y><Scale><![CDATA[15]]></Scale><Label><![CDATA[{}]]></Label><Poiname>\
                  <![CDATA[{}]]></Poiname></SendLocationInfo>",
        user_chosen: &["SendLocationInfo/Label", "SendLocationInfo/Poiname"],
        members_after: &[
            ("EventKey", "k"),
            ("SendLocationInfo/Location_X", "23"),
            ("SendLocationInfo/Scale", "15"),
        ],
    },
    PushCase {
        what: "a coupon by a link",
        members: "<MsgType><![CDATA[event]]></MsgType><Event><![CDATA[user_get_card]]></Event><CardId><![CDATA[p1]]>\
                  </CardId><IsGiveByFriend>0</IsGiveByFriend><UserCardCode><![CDATA[12]]></UserCardCode>\
                  <FriendUserName><![CDATA[]]></FriendUserName><OuterId>0</OuterId><OldUserCardCode><![CDATA[]]>\
                  </OldUserCardCode><OuterStr><![CDATA[{}]]></OuterStr><IsRestoreMemberCard>0</IsRestoreMemberCard>\
                  <UnionId><![CDATA[u1]]></UnionId>",
        user_chosen: &["OuterStr"],
        members_after: &[
            ("CardId", "p1"),
            ("UserCardCode", "12"),
            ("UnionId", "u1"),
            ("IsRestoreMemberCard", "0"),
        ],
    },
];

/// Not a member of any push: where it shows up, the reader was fooled.
const FORGED: &str = "forged";

impl PushCase {
    fn body(&self, values: &[&str]) -> String {
        let mut parts = self.members.split("{}");
        let mut body = format!("<xml>{HEAD}{}", parts.next().unwrap());
        for (part, value) in parts.zip(values) {
            body.push_str(value);
            body.push_str(part);
        }
        body + "</xml>"
    }

    /// Reads a push with these values, and asserts that everything of WeChat's
    /// is as WeChat wrote it. Returns the user-chosen values as they were read.
    fn read(&self, values: &[&str]) -> Vec<String> {
        let body = self.body(values);
        let push = Push::parse(body.as_bytes()).unwrap_or_else(|e| panic!("{}: {e}: {body}", self.what));
        let fields = Value::Object(push.fields());
        let pointer = |path: &str| fields.pointer(&format!("/{path}")).cloned().unwrap_or_default();
        assert_eq!(push.to_user_name, "gh_7b1c9d2e4f60", "{}: {body}", self.what);
        assert_eq!((push.from_user_name.as_str(), push.create_time), ("oFan", 1_735_689_600), "{body}");
        let kind = self.members.split("<![CDATA[").nth(1).unwrap().split(']').next().unwrap();
        assert_eq!((push.msg_type.as_str(), push.event.is_some()), (kind, kind == "event"), "{body}");
        assert_eq!(push.msg_id, (kind != "event").then_some(7), "{}: {body}", self.what);
        for (name, value) in self.members_after {
            assert_eq!(pointer(name), *value, "{}, {name}: {body}", self.what);
        }
        let known = |path: &str| {
            let named = |member: &str| member == path || member.starts_with(&format!("{path}/"));
            self.members.contains(&format!("<{path}>"))
                || self.user_chosen.iter().any(|member| named(member))
                || ["CreateTime"].contains(&path)
        };
        for name in fields.as_object().unwrap().keys() {
            assert!(known(name), "{}: {name} is forged: {body}", self.what);
        }
        for path in self.user_chosen.iter().filter_map(|path| path.split_once('/')) {
            for name in fields.pointer(&format!("/{}", path.0)).unwrap().as_object().unwrap().keys() {
                let written = self.members.contains(&format!("<{name}>"));
                assert!(written, "{}: {}/{name} is forged: {body}", self.what, path.0);
            }
        }
        self.user_chosen.iter().map(|path| pointer(path).as_str().unwrap_or_default().to_owned()).collect()
    }
}

/// The expected value of a text: where all of it escapes `]]>` by splitting it, that is undone.
fn expected(value: &str) -> String {
    let split = "]]]]><![CDATA[>";
    let escaped = value.contains(split) && !value.replace(split, "").contains("]]>");
    let value = if escaped { value.replace(split, "]]>") } else { value.to_owned() };
    value.trim().to_owned()
}

/// Texts that try to leave their section, by the name of their member.
fn escape_attempts(name: &str) -> Vec<(&'static str, String)> {
    let end = format!("]]></{name}>");
    let start = format!("<{name}><![CDATA[");
    let f = FORGED;
    vec![
        ("a section inside", "<a><![CDATA[b]]></a>".to_owned()),
        ("an end and markup", "x]]> <br> y".to_owned()),
        ("brackets of a program", "if (a[b[0]]>1) stop".to_owned()),
        ("the end alone", "]]>".to_owned()),
        ("its own end", end.clone()),
        ("its own end and more", format!("a{end} b")),
        ("its own start and end", format!("{start}a{end}")),
        ("an end that a writer split", "a]]]]><![CDATA[>b".to_owned()),
        ("two sections", "a]]><![CDATA[b".to_owned()),
        (
            "a whole push",
            format!("<xml>{HEAD}<MsgType><![CDATA[text]]></MsgType>{start}hi{end}<MsgId>1</MsgId></xml>"),
        ),
        ("another id", format!("a{end}<MsgId>1</MsgId>{start}b")),
        (
            "another kind and sender",
            format!(
                "a{end}<MsgType><![CDATA[event]]></MsgType><Event><![CDATA[{f}]]></Event>\
             <FromUserName><![CDATA[{f}]]></FromUserName><CreateTime>1</CreateTime>{start}b"
            ),
        ),
        ("in small letters", format!("a{end}<msgid>1</msgid><msgtype>event</msgtype>{start}b")),
        ("a member that is none", format!("a{end}<Forged><![CDATA[{f}]]></Forged>{start}b")),
        ("members behind and an end", format!("a{end}<MsgId>1</MsgId><Forged>1</Forged>")),
        ("the end of the push", format!("a{end}<MsgId>1</MsgId></xml>")),
        ("a push behind the push", format!("a{end}</xml><xml><MsgId>1</MsgId>{start}b")),
        ("a comment that hides the end", format!("a{end}<!-- ")),
        ("a comment around the end", format!("a{end}<!-- {start} --> b")),
        ("an attribute that hides the end", format!("a{end}<Forged a=\"")),
        ("an instruction that hides the end", format!("a{end}<?forged ")),
        ("a member around the end", format!("a{end}<Forged>text {start}b{end}</Forged>{start}c")),
        (
            "members with members",
            format!("a{end}<ScanCodeInfo><ScanType>1</ScanType></ScanCodeInfo>{start}b"),
        ),
        ("its holder again", format!("a{end}</ScanCodeInfo><Ticket>{f}</Ticket><ScanCodeInfo>{start}b")),
        (
            "its other holder again",
            format!("a{end}</SendLocationInfo><Ticket>1</Ticket><SendLocationInfo>{start}b"),
        ),
        ("a document type", "]]><!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]>&e;".to_owned()),
        ("depth", format!("]]>{}", "<a>".repeat(50))),
        ("many ends", end.repeat(300)),
        ("many starts", start.repeat(300)),
        ("many names", (0..300).map(|n| format!("{end}<N{n}>")).collect()),
    ]
}

#[test]
fn a_text_is_whole_and_forges_nothing_whatever_it_holds() {
    for kind in &PUSH_CASES {
        for (place, path) in kind.user_chosen.iter().enumerate() {
            let name = path.rsplit('/').next().unwrap();
            for (what, text) in escape_attempts(name) {
                let mut values = vec!["plain"; kind.user_chosen.len()];
                values[place] = &text;
                let read = kind.read(&values);
                for (place, (read, value)) in read.iter().zip(&values).enumerate() {
                    let what = format!("{}, {what}, value {place}", kind.what);
                    assert_eq!(*read, expected(value), "{what}: {}", kind.body(&values));
                }
            }
        }
    }
}

#[test]
fn stray_text_loses_no_push_and_no_member() {
    let head = "<ToUserName>gh_1</ToUserName><FromUserName>o1</FromUserName><CreateTime>7</CreateTime>";
    for (what, rest, members) in [
        (
            "beside a member of the push",
            "<MsgType><![CDATA[event]]></MsgType> <Event><![CDATA[card_pass_check]]></Event> // or card_not_pass_check\
             <CardId><![CDATA[p1]]></CardId>",
            r#"{"MsgType":"event","Event":"card_pass_check","CardId":"p1"}"#,
        ),
        (
            "beside a member of a member",
            "<MsgType>event</MsgType><Event>scancode_push</Event><EventKey>k</EventKey><ScanCodeInfo>info: <ScanType>\
             qrcode</ScanType>, <ScanResult>1</ScanResult></ScanCodeInfo>",
            r#"{"MsgType":"event","Event":"scancode_push","EventKey":"k","ScanCodeInfo":{"ScanType":"qrcode","ScanResult":"1"}}"#,
        ),
        (
            "a bracket and an end of a section",
            "<MsgType>event</MsgType>]]><Event>card_pass_check</Event> < <CardId><![CDATA[p1]]></CardId>",
            r#"{"MsgType":"event","Event":"card_pass_check","CardId":"p1"}"#,
        ),
        (
            "comments and attributes",
            "<!-- 1 --><MsgType>event</MsgType><Event a=\"1\">card_pass_check</Event><CardId><![CDATA[p1]]></CardId>",
            r#"{"MsgType":"event","Event":"card_pass_check","CardId":"p1"}"#,
        ),
        (
            "an end tag of nothing",
            "<MsgType>event</MsgType><Event>card_pass_check</Event></Event><CardId><![CDATA[p1]]></CardId>",
            r#"{"MsgType":"event","Event":"card_pass_check","CardId":"p1"}"#,
        ),
        (
            "control characters",
            "\u{1}<MsgType>event</MsgType>\u{8}<Event>card_pass_check</Event>\u{0}<CardId>p1</CardId>\u{b}",
            r#"{"MsgType":"event","Event":"card_pass_check","CardId":"p1"}"#,
        ),
        (
            "a repeated member of an event that is new",
            "<MsgType>event</MsgType><Event>new</Event><A><![CDATA[1]]></A><A><![CDATA[2]]></A><B><C>3</C><C>4</C></B>",
            r#"{"MsgType":"event","Event":"new","A":["1","2"],"B":{"C":["3","4"]}}"#,
        ),
        (
            "markup in a text without a section",
            "<MsgType>text</MsgType><Content>see <b>this</b>, <b>that</b> <br> </Content><MsgId>1</MsgId>",
            r#"{"MsgType":"text","Content":"see <b>this</b>, <b>that</b> <br>","MsgId":"1"}"#,
        ),
        (
            "blanks around a section that is not escaped",
            "<MsgType> <![CDATA[text]]> </MsgType><Content> <![CDATA[a]]> b]]> </Content> <MsgId> 1 </MsgId> ",
            r#"{"MsgType":"text","Content":"a]]> b","MsgId":"1"}"#,
        ),
        (
            "a text before its kind",
            "<Content><![CDATA[a]]></Content><MsgType>event</MsgType><Content><![CDATA[b]]></Content>\
             <MsgType><![CDATA[text]]></MsgType><MsgId>1</MsgId>",
            r#"{"Content":"a]]></Content><MsgType>event</MsgType><Content><![CDATA[b","MsgType":"text","MsgId":"1"}"#,
        ),
    ] {
        let body = format!("<xml>{head}{rest}</xml>");
        let push = Push::parse(body.as_bytes()).unwrap_or_else(|refusal| panic!("{what}: {refusal}"));
        let mut fields = push.fields();
        fields.shift_remove("CreateTime");
        assert_eq!(serde_json::to_string(&fields).unwrap(), members, "{what}");
    }
}

/// Texts made of pieces that an attacker would use.
fn text() -> impl Strategy<Value = String> {
    let names =
        ["Content", "Title", "Description", "Url", "Label", "Poiname", "ScanResult", "EventKey", "OuterStr"];
    let own =
        ["MsgId", "MsgType", "FromUserName", "Event", "Ticket", "ScanCodeInfo", "SendLocationInfo", "Forged"];
    let name = prop::sample::select([names.as_slice(), own.as_slice()].concat());
    let piece = prop_oneof![
        3 => name.clone().prop_map(|name| format!("]]></{name}>")),
        3 => name.clone().prop_map(|name| format!("<{name}><![CDATA[")),
        2 => name.clone().prop_map(|name| format!("</{name}>")),
        2 => name.clone().prop_map(|name| format!("<{name}>")),
        2 => name.prop_map(|name| format!("<{name}>1</{name}>")),
        3 => prop::sample::select(vec![
            "]]>", "<![CDATA[", "<!--", "-->", "<?", "?>", "</xml>", "<xml>", "]", "<", ">", "/>", "&", "&lt;", "\n",
            " ", "你", "\u{1}", "<!DOCTYPE", "a=\"",
        ]).prop_map(str::to_owned),
        2 => "[a-z0-9 ]{0,3}",
    ];
    prop::collection::vec(piece, 0..10).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn one_text_of_anything_is_whole_and_forges_nothing(
        kind in 0..PUSH_CASES.len(), place in any::<prop::sample::Index>(), text in text(),
    ) {
        let kind = &PUSH_CASES[kind];
        let mut values = vec!["plain"; kind.user_chosen.len()];
        let place = place.index(values.len());
        values[place] = &text;
        let read = kind.read(&values);
        // with siblings, an end tag that is followed by the same name is ambiguous
        if kind.user_chosen.len() == 1 {
            prop_assert_eq!(&read[0], &expected(&text), "{}: {}", kind.what, kind.body(&values));
        }
    }

    #[test]
    fn texts_of_anything_side_by_side_forge_nothing(
        kind in 0..PUSH_CASES.len(), texts in prop::collection::vec(text(), 3..=3),
    ) {
        let values: Vec<&str> = texts.iter().map(String::as_str).collect();
        let _ = PUSH_CASES[kind].read(&values);
    }
}
