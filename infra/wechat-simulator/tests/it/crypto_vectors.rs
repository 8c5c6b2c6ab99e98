use serde_json::Value;
use wechat_simulator::crypto::{AesKey, CryptoError, signature};

/// Published known-answer vectors and generated edge cases; the file names their sources.
const VECTORS: &str = include_str!("../../../../tests/fixtures/wechat/vectors.json");

#[test]
fn every_vector_holds() {
    let file: Value = serde_json::from_str(VECTORS).unwrap();
    let mut checked = 0;
    for vector in file["vectors"].as_array().unwrap() {
        let text = |name: &str| vector[name].as_str().unwrap_or_default();
        let id = text("id");
        if !text("msg_signature").is_empty() {
            let parts = [text("token"), text("timestamp"), text("nonce"), text("ciphertext")];
            assert_eq!(signature(&parts), text("msg_signature"), "{id}");
            checked += 1;
        }
        if !text("signature").is_empty() {
            assert_eq!(
                signature(&[text("token"), text("timestamp"), text("nonce")]),
                text("signature"),
                "{id}"
            );
            checked += 1;
        }
        match text("kind") {
            "sha1_sort" => {
                let parts: Vec<_> =
                    vector["parts"].as_array().unwrap().iter().map(|p| p.as_str().unwrap()).collect();
                assert_eq!(signature(&parts), text("expect"), "{id}");
                checked += 1;
            }
            "decrypt" | "url_verify" | "encrypt_decrypt" => {
                let key = AesKey::decode(text("encoding_aes_key")).unwrap();
                let (plain, app_id) = key.open(text("ciphertext")).unwrap();
                assert_eq!(
                    (plain.as_str(), app_id.as_str()),
                    (text("plaintext"), text("trailing_id")),
                    "{id}"
                );
                checked += 1;
                if text("kind") == "encrypt_decrypt" {
                    let random: Vec<u8> = (0..16)
                        .map(|n| u8::from_str_radix(&text("random_hex")[2 * n..2 * n + 2], 16).unwrap())
                        .collect();
                    let sealed = key.seal(random.try_into().unwrap(), text("plaintext"), text("trailing_id"));
                    assert_eq!(sealed, text("ciphertext"), "{id}");
                    checked += 1;
                }
                if let Some(current) = vector["current_encoding_aes_key"].as_str() {
                    assert!(AesKey::decode(current).unwrap().open(text("ciphertext")).is_err(), "{id}");
                }
            }
            _ => {}
        }
    }
    assert!(checked > 40, "only {checked} checks");
}

#[test]
fn damaged_ciphertext_is_refused_and_never_panics() {
    let key = AesKey::decode("abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG").unwrap();
    let sealed = key.seal([1; 16], "hello", "wx1");
    for cut in 0..sealed.len() {
        let _ = key.open(&sealed[..cut]);
    }
    for (what, bad) in [("nothing", ""), ("no base64", "%%%%"), ("half a block", "AAAA")] {
        assert_eq!(key.open(bad), Err(CryptoError::Ciphertext), "{what}");
    }
    assert!(AesKey::decode("short").is_err());
}
