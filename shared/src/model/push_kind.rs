//! Every message and event that WeChat documents: WeChat's name and the hub's. Of their members only those
//! that the hub acts on; the timeline keeps all of them as they came.
//!
//! # Source
//! WeChat "Receiving standard messages" and "Receiving event pushes", cards, publishing, subscription notices,
//! verification; members checked on the samples of SKIT and wechatpy.

use crate::envelope::element::Element;

/// Generates the enum and its two readers from one list, so that they cannot differ.
macro_rules! kinds {
    (
        messages { $( $(#[$mm:meta])* $mname:literal => $M:ident $({ $( $mf:ident: $mp:literal ),+ })? )* }
        events { $( #[doc = $about:literal] $($ename:literal)|+ => $E:ident $({ $( $ef:ident: $ep:literal ),+ })? )* }
    ) => {
        /// What a push says. A member that is missing is empty.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum PushKind {
            $( $(#[$mm])* $M $({ $( #[doc = concat!("`", $mp, "`.")] $mf: String, )+ })?, )*
            $( #[doc = $about] $E $({ $( #[doc = concat!("`", $ep, "`.")] $ef: String, )+ })?, )*
            /// A message of a type that is not in the table; stored and shown like any other.
            UnknownMessage,
            /// An event that is not in the table; stored and shown like any other.
            UnknownEvent,
        }

        /// The events that are in the table: the name in lower case, and what it says.
        pub(super) const EVENTS: &[(&str, &str)] = &[ $( $( ($ename, $about), )+ )* ];

        impl PushKind {
            /// Message types are lower case; WeChat's own clients compare them exactly.
            pub(super) fn of_message(name: &str, push: &Element<'_>) -> Self {
                match name {
                    $( $mname => Self::$M $({ $( $mf: member(push, $mp), )+ })?, )*
                    _ => Self::UnknownMessage,
                }
            }

            /// `name` in lower case: WeChat writes `subscribe`, `CLICK` and `WifiConnected`.
            pub(super) fn of_event(name: &str, push: &Element<'_>) -> Self {
                match name {
                    $( $($ename)|+ => Self::$E $({ $( $ef: member(push, $ep), )+ })?, )*
                    _ => Self::UnknownEvent,
                }
            }
        }
    };
}

fn member(push: &Element<'_>, name: &str) -> String {
    push.text_of(name).unwrap_or_default().to_owned()
}

kinds! {
    messages {
        /// A text.
        "text" => Text { content: "Content" }
        /// A picture.
        "image" => Image
        /// A voice message; WeChat no longer recognizes speech for most accounts.
        "voice" => Voice
        /// A video.
        "video" => Video
        /// A video taken in the chat.
        "shortvideo" => ShortVideo
        /// A place that the follower sent.
        "location" => Location
        /// A shared link.
        "link" => Link
        /// A mini-program card.
        "miniprogrampage" => MiniProgramPage
        /// A file: undocumented, but seen.
        "file" => File
    }
    events {
        /// Followed. The key is `qrscene_…` if through a QR code with a scene.
        "subscribe" => Subscribe { event_key: "EventKey" }
        /// Unfollowed.
        "unsubscribe" => Unsubscribe
        /// A follower scanned a QR code with a scene; the key is the scene.
        "scan" => Scan { event_key: "EventKey" }
        /// The position that an open chat reports.
        "location" => ReportedLocation
        /// A menu button with a key.
        "click" => Click
        /// A menu button with a page.
        "view" => View
        /// A menu button with a mini program.
        "view_miniprogram" => ViewMiniProgram
        /// A menu button that scans.
        "scancode_push" => ScanCodePush
        /// A menu button that scans and waits for our reply.
        "scancode_waitmsg" => ScanCodeWaitMsg
        /// A menu button that takes pictures; they follow as messages.
        "pic_sysphoto" => PicSysPhoto
        /// A menu button that takes or picks pictures.
        "pic_photo_or_album" => PicPhotoOrAlbum
        /// A menu button that picks pictures.
        "pic_weixin" => PicWeixin
        /// A menu button that picks a place; it follows as a message.
        "location_select" => LocationSelect
        /// A template message arrived, or not: `success`, `failed:user block`, `failed: system failed`.
        "templatesendjobfinish" => TemplateFinished { msg_id: "MsgID", status: "Status" }
        /// A broadcast ended: `send success`, `send fail` or `err(n)`.
        "masssendjobfinish" => BroadcastFinished
        /// A publication ended; its `publish_status` 0 is success.
        "publishjobfinish" | "freepublishjobfinish" => PublishFinished
        /// The answer to a subscription dialogue.
        "subscribe_msg_popup_event" => NoticePopup
        /// Subscriptions that were refused in the settings.
        "subscribe_msg_change_event" => NoticeChange
        /// Subscription notices that were sent.
        "subscribe_msg_sent_event" => NoticeSent
        /// The account's qualification is verified.
        "qualification_verify_success" => QualificationVerified
        /// The account's qualification is not verified.
        "qualification_verify_fail" => QualificationFailed
        /// The account's name is verified.
        "naming_verify_success" => NamingVerified
        /// The account's name is not verified.
        "naming_verify_fail" => NamingFailed
        /// The account's verification should be renewed.
        "annual_renew" => AnnualRenew
        /// The account's verification has ended.
        "verify_expired" => VerifyExpired
        /// A customer-service session began.
        "kf_create_session" => KfCreated
        /// A customer-service session ended.
        "kf_close_session" => KfClosed
        /// A customer-service session went to another agent.
        "kf_switch_session" => KfSwitched
        /// A mini program's customer service was opened.
        "user_enter_tempsession" => EnterTempSession
        /// A coupon passed review.
        "card_pass_check" => CardPassed
        /// A coupon failed review.
        "card_not_pass_check" => CardRefused
        /// A coupon was received.
        "user_get_card" => CardReceived
        /// A coupon was given to a friend, or came back.
        "user_gifting_card" => CardGifted
        /// A coupon was deleted.
        "user_del_card" => CardDeleted
        /// A coupon was redeemed.
        "user_consume_card" => CardRedeemed
        /// A coupon was paid with; fees in 1/100 yuan.
        "user_pay_from_pay_cell" => CardPaid
        /// A membership card was opened.
        "user_view_card" => CardViewed
        /// The account was opened from a coupon.
        "user_enter_session_from_card" => CardSession
        /// A membership card's balance changed.
        "update_member_card" => CardUpdated
        /// A coupon's stock runs out.
        "card_sku_remind" => CardStockLow
        /// The account's coupon coins changed.
        "card_pay_order" => CardOrder
        /// A membership card's form was filled in.
        "submit_membercard_user_info" => CardForm
        /// A coupon sub-merchant was reviewed.
        "card_merchant_check_result" => CardMerchantChecked
        /// A gift card was bought.
        "giftcard_pay_done" => GiftCardPaid
        /// A gift card was given.
        "giftcard_send_to_friend" => GiftCardSent
        /// A gift card was taken.
        "giftcard_user_accept" => GiftCardAccepted
        /// The follower changed what they had let the account know.
        "user_info_modified" => ProfileModified
        /// The follower withdrew what they had let the account know: who keeps the named data has to delete it.
        "user_authorization_revoke" => ProfileRevoked
        /// The follower closed their WeChat account: who keeps anything of theirs has to delete it.
        "user_authorization_cancellation" => ProfileCancelled
        /// A sales guide's code was scanned.
        "guide_qrcode_scan_event" => GuideScanned
        /// A sales guide's invitation was answered.
        "guide_invite_result_event" => GuideInvited
        /// A store's entry was reviewed.
        "poi_check_notify" => PoiChecked
        /// An order of WeChat's old store.
        "merchant_order" => MerchantOrder
        /// A visitor's phone joined the shop's Wi-Fi.
        "wificonnected" => WifiConnected
        /// A phone was shaken near a beacon.
        "shakearoundusershake" => Shaken
        /// A product's barcode was scanned.
        "user_scan_product" | "user_scan_product_enter_session" | "user_scan_product_async"
            | "user_scan_product_verify_action" => ProductScanned
        /// An invoice changed.
        "user_authorize_invoice" | "update_invoice_status" | "submit_invoice_title"
            | "cloud_invoice_invoiceresult_event" => Invoice
    }
}
