//! Texts of the binding pages. Their reader administers an Official Account, perhaps on a phone,
//! and knows neither this hub nor its terms: they say who asks, what for, and what to do next.

use super::{Lang, Text};

macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident: $zh:literal, $en:literal;)*) => {
        $($(#[$doc])* pub const $name: Text = Text { zh: $zh, en: $en };)*
    };
}

texts! {
    /// The browser's title before the consent.
    BIND: "授权公众号", "Authorize an Official Account";
    /// Above the permission sets.
    GRANT: "请在微信页面上保留以下全部权限。取消任何一项，对应的功能就无法使用：",
        "Leave all of these ticked on WeChat’s page. Without one of them, what stands beside it does not work:";
    /// Button inside WeChat.
    AUTHORIZE_HERE: "在微信中授权", "Authorize in WeChat";
    /// How to continue inside WeChat.
    AUTHORIZE_HERE_HOW: "请用公众号管理员的微信打开本页，点按钮后在微信页面上确认即可，无需扫码。",
        "Open this page in the WeChat of the account’s administrator. The button leads to WeChat’s page, where they confirm; nothing has to be scanned.";
    /// The other way, inside WeChat.
    SCAN_INSTEAD: "在电脑上操作？打开二维码页面", "At a computer? Open the page with the QR code";
    /// Button elsewhere.
    SCAN: "打开微信授权二维码", "Show WeChat’s QR code";
    /// How to continue elsewhere.
    SCAN_HOW: "点按钮后，微信会显示一个二维码。请公众号的管理员用手机微信扫码，并在手机上确认。",
        "WeChat shows a QR code. The account’s administrator scans it with WeChat on a phone and confirms there.";
    /// The other way, elsewhere.
    ON_A_PHONE: "在手机上？请把本页链接发到微信（例如“文件传输助手”），在微信里打开，就不用扫码。",
        "On a phone? Send this page’s address to yourself in WeChat (to File Transfer, say) and open it there: then nothing has to be scanned.";
    /// Where an account's id is shown; WeChat's own words for its menus.
    WHERE_ITS_ID_STANDS: "公众号的 AppID 可在 mp.weixin.qq.com 的“设置与开发 → 开发接口管理”（旧称“基本配置”）中查看。",
        "An account’s AppID stands on mp.weixin.qq.com under 设置与开发 (settings) → 开发接口管理 (interfaces; 基本配置 in older versions).";
    /// Link to WeChat's page for phones.
    WITHOUT_SCANNING: "已在微信中？直接授权", "In WeChat already? Authorize without scanning";
    /// Who may be bound.
    ONLY_VERIFIED: "仅支持已通过微信认证的服务号和订阅号。",
        "Only service and subscription accounts with WeChat verification can be bound.";
    /// Button: begin again.
    TRY_AGAIN: "重新授权", "Try again";
    /// Before the code that support needs.
    FOR_SUPPORT: "联系技术支持时请提供：", "For support:";
    /// The account of an unknown name.
    THE_ACCOUNT: "该公众号", "The account";
    /// After the list of what is missing.
    ADD_PERMISSIONS: "如需补上，请让发送链接的人再给您一个新链接，重新授权并保留全部权限；或登录 mp.weixin.qq.com 在“授权管理”中修改。",
        "To add them, ask whoever sent you the link for a new one and leave all permissions ticked; or change them on mp.weixin.qq.com under 授权管理.";
    /// Before that list.
    MISSING: "以下权限没有授予，对应的功能无法使用：", "These permissions were not granted, so what stands beside them does not work:";
    /// An import runs.
    IMPORT_RUNS: "正在导入粉丝列表，您可以关闭此页。", "Its followers are being imported. You can close this page.";
    /// An import has ended.
    IMPORT_DONE: "粉丝列表已导入，您可以关闭此页。", "Its followers have been imported. You can close this page.";
    /// It has failed.
    IMPORT_FAILED: "粉丝列表没有导入。", "Its followers have not been imported.";
    /// None is started, because the permission is missing.
    IMPORT_NOT_GRANTED: "没有授予“用户管理”权限，不会导入粉丝列表。您可以关闭此页。",
        "Its followers are not imported: 用户管理 (User Management Access) was not granted. You can close this page.";
    /// Nothing is known of an import.
    CAN_CLOSE: "您可以关闭此页。", "You can close this page.";
    /// Refusal.
    UNVERIFIED: "该公众号未通过微信认证，不能绑定：没有认证，大部分接口不可用（微博认证不算）。请先在 mp.weixin.qq.com 完成微信认证，再重新授权。",
        "This account has no WeChat verification, without which most interfaces are closed to it; a Weibo verification does not count. Have it verified on mp.weixin.qq.com, then try again.";
    /// Refusal.
    NOT_OFFICIAL: "您选择的不是公众号。小程序不能绑定，请重新授权并选择公众号。",
        "What you chose is no Official Account. Mini programs cannot be bound: try again and choose an Official Account.";
    /// Refusal.
    NO_ACCESS: "微信没有开放该公众号的接口权限。请重新授权，并保留全部权限。",
        "WeChat did not grant access to the account’s interfaces. Try again and leave all permissions ticked.";
    /// Title of an expired link.
    EXPIRED: "链接已过期", "This link has expired";
    /// What to do then.
    EXPIRED_TEXT: "请让发送链接的人给您一个新链接。", "Ask whoever sent it to you for a new one.";
    /// Title: no code, or one that does not work.
    NO_CODE: "没有收到微信的授权", "WeChat’s authorization did not arrive";
    /// What to do then.
    NO_CODE_TEXT: "此地址中的授权码已使用、已过期，或不是微信给出的。目前没有绑定任何公众号，请重新授权。",
        "The code in this address is used, too old or not WeChat’s. Nothing was bound by it; start over.";
    /// Title while WeChat's event is not here.
    WAITING: "正在等待微信的确认", "Waiting for WeChat’s confirmation";
    /// What the page does then.
    WAITING_TEXT: "微信的确认通常在几秒内到达。本页会自动刷新，最多等待半分钟，您无需操作。",
        "It is here within seconds as a rule. This page reloads by itself for half a minute at most; there is nothing to do.";
    /// Title while the event's job is at work.
    BINDING: "微信已确认，正在处理", "WeChat has confirmed; one moment";
    /// What the page does then.
    BINDING_TEXT: "正在查看该公众号。本页会自动刷新，结果马上显示。",
        "The account is being looked at. This page reloads by itself and shows how it went.";
    /// The same, after a while.
    BINDING_LONG_TEXT: "处理时间比平时长，您的授权不会丢失。请几分钟后刷新本页，或向发送链接的人询问结果。",
        "It takes longer than usual, and nothing is lost. Reload this page in a few minutes, or ask whoever sent you the link.";
    /// Title: WeChat has not confirmed yet.
    NOT_YET: "还没有收到微信的确认", "WeChat has not confirmed it yet";
    /// What to do then: the browser that came back is not the one that opened the page, or the page is too old.
    NOT_YET_TEXT: "请在打开授权链接的同一个浏览器中完成授权。如果您已经确认，请稍等片刻后刷新本页；仍无结果时，请重新授权。",
        "Come back in the browser that opened the link. If you have confirmed already, reload this page in a moment; if that does not help, start over.";
    /// The page is older than the account's unbinding.
    TOO_EARLY_TEXT: "打开授权页之后，该公众号的授权被取消过。目前没有绑定任何公众号，请重新授权。",
        "The account’s authorization was cancelled after this page had been opened. Nothing was bound; start over.";
    /// The consent began on another page.
    NOT_OURS_TEXT: "微信告知这次授权来自另一个页面，因此没有通过此链接绑定。请重新授权。",
        "WeChat says that this authorization began on another page, so this link bound nothing. Start over.";
    /// Title of a link whose tenant may bind nothing.
    OVER: "链接已失效", "This link is no longer valid";
    /// What to do then.
    OVER_TEXT: "发送链接的一方目前不能绑定公众号，请联系对方。",
        "Whoever sent it cannot bind accounts at present; ask them.";
    /// Title of an unknown link.
    UNKNOWN: "链接不存在", "There is no such link";
    /// What to do then.
    UNKNOWN_TEXT: "地址不完整，或者链接已被删除。请索取新的链接。",
        "The address is incomplete, or the link was made too long ago. Ask for a new one.";
    /// Title: the platform has no ticket yet.
    NO_TICKET: "平台尚未就绪", "Not ready yet";
    /// For the operator.
    NO_TICKET_TEXT: "微信还没有向本平台推送 component_verify_ticket。在微信开放平台配置授权事件接收 URL 后，微信每 10 分钟推送一次。请几分钟后刷新本页。",
        "WeChat has not sent this platform a component_verify_ticket yet. It does so every 10 minutes once the authorization event URL is set in WeChat’s console. Reload this page in a few minutes.";
    /// Title: something did not answer.
    UNAVAILABLE: "暂时无法完成", "This did not work just now";
    /// What to do then.
    UNAVAILABLE_TEXT: "微信或本平台暂时没有响应，您的授权不会丢失。请过一会儿重试。",
        "WeChat or this platform did not answer. Nothing is lost: wait a moment and try again.";
}

/// What each required permission set is for, by WeChat's id.
pub const PURPOSES: [(u32, Text); 8] = [
    (1, Text { zh: "接收和回复粉丝消息", en: "receiving and answering messages" }),
    (15, Text { zh: "自定义菜单", en: "the account’s menu" }),
    (4, Text { zh: "识别网页访客", en: "recognising visitors of pages" }),
    (7, Text { zh: "群发、发布和模板消息", en: "broadcasts, publications, template messages" }),
    (2, Text { zh: "导入粉丝、标签", en: "importing followers, tags" }),
    (3, Text { zh: "带参数二维码", en: "QR codes" }),
    (11, Text { zh: "图片、草稿等素材", en: "pictures, drafts and other material" }),
    (8, Text { zh: "卡券", en: "coupons" }),
];

/// Headline: which tenant asks.
#[must_use]
pub fn who_asks(lang: Lang, tenant: &str) -> String {
    lang.pick(
        format!("「{tenant}」请求绑定您的公众号"),
        format!("{tenant} asks to bind your Official Account"),
    )
}

/// What that means; `host` is this platform's.
#[must_use]
pub fn what_binding_means(lang: Lang, tenant: &str, host: &str) -> String {
    lang.pick(
        format!("绑定后，「{tenant}」可以通过本平台（{host}）查看粉丝、收发消息和管理公众号。如果您不认识对方，请不要继续。"),
        format!(
            "{tenant} can then see the account’s followers, read and send messages and manage the account through this \
             platform ({host}). Do not go on if you do not know them."
        ),
    )
}

/// Which one account a link is for.
#[must_use]
pub fn bound_to_one_account(lang: Lang, account: &str) -> String {
    lang.pick(format!("此链接只能绑定：{account}"), format!("This link binds one account alone: {account}"))
}

/// Where the link at the end leads.
#[must_use]
pub fn leads_to(lang: Lang, host: &str) -> String {
    lang.pick(format!("完成后可返回 {host}。"), format!("When you are done you can go back to {host}."))
}

/// Until when a link is valid: Beijing time and UTC, `HH:MM`, and the minutes that are left.
#[must_use]
pub fn good_until(lang: Lang, beijing: &str, utc: &str, minutes: i64) -> String {
    lang.pick(
        format!("链接在北京时间 {beijing}（UTC {utc}）前有效，还有 {minutes} 分钟。"),
        format!("The link is good for {minutes} minutes, until {beijing} in Beijing ({utc} UTC)."),
    )
}

/// Before the reason why the last attempt failed.
#[must_use]
pub fn last_attempt_failed(lang: Lang, account: &str) -> String {
    lang.pick(format!("上次授权的「{account}」没有绑定成功："), format!("{account} was not bound:"))
}

/// Headline of a successful binding.
#[must_use]
pub fn bound_title(lang: Lang, account: &str, tenant: &str) -> String {
    lang.pick(format!("「{account}」已绑定到「{tenant}」"), format!("{account} is bound to {tenant}"))
}

/// Headline of a refusal.
#[must_use]
pub fn not_bound_title(lang: Lang, account: &str, tenant: &str) -> String {
    lang.pick(format!("「{account}」没有绑定到「{tenant}」"), format!("{account} was not bound to {tenant}"))
}

/// Who sent a link.
#[must_use]
pub fn sent_by(lang: Lang, tenant: &str) -> String {
    lang.pick(format!("此链接由「{tenant}」发出。"), format!("The link is from {tenant}."))
}

/// Link back.
#[must_use]
pub fn back_to(lang: Lang, host: &str) -> String {
    lang.pick(format!("返回 {host}"), format!("Back to {host}"))
}

/// Why another account than the link's was refused.
#[must_use]
pub fn wrong_account_chosen(lang: Lang, chosen: &str, only: &str) -> String {
    lang.pick(
        format!("此链接只能绑定 {only}，而您选择的是 {chosen}。请重新授权并选择正确的公众号。"),
        format!("This link is for {only}, and you chose {chosen}. Try again and choose the right one."),
    )
}

/// Why an account of another company was refused.
#[must_use]
pub fn bound_by_other_tenant(lang: Lang, account: &str, tenant: &str, host: &str) -> String {
    lang.pick(
        format!(
            "「{account}」已由另一家公司在本平台（{host}）绑定，一个公众号同时只能绑定给一家公司。如果要改为绑定给「{tenant}」：先取消微信授权（见下文），再请那家公司在其账号列表中删除该公众号，或联系本平台的运营方解除，然后重新打开此链接。"
        ),
        format!(
            "Another company has bound {account} on this platform ({host}), and an account can be bound to one company at a \
             time. To bind it to {tenant} instead: cancel the authorization at WeChat (see below), have that company delete \
             the account from its list, or ask whoever runs this platform to release it, and open this link again."
        ),
    )
}

/// How to cancel an authorization that is of no use here; with WeChat's own words for its menus.
#[must_use]
pub fn how_to_cancel(lang: Lang, owned: bool) -> String {
    let how = lang.pick(
        "登录 mp.weixin.qq.com → 设置与开发 → 公众号设置 → 授权管理 → 查看平台详情 → 取消授权。",
        "sign in to mp.weixin.qq.com and go to 设置与开发 (settings) → 公众号设置 (account) → 授权管理 (authorizations) → \
         查看平台详情 (platform’s details) → 取消授权 (cancel).",
    );
    let why = match owned {
        true => lang.pick(
            "取消授权的方法（取消后，那家公司将不再收到该公众号的消息）：",
            "To cancel the authorization, which ends it for that company too: ",
        ),
        false => lang.pick(
            "您在微信上的授权仍然有效。如不再需要，请取消：",
            "Your authorization still stands at WeChat. If you do not want it to, cancel it: ",
        ),
    };
    format!("{why}{how}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::permission::required_permissions;

    #[test]
    fn every_required_permission_set_has_a_purpose() {
        let required: Vec<u32> = required_permissions().map(|(id, ..)| *id).collect();
        assert_eq!(PURPOSES.map(|(id, _)| id).to_vec(), required);
    }
}
