//! Every message and event that WeChat documents: the hub's name, WeChat's name, and the members.
//!
//! # Source
//! WeChat "Receiving standard messages" and "Receiving event pushes", cards, publishing, subscription notices,
//! verification; members checked on the samples of SKIT and wechatpy.

use super::member::{FromMember, members};
use crate::envelope::element::Element;

/// Generates the enum and its two readers from one list, so that they cannot differ.
macro_rules! kinds {
    (
        messages { $( $(#[$mm:meta])* $mname:literal => $M:ident { $( $mf:ident: $mt:ty = $mp:literal, )* } )* }
        events { $( $(#[$em:meta])* $($ename:literal)|+ => $E:ident { $( $ef:ident: $et:ty = $ep:literal, )* } )* }
    ) => {
        /// What a push says.
        #[derive(Debug, Clone, PartialEq)]
        pub enum PushKind {
            $( $(#[$mm])* $M { $( #[doc = concat!("`", $mp, "`.")] $mf: $mt, )* }, )*
            $( $(#[$em])* $E { $( #[doc = concat!("`", $ep, "`.")] $ef: $et, )* }, )*
            /// A message of a type that is not in the table; stored and shown like any other.
            UnknownMessage,
            /// An event that is not in the table; stored and shown like any other.
            UnknownEvent,
        }

        /// Names of the events that are in the table, in lower case.
        pub(super) const EVENT_NAMES: &[&str] = &[ $( $( $ename, )+ )* ];

        impl PushKind {
            /// Message types are lower case; WeChat's own clients compare them exactly.
            pub(super) fn of_message(name: &str, push: &Element<'_>) -> Self {
                match name {
                    $( $mname => Self::$M { $( $mf: FromMember::read(push, $mp), )* }, )*
                    _ => Self::UnknownMessage,
                }
            }

            /// `name` in lower case: WeChat writes `subscribe`, `CLICK` and `WifiConnected`.
            pub(super) fn of_event(name: &str, push: &Element<'_>) -> Self {
                match name {
                    $( $($ename)|+ => Self::$E { $( $ef: FromMember::read(push, $ep), )* }, )*
                    _ => Self::UnknownEvent,
                }
            }
        }
    };
}

kinds! {
    messages {
        /// A text. `menu_choice` is set when it was chosen from a `msgmenu`.
        "text" => Text { content: String = "Content", menu_choice: Option<String> = "bizmsgmenuid", }
        /// A picture.
        "image" => Image { pic_url: String = "PicUrl", media_id: String = "MediaId", }
        /// A voice message; WeChat no longer recognizes speech for most accounts.
        "voice" => Voice {
            media_id: String = "MediaId",
            format: String = "Format",
            media_id_16k: Option<String> = "MediaId16K",
            recognition: Option<String> = "Recognition",
        }
        /// A video.
        "video" => Video { media_id: String = "MediaId", thumb_media_id: String = "ThumbMediaId", }
        /// A video taken in the chat.
        "shortvideo" => ShortVideo { media_id: String = "MediaId", thumb_media_id: String = "ThumbMediaId", }
        /// A place that the follower sent.
        "location" => Location {
            latitude: f64 = "Location_X",
            longitude: f64 = "Location_Y",
            scale: i64 = "Scale",
            label: String = "Label",
        }
        /// A shared link.
        "link" => Link { title: String = "Title", description: String = "Description", url: String = "Url", }
        /// A mini-program card.
        "miniprogrampage" => MiniProgramPage {
            title: String = "Title",
            app_id: String = "AppId",
            page_path: String = "PagePath",
            thumb_url: String = "ThumbUrl",
            thumb_media_id: String = "ThumbMediaId",
        }
        /// A file: undocumented, but seen.
        "file" => File {
            title: String = "Title",
            description: String = "Description",
            file_key: String = "FileKey",
            file_md5: String = "FileMd5",
            file_bytes: u64 = "FileTotalLen",
        }
    }
    events {
        /// Followed. The key is `qrscene_…` if through a QR code with a scene.
        "subscribe" => Subscribe { event_key: Option<String> = "EventKey", ticket: Option<String> = "Ticket", }
        /// Unfollowed.
        "unsubscribe" => Unsubscribe {}
        /// A follower scanned a QR code with a scene; the key is the scene.
        "scan" => Scan { event_key: String = "EventKey", ticket: Option<String> = "Ticket", }
        /// The position that an open chat reports.
        "location" => ReportedLocation {
            latitude: f64 = "Latitude",
            longitude: f64 = "Longitude",
            precision: f64 = "Precision",
        }
        /// A menu button with a key.
        "click" => Click { event_key: String = "EventKey", }
        /// A menu button with a page.
        "view" => View { url: String = "EventKey", menu_id: Option<String> = "MenuId", }
        /// A menu button with a mini program.
        "view_miniprogram" => ViewMiniProgram { page: String = "EventKey", menu_id: Option<String> = "MenuId", }
        /// A menu button that scans.
        "scancode_push" => ScanCodePush {
            event_key: String = "EventKey",
            scan_type: String = "ScanCodeInfo/ScanType",
            scan_result: String = "ScanCodeInfo/ScanResult",
        }
        /// A menu button that scans and waits for our reply.
        "scancode_waitmsg" => ScanCodeWaitMsg {
            event_key: String = "EventKey",
            scan_type: String = "ScanCodeInfo/ScanType",
            scan_result: String = "ScanCodeInfo/ScanResult",
        }
        /// A menu button that takes pictures; they follow as messages.
        "pic_sysphoto" => PicSysPhoto {
            event_key: String = "EventKey",
            count: i64 = "SendPicsInfo/Count",
            pictures: Vec<Picture> = "SendPicsInfo/PicList/item",
        }
        /// A menu button that takes or picks pictures.
        "pic_photo_or_album" => PicPhotoOrAlbum {
            event_key: String = "EventKey",
            count: i64 = "SendPicsInfo/Count",
            pictures: Vec<Picture> = "SendPicsInfo/PicList/item",
        }
        /// A menu button that picks pictures.
        "pic_weixin" => PicWeixin {
            event_key: String = "EventKey",
            count: i64 = "SendPicsInfo/Count",
            pictures: Vec<Picture> = "SendPicsInfo/PicList/item",
        }
        /// A menu button that picks a place; it follows as a message.
        "location_select" => LocationSelect {
            event_key: String = "EventKey",
            latitude: f64 = "SendLocationInfo/Location_X",
            longitude: f64 = "SendLocationInfo/Location_Y",
            scale: i64 = "SendLocationInfo/Scale",
            label: String = "SendLocationInfo/Label",
            poi_name: String = "SendLocationInfo/Poiname",
        }
        /// A template message arrived, or not: `success`, `failed:user block`, `failed: system failed`.
        "templatesendjobfinish" => TemplateFinished { msg_id: String = "MsgID", status: String = "Status", }
        /// A broadcast ended: `send success`, `send fail` or `err(n)`.
        "masssendjobfinish" => BroadcastFinished {
            msg_id: String = "MsgID",
            status: String = "Status",
            total: i64 = "TotalCount",
            filtered: i64 = "FilterCount",
            sent: i64 = "SentCount",
            error: i64 = "ErrorCount",
            check_state: i64 = "CopyrightCheckResult/CheckState",
            copyright: Vec<CopyrightCheck> = "CopyrightCheckResult/ResultList/item",
            articles: Vec<ArticleUrl> = "ArticleUrlResult/ResultList/item",
        }
        /// A publication ended; 0 is success.
        "publishjobfinish" | "freepublishjobfinish" => PublishFinished {
            publish_id: String = "PublishEventInfo/publish_id",
            publish_status: i64 = "PublishEventInfo/publish_status",
            article_id: Option<String> = "PublishEventInfo/article_id",
            articles: Vec<PublishedArticle> = "PublishEventInfo/article_detail/item",
            failed: Vec<String> = "PublishEventInfo/fail_idx",
        }
        /// The answer to a subscription dialogue.
        "subscribe_msg_popup_event" => NoticePopup {
            notices: Vec<NoticeChoice> = "SubscribeMsgPopupEvent/List",
        }
        /// Subscriptions that were refused in the settings.
        "subscribe_msg_change_event" => NoticeChange {
            notices: Vec<NoticeChoice> = "SubscribeMsgChangeEvent/List",
        }
        /// Subscription notices that were sent.
        "subscribe_msg_sent_event" => NoticeSent { notices: Vec<NoticeResult> = "SubscribeMsgSentEvent/List", }
        /// The account's qualification is verified.
        "qualification_verify_success" => QualificationVerified { expires_at: i64 = "ExpiredTime", }
        /// The account's qualification is not verified.
        "qualification_verify_fail" => QualificationFailed {
            failed_at: i64 = "FailTime", reason: String = "FailReason",
        }
        /// The account's name is verified.
        "naming_verify_success" => NamingVerified { expires_at: i64 = "ExpiredTime", }
        /// The account's name is not verified.
        "naming_verify_fail" => NamingFailed { failed_at: i64 = "FailTime", reason: String = "FailReason", }
        /// The account's verification should be renewed.
        "annual_renew" => AnnualRenew { expires_at: i64 = "ExpiredTime", }
        /// The account's verification has ended.
        "verify_expired" => VerifyExpired { expired_at: i64 = "ExpiredTime", }
        /// A customer-service session began.
        "kf_create_session" => KfCreated { kf_account: String = "KfAccount", }
        /// A customer-service session ended.
        "kf_close_session" => KfClosed {
            kf_account: String = "KfAccount", close_type: Option<String> = "CloseType",
        }
        /// A customer-service session went to another agent.
        "kf_switch_session" => KfSwitched { from: String = "FromKfAccount", to: String = "ToKfAccount", }
        /// A mini program's customer service was opened.
        "user_enter_tempsession" => EnterTempSession { session_from: String = "SessionFrom", }
        /// A coupon passed review.
        "card_pass_check" => CardPassed { card_id: String = "CardId", }
        /// A coupon failed review.
        "card_not_pass_check" => CardRefused { card_id: String = "CardId", reason: String = "RefuseReason", }
        /// A coupon was received.
        "user_get_card" => CardReceived {
            card_id: String = "CardId",
            code: String = "UserCardCode",
            given_by_friend: bool = "IsGiveByFriend",
            friend: Option<String> = "FriendUserName",
            old_code: Option<String> = "OldUserCardCode",
            outer_id: Option<String> = "OuterId",
            outer_str: Option<String> = "OuterStr",
            restored: bool = "IsRestoreMemberCard",
            recommended: bool = "IsRecommendByFriend",
            union_id: Option<String> = "UnionId",
        }
        /// A coupon was given to a friend, or came back.
        "user_gifting_card" => CardGifted {
            card_id: String = "CardId",
            code: String = "UserCardCode",
            returned: bool = "IsReturnBack",
            friend: Option<String> = "FriendUserName",
            chat_room: bool = "IsChatRoom",
        }
        /// A coupon was deleted.
        "user_del_card" => CardDeleted { card_id: String = "CardId", code: String = "UserCardCode", }
        /// A coupon was redeemed.
        "user_consume_card" => CardRedeemed {
            card_id: String = "CardId",
            code: String = "UserCardCode",
            source: String = "ConsumeSource",
            location: Option<String> = "LocationName",
            staff_open_id: Option<String> = "StaffOpenId",
            verify_code: Option<String> = "VerifyCode",
            amount: Option<String> = "RemarkAmount",
            outer_str: Option<String> = "OuterStr",
        }
        /// A coupon was paid with; fees in 1/100 yuan.
        "user_pay_from_pay_cell" => CardPaid {
            card_id: String = "CardId",
            code: String = "UserCardCode",
            transaction: String = "TransId",
            location_id: Option<String> = "LocationId",
            fee: i64 = "Fee",
            original_fee: i64 = "OriginalFee",
        }
        /// A membership card was opened.
        "user_view_card" => CardViewed {
            card_id: String = "CardId", code: String = "UserCardCode", outer_str: Option<String> = "OuterStr",
        }
        /// The account was opened from a coupon.
        "user_enter_session_from_card" => CardSession { card_id: String = "CardId", code: String = "UserCardCode", }
        /// A membership card's balance changed.
        "update_member_card" => CardUpdated {
            card_id: String = "CardId",
            code: String = "UserCardCode",
            bonus: i64 = "ModifyBonus",
            balance: i64 = "ModifyBalance",
        }
        /// A coupon's stock runs out.
        "card_sku_remind" => CardStockLow { card_id: String = "CardId", detail: String = "Detail", }
        /// The account's coupon coins changed.
        "card_pay_order" => CardOrder {
            order_id: String = "OrderId",
            status: String = "Status",
            created_at: i64 = "CreateOrderTime",
            paid_at: i64 = "PayFinishTime",
            order_type: String = "OrderType",
        }
        /// A membership card's form was filled in.
        "submit_membercard_user_info" => CardForm { card_id: String = "CardId", code: String = "UserCardCode", }
        /// A coupon sub-merchant was reviewed.
        "card_merchant_check_result" => CardMerchantChecked {
            merchant_id: String = "MerchantId", passed: bool = "IsPass", reason: Option<String> = "Reason",
        }
        /// A gift card was bought.
        "giftcard_pay_done" => GiftCardPaid { page_id: String = "PageId", order_id: String = "OrderId", }
        /// A gift card was given.
        "giftcard_send_to_friend" => GiftCardSent {
            page_id: String = "PageId",
            order_id: String = "OrderId",
            chat_room: bool = "IsChatRoom",
            returned: bool = "IsReturnBack",
        }
        /// A gift card was taken.
        "giftcard_user_accept" => GiftCardAccepted {
            page_id: String = "PageId", order_id: String = "OrderId", chat_room: bool = "IsChatRoom",
        }
        /// The follower changed what they had let us know.
        "user_info_modified" => ProfileModified {
            open_id: String = "OpenID", app_id: String = "AppID", revoke_info: Option<String> = "RevokeInfo",
        }
        /// The follower withdrew what they had let us know: the named data must go.
        "user_authorization_revoke" => ProfileRevoked {
            open_id: String = "OpenID",
            app_id: String = "AppID",
            revoke_info: Option<String> = "RevokeInfo",
            plugin_id: Option<String> = "PluginID",
        }
        /// The follower closed their WeChat account: everything must go.
        "user_authorization_cancellation" => ProfileCancelled {
            open_id: String = "OpenID", app_id: String = "AppID", plugin_id: Option<String> = "PluginID",
        }
        /// A sales guide's code was scanned.
        "guide_qrcode_scan_event" => GuideScanned {
            guide_account: String = "GuideScanEvent/qrcode_guide_account",
            guide_open_id: String = "GuideScanEvent/qrcode_guide_openid",
            open_id: String = "GuideScanEvent/openid",
            action: i64 = "GuideScanEvent/action",
            info: String = "GuideScanEvent/qrcode_info",
        }
        /// A sales guide's invitation was answered.
        "guide_invite_result_event" => GuideInvited {}
        /// A store's entry was reviewed.
        "poi_check_notify" => PoiChecked {
            own_id: String = "UniqId", poi_id: String = "PoiId", result: String = "Result", message: String = "Msg",
        }
        /// An order of WeChat's old store.
        "merchant_order" => MerchantOrder {
            order_id: String = "OrderId",
            status: String = "OrderStatus",
            product_id: String = "ProductId",
            sku: String = "SkuInfo",
        }
        /// A visitor's phone joined the shop's Wi-Fi.
        "wificonnected" => WifiConnected {
            connected_at: i64 = "ConnectTime",
            expires_at: i64 = "ExpireTime",
            vendor_id: String = "VendorId",
            place_id: Option<String> = "PlaceId",
            shop_id: Option<String> = "ShopId",
            device: String = "DeviceNo",
        }
        /// A phone was shaken near a beacon.
        "shakearoundusershake" => Shaken {}
        /// A product's barcode was scanned.
        "user_scan_product" | "user_scan_product_enter_session" | "user_scan_product_async"
            | "user_scan_product_verify_action" => ProductScanned {}
        /// An invoice changed.
        "user_authorize_invoice" | "update_invoice_status" | "submit_invoice_title"
            | "cloud_invoice_invoiceresult_event" => Invoice {}
    }
}

members! {
    /// A picture that a menu button sent.
    Picture { md5: String = "PicMd5Sum", }
    /// One article of a broadcast, as checked for originality.
    CopyrightCheck {
        index: i64 = "ArticleIdx",
        declared: i64 = "UserDeclareState",
        audited: i64 = "AuditState",
        original_url: Option<String> = "OriginalArticleUrl",
        original_type: Option<String> = "OriginalArticleType",
        can_reprint: bool = "CanReprint",
        replace_content: bool = "NeedReplaceContent",
        show_source: bool = "NeedShowReprintSource",
    }
    /// One article of a broadcast, as sent.
    ArticleUrl { index: i64 = "ArticleIdx", url: String = "ArticleUrl", }
    /// One article of a publication.
    PublishedArticle { index: i64 = "idx", url: String = "article_url", }
    /// What a follower chose for one notice: `accept` or `reject`.
    NoticeChoice {
        template_id: String = "TemplateId",
        status: String = "SubscribeStatusString",
        scene: Option<String> = "PopupScene",
    }
    /// How one notice was delivered; 0 is success.
    NoticeResult {
        template_id: String = "TemplateId",
        msg_id: String = "MsgID",
        error_code: i64 = "ErrorCode",
        error_status: String = "ErrorStatus",
    }
}
