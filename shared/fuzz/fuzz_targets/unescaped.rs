//! Any values in user-chosen members: the push is read, WeChat's own
//! members stay as they are, and a value without siblings is complete.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shared::envelope::element;
use shared::model::push::Push;

const HEAD: &str = "<xml><ToUserName><![CDATA[gh_1]]></ToUserName><FromUserName><![CDATA[oFan]]></FromUserName>\
    <CreateTime>7</CreateTime>";

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = element::decode(bytes) else { return };
    let values: Vec<&str> = text.splitn(3, '\u{1e}').collect();
    let value = |n: usize| values.get(n).copied().unwrap_or_default();
    let message = format!(
        "{HEAD}<MsgType><![CDATA[text]]></MsgType><Content><![CDATA[{}]]></Content><MsgId>9</MsgId></xml>",
        value(0)
    );
    let push = read(&message);
    assert_eq!((push.msg_type.as_str(), push.msg_id), ("text", Some(9)));
    let fields = push.fields();
    assert_eq!(fields.len(), 4, "{fields:?}");
    assert_eq!(fields["Content"], whole(value(0)));

    let link = format!(
        "{HEAD}<MsgType><![CDATA[link]]></MsgType><Title><![CDATA[{}]]></Title><Description><![CDATA[{}]]></Description>\
         <Url><![CDATA[{}]]></Url><MsgId>9</MsgId></xml>",
        value(0),
        value(1),
        value(2)
    );
    let push = read(&link);
    assert_eq!((push.msg_type.as_str(), push.msg_id), ("link", Some(9)));
    let known = ["CreateTime", "MsgType", "Title", "Description", "Url", "MsgId"];
    assert!(push.fields().keys().all(|name| known.contains(&name.as_str())));

    let scan = format!(
        "{HEAD}<MsgType><![CDATA[event]]></MsgType><Event><![CDATA[scancode_push]]></Event><EventKey><![CDATA[k]]>\
         </EventKey><ScanCodeInfo><ScanType><![CDATA[qrcode]]></ScanType><ScanResult><![CDATA[{}]]></ScanResult>\
         </ScanCodeInfo></xml>",
        value(0)
    );
    let push = read(&scan);
    assert_eq!((push.msg_type.as_str(), push.event.as_deref()), ("event", Some("scancode_push")));
    let fields = push.fields();
    assert_eq!((fields.len(), &fields["EventKey"]), (5, &"k".into()), "{fields:?}");
    assert_eq!(fields["ScanCodeInfo"]["ScanResult"], whole(value(0)));
});

fn read(body: &str) -> Push<'_> {
    let push = Push::parse(body.as_bytes()).expect("it is read");
    assert_eq!((push.to_user_name.as_str(), push.from_user_name.as_str()), ("gh_1", "oFan"));
    assert_eq!(push.create_time, 7);
    assert!(push.detail().len() <= shared::model::detail::MAX_DETAIL_BYTES);
    push
}

/// The value as it is stored: where all of it escapes `]]>` by splitting it, that is undone.
fn whole(value: &str) -> String {
    let split = "]]]]><![CDATA[>";
    let escaped = value.contains(split) && !value.replace(split, "").contains("]]>");
    let value = if escaped { value.replace(split, "]]>") } else { value.to_owned() };
    value.trim().to_owned()
}
