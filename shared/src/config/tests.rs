use super::*;

fn valid_value(name: &str) -> Option<String> {
    let value = match name {
        "OAHUB_COMPONENT_APP_ID" => "wx00c0ffee00c0ffee",
        "OAHUB_COMPONENT_APP_SECRET" => "0123456789abcdef",
        "OAHUB_COMPONENT_TOKEN" => "pamtest",
        "OAHUB_COMPONENT_AES_KEY" => "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG",
        "OAHUB_PUBLIC_URL" => "https://hub.example/",
        "AWS_REGION" => "eu-central-1",
        "OAHUB_ADMIN_KEY" => "an-operators-key-of-forty-characters-xyz",
        name if name.ends_with("_TABLE") || is_queue_variable(name) => return Some(format!("the-{name}")),
        _ => return None,
    };
    Some(value.into())
}

fn load(mode: RunMode, given: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::load(Need::ALL, mode, |name| {
        let given = given.iter().find(|(other, _)| *other == name);
        given.map_or_else(|| valid_value(name), |(_, value)| Some((*value).to_owned()))
    })
}

#[test]
fn right_settings_load_with_their_defaults() {
    let config = load(RunMode::Live, &[]).unwrap();
    assert_eq!(config.wechat_api_url, "https://api.weixin.qq.com");
    assert_eq!(config.public_url, "https://hub.example");
    assert!(!config.reject_stale_callbacks);
    assert_eq!(config.timeline_days, TIMELINE_DAYS_DEFAULT);
    assert_eq!(config.resources.send_queue, "the-OAHUB_SEND_QUEUE");
    assert_eq!(config.admin_keys.len(), 1);
    assert!(!format!("{config:?}").contains("pamtest"), "a secret printed");
}

#[test]
fn what_comes_from_before_a_rotation_is_read_each_by_itself() {
    let key = "zyxwvutsrqponmlkjihgfedcba0123456789ABCDEFG";
    let admin = "the-operators-key-of-last-year-0123456789";
    for (name, value, tokens, keys, admins) in [
        ("OAHUB_COMPONENT_TOKEN_PREVIOUS", "before", 1, 0, 1),
        ("OAHUB_COMPONENT_AES_KEY_PREVIOUS", key, 0, 1, 1),
        ("OAHUB_ADMIN_KEY_PREVIOUS", admin, 0, 0, 2),
        ("OAHUB_COMPONENT_TOKEN_PREVIOUS", "", 0, 0, 1),
    ] {
        let config = load(RunMode::Live, &[(name, value)]).unwrap();
        let found = (
            usize::from(config.component.token_previous.is_some()),
            usize::from(config.component.aes_key_previous.is_some()),
            config.admin_keys.len(),
        );
        assert_eq!(found, (tokens, keys, admins), "{name}");
    }
}

#[test]
fn a_wrong_setting_is_named_without_its_value() {
    for (what, name, value) in [
        ("no region", "AWS_REGION", ""),
        ("a region of two words", "AWS_REGION", "eu central"),
        ("no app id", "OAHUB_COMPONENT_APP_ID", ""),
        ("an app id of another kind", "OAHUB_COMPONENT_APP_ID", "gh_3c884a361561"),
        ("no secret", "OAHUB_COMPONENT_APP_SECRET", ""),
        ("a token with a blank", "OAHUB_COMPONENT_TOKEN", "two words"),
        ("a token of two letters", "OAHUB_COMPONENT_TOKEN", "tw"),
        ("a previous token of two letters", "OAHUB_COMPONENT_TOKEN_PREVIOUS", "tw"),
        ("a key of 42 characters", "OAHUB_COMPONENT_AES_KEY", "abcdefghijklmnopqrstuvwxyz0123456789ABCDEF"),
        ("a key with a plus", "OAHUB_COMPONENT_AES_KEY", "+bcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"),
        ("a malformed previous key", "OAHUB_COMPONENT_AES_KEY_PREVIOUS", "short-key-value"),
        ("an API URL without a scheme", "OAHUB_WECHAT_API_URL", "no-scheme.example"),
        ("an API URL of another scheme", "OAHUB_WECHAT_API_URL", "ftp://api.example"),
        ("an API URL in the open", "OAHUB_WECHAT_API_URL", "http://api.example"),
        ("a page's URL in the open", "OAHUB_WECHAT_MP_URL", "http://mp.example"),
        ("an OAuth URL in the open", "OAHUB_WECHAT_OPEN_URL", "http://127.example"),
        ("no public URL", "OAHUB_PUBLIC_URL", ""),
        ("a public URL in the open", "OAHUB_PUBLIC_URL", "http://hub.example"),
        ("a public URL with a query", "OAHUB_PUBLIC_URL", "https://hub.example/x?y=1"),
        ("a public URL with an empty query", "OAHUB_PUBLIC_URL", "https://hub.example/?"),
        ("a public URL with a fragment", "OAHUB_PUBLIC_URL", "https://hub.example/#top"),
        ("a public URL with a user", "OAHUB_PUBLIC_URL", "https://hub.example@evil.example"),
        ("no admin key", "OAHUB_ADMIN_KEY", ""),
        ("an admin key with a blank", "OAHUB_ADMIN_KEY", "one that is long enough and has blanks"),
        ("an admin key of one character", "OAHUB_ADMIN_KEY", "§"),
        ("an admin key of 31 characters", "OAHUB_ADMIN_KEY", "0123456789012345678901234567890"),
        ("the published admin key", "OAHUB_ADMIN_KEY", SIMULATED_ADMIN_KEY),
        ("a previous admin key that is short", "OAHUB_ADMIN_KEY_PREVIOUS", "short-admin-key"),
        ("a word that is no truth value", "OAHUB_REJECT_STALE_CALLBACKS", "yes please"),
        ("a word that is no number", "OAHUB_TIMELINE_DAYS", "forever"),
        ("fewer days than a queue keeps a job", "OAHUB_TIMELINE_DAYS", "14"),
        ("more than ten years", "OAHUB_TIMELINE_DAYS", "3651"),
        ("no table", "OAHUB_WORK_TABLE", ""),
        ("no queue", "OAHUB_SEND_QUEUE", ""),
    ] {
        let ConfigError(faults) = load(RunMode::Live, &[(name, value)]).unwrap_err();
        assert_eq!(faults.iter().map(|fault| fault.name).collect::<Vec<_>>(), [name], "{what}");
        let said = ConfigError(faults).to_string();
        assert_eq!(said.lines().count(), 1, "{what}: {said}");
        let how = if value.is_empty() { "missing" } else { "malformed" };
        assert!(said.starts_with(&format!("{name} is {how}: it must be ")), "{what}: {said}");
        assert!(!said.contains("must be optional"), "{what}: {said}");
        assert!(value.is_empty() || !said.contains(value), "{what}: the value is printed");
    }
}

