//! Which requests a local server accepts: by `Host` name and by the page that sent them. Any web page can
//! make a visitor's browser send requests to this machine: by a name that resolves to it (DNS rebinding),
//! or through a form posted from another site.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, Method, header};

/// The `Host` names that a server accepts.
#[derive(Debug, Clone)]
pub struct AllowedHosts {
    listen: IpAddr,
    names: BTreeSet<String>,
}

impl AllowedHosts {
    /// Allows loopback names and `listen`; any address when listening on all: rebinding needs a name.
    #[must_use]
    pub fn for_listener(listen: SocketAddr) -> Self {
        Self { listen: listen.ip(), names: BTreeSet::from(["localhost".to_owned()]) }
    }

    /// Also allows this name, such as a public URL's host.
    #[must_use]
    pub fn with_name(mut self, name: &str) -> Self {
        self.names.insert(name.to_ascii_lowercase());
        self
    }

    /// Whether the `Host` header of a request is allowed.
    #[must_use]
    pub fn allows(&self, headers: &HeaderMap) -> bool {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let name = without_port(host).to_ascii_lowercase();
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        match address {
            Ok(address) => address.is_loopback() || address == self.listen || self.listen.is_unspecified(),
            Err(_) => self.names.contains(name.trim_end_matches('.')),
        }
    }
}

/// `host:1`, `[::1]:1`.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.ends_with(':') => {
            if name.contains(':') && !name.starts_with('[') { host } else { name }
        }
        _ => host,
    }
}

/// Whether a request that changes something comes from another site's page. Browsers say so in
/// `Sec-Fetch-Site`, older ones in `Origin`; programs send neither.
#[must_use]
pub fn is_cross_site(method: &Method, headers: &HeaderMap) -> bool {
    if method.is_safe() {
        return false;
    }
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => !matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => {
            let host = text("host").unwrap_or_default();
            origin.split_once("://").is_none_or(|(_, from)| !from.eq_ignore_ascii_case(host))
        }
        (None, None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_server_answers_to_its_own_names() {
        let local: SocketAddr = "127.0.0.1:3000".parse().unwrap();
        let inside: SocketAddr = "192.168.7.1:3000".parse().unwrap();
        let all: SocketAddr = "0.0.0.0:3000".parse().unwrap();
        for (what, listen, host, known) in [
            ("its address", local, "127.0.0.1:3000", true),
            ("loopback's name", local, "localhost:3000", true),
            ("without a port", local, "LOCALHOST", true),
            ("loopback's other address", local, "[::1]:3000", true),
            ("the public name", local, "hub.example", true),
            ("the public name with a port and a dot", local, "Hub.Example.:443", true),
            ("somebody's name that leads here", local, "evil.example:3000", false),
            ("a name that only begins so", local, "localhost.evil.example", false),
            ("another address", local, "192.168.7.1:3000", false),
            ("the address that it listens on", inside, "192.168.7.1:3000", true),
            ("any address where it listens on all", all, "10.1.2.3:3000", true),
            ("but no name", all, "evil.example", false),
            ("nothing", local, "", false),
        ] {
            let hosts = AllowedHosts::for_listener(listen).with_name("hub.example");
            assert_eq!(hosts.allows(&headers(&[("host", host)])), known, "{what}");
        }
        assert!(!AllowedHosts::for_listener(local).allows(&HeaderMap::new()), "no Host at all");
    }

    #[test]
    fn what_another_sites_page_posts_is_told_from_the_rest() {
        let host = ("host", "127.0.0.1:3001");
        for (what, method, given, cross) in [
            ("a program", Method::POST, &[host][..], false),
            ("our own page", Method::POST, &[host, ("sec-fetch-site", "same-origin")], false),
            ("typed by the user", Method::POST, &[host, ("sec-fetch-site", "none")], false),
            ("another site", Method::POST, &[host, ("sec-fetch-site", "cross-site")], true),
            ("another port of this machine", Method::POST, &[host, ("sec-fetch-site", "same-site")], true),
            ("an old browser, our page", Method::POST, &[host, ("origin", "http://127.0.0.1:3001")], false),
            ("an old browser, another", Method::POST, &[host, ("origin", "http://evil.example")], true),
            ("a page without an origin", Method::DELETE, &[host, ("origin", "null")], true),
            ("a link to be read", Method::GET, &[host, ("sec-fetch-site", "cross-site")], false),
        ] {
            assert_eq!(is_cross_site(&method, &headers(given)), cross, "{what}");
        }
    }
}
