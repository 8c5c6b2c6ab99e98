//! Which function a request is for, as API Gateway decides it: literal segments before `{parameters}` before
//! `{proxy+}`, a method before `ANY`.

use std::collections::BTreeMap;

/// A route and its target.
#[derive(Debug, Clone)]
pub struct Route<T> {
    method: String,
    path: String,
    target: T,
}

/// All routes.
#[derive(Debug, Clone)]
pub struct Routes<T>(Vec<Route<T>>);

/// A match.
#[derive(Debug, PartialEq, Eq)]
pub struct RouteMatch<'a, T> {
    /// The route's target.
    pub target: &'a T,
    /// `METHOD /path` as the template has it.
    pub key: String,
    /// Values of the path's parameters, as the request spells them.
    pub parameters: BTreeMap<String, String>,
}

impl<T> Default for Routes<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Routes<T> {
    /// Adds a route.
    pub fn add(&mut self, method: &str, path: &str, target: T) {
        self.0.push(Route { method: method.to_uppercase(), path: path.to_owned(), target });
    }

    /// The best match of a request.
    #[must_use]
    pub fn find(&self, method: &str, path: &str) -> Option<RouteMatch<'_, T>> {
        let candidates = self.0.iter().filter(|r| r.method == "ANY" || r.method == method);
        let matches = candidates.filter_map(|route| {
            let (rank, parameters) = match_path(&route.path, path)?;
            Some(((rank, route.method != "ANY"), route, parameters))
        });
        let (_, route, parameters) = matches.max_by(|a, b| a.0.cmp(&b.0))?;
        Some(RouteMatch {
            target: &route.target,
            key: format!("{} {}", route.method, route.path),
            parameters,
        })
    }
}

/// Matches a path; the rank has, per segment, 2 for a literal, 1 for a parameter, 0 for `{proxy+}`.
fn match_path(template: &str, path: &str) -> Option<(Vec<u8>, BTreeMap<String, String>)> {
    let (mut rank, mut parameters) = (Vec::new(), BTreeMap::new());
    let mut segments = path.split('/').skip(1);
    for wanted in template.split('/').skip(1) {
        let inner = wanted.strip_prefix('{').and_then(|w| w.strip_suffix('}'));
        match inner {
            Some(name) if name.ends_with('+') => {
                let rest: Vec<_> = segments.by_ref().collect();
                if rest.iter().all(|s| s.is_empty()) {
                    return None;
                }
                parameters.insert(name.trim_end_matches('+').to_owned(), rest.join("/"));
                rank.push(0);
            }
            Some(name) => {
                let value = segments.next().filter(|s| !s.is_empty())?;
                parameters.insert(name.to_owned(), value.to_owned());
                rank.push(1);
            }
            None => {
                segments.next().filter(|s| *s == wanted)?;
                rank.push(2);
            }
        }
    }
    segments.next().is_none().then_some((rank, parameters))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_literal_route_wins() {
        let mut routes = Routes::default();
        routes.add("GET", "/bind/{id}", "page");
        routes.add("GET", "/bind/callback", "return");
        routes.add("ANY", "/v1/{proxy+}", "api");
        routes.add("POST", "/wechat/accounts/{app_id}", "push");
        for (what, method, path, target) in [
            ("a literal before a parameter", "GET", "/bind/callback", Some("return")),
            ("a parameter", "GET", "/bind/bnd_1", Some("page")),
            ("a parameter is not empty", "GET", "/bind/", None),
            ("everything below", "DELETE", "/v1/accounts/wx1/menu", Some("api")),
            ("but not the folder itself", "GET", "/v1", None),
            ("another method", "GET", "/wechat/accounts/wx1", None),
            ("a longer path", "POST", "/wechat/accounts/wx1/x", None),
            ("no route at all", "GET", "/", None),
        ] {
            assert_eq!(routes.find(method, path).map(|f| *f.target), target, "{what}");
        }
        let found = routes.find("POST", "/wechat/accounts/wx1").unwrap();
        assert_eq!(found.parameters["app_id"], "wx1");
    }
}