#[test]
fn all_wrong_settings_are_named_at_once() {
    let none = Config::load(Need::ALL, RunMode::Live, |_| None).unwrap_err();
    let missing: Vec<_> = none.0.iter().map(|fault| fault.name).collect();
    let mut expected: Vec<&Setting> = Need::ALL.iter().flat_map(|need| need.settings()).copied().collect();
    expected.retain(|setting| setting.when_unset == WhenUnset::Required);
    expected.push(&setting::REGION);
    assert_eq!(missing.len(), expected.len(), "{none}");
    assert!(expected.iter().all(|setting| missing.contains(&setting.name)), "{none}");
    assert_eq!(none.to_string().lines().count(), expected.len());
    assert!(none.0.iter().all(|fault| fault.missing), "{none}");
}

#[test]
fn a_simulated_hub_takes_short_keys_and_open_urls() {
    let given = [
        ("OAHUB_ADMIN_KEY", SIMULATED_ADMIN_KEY),
        ("OAHUB_PUBLIC_URL", "http://192.168.1.7:3000"),
        ("OAHUB_WECHAT_API_URL", "http://wechat"),
    ];
    assert!(load(RunMode::Simulated, &given).is_ok());
    let ConfigError(faults) = load(RunMode::Live, &given).unwrap_err();
    assert_eq!(faults.len(), given.len());
    for url in ["http://127.0.0.1:3000", "http://127.8.0.1", "http://[::1]:3000/", "http://localhost:1/hub"] {
        assert!(load(RunMode::Live, &[("OAHUB_PUBLIC_URL", url)]).is_ok(), "{url} is loopback");
    }
}

#[test]
fn what_is_not_needed_is_not_read() {
    let needs = &[Need::ComponentAppId, Need::WorkTable];
    let config = Config::load(needs, RunMode::Live, |name| {
        let known = ["OAHUB_COMPONENT_APP_ID", "OAHUB_WORK_TABLE", "OAHUB_STACK", "SSL_CERT_FILE"];
        assert!(known.contains(&name) || name.starts_with("AWS_"), "{name} was read");
        valid_value(name)
    });
    let config = config.unwrap();
    assert_eq!(config.component.app_id, "wx00c0ffee00c0ffee");
    assert!(config.component.app_secret.is_empty() && config.component.aes_key.is_empty());
    assert!(config.admin_keys.is_empty(), "an empty key would open the operator's routes to an empty one");
    assert!(config.resources.platform_table.is_empty());
}

#[test]
fn all_needs_are_listed_and_every_setting_is_somebodys() {
    for setting in SETTINGS {
        let needed = Need::ALL.iter().flat_map(|need| need.settings()).any(|s| s.name == setting.name);
        assert!(needed, "{} is read by nobody", setting.name);
    }
    let names: Vec<_> = Need::ALL.iter().flat_map(|need| need.settings()).map(|s| s.name).collect();
    let once: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!(names.len(), once.len(), "a setting of two needs");
}
