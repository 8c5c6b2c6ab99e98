//! A request from an unknown sender, and the same bytes as a correctly signed and encrypted plaintext.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shared::config::PlatformCredentials;
use shared::envelope::{CallbackQuery, Envelope, PushRecipient};
use shared::model::component_event::ComponentEvent;
use shared::model::push::Push;
use shared::secret::Secret;

fuzz_target!(|body: &[u8]| {
    let envelope = Envelope::new(&PlatformCredentials {
        app_id: "wx00c0ffee00c0ffee".to_owned(),
        token: Secret::new("hubToken2025"),
        aes_key: Secret::new("kQ3vXo7BzR2mN8sTfW1cYpE6uJ5hLdGa0iSxAeMnZbV"),
        ..PlatformCredentials::default()
    })
    .expect("the key is right");
    assert!(envelope.open(&CallbackQuery::default(), body).is_err());
    let (query, sealed) = envelope.seal_push(PushRecipient::ToUserName("gh_7b1c9d2e4f60"), body, 0, "n", [7; 16]);
    match envelope.open(&query, sealed.as_bytes()) {
        Ok(opened) => assert_eq!(opened.plaintext, body),
        Err(refusal) => assert_eq!(refusal.status(), 413),
    }
    if let Ok(push) = Push::parse(body) {
        let _ = (push.identity(), push.event_type(), push.opened_window(), push.detail());
    }
    let _ = ComponentEvent::parse(body);
});
