//! Where a redirect leads, and whether a probe may go there. Pure.

use hyper::Uri;

/// Where a request goes, as the URL says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// `https` or `http`.
    pub(super) tls: bool,
    /// Without port, in lower case.
    pub(super) host: String,
    /// Given, or the scheme's default.
    pub(super) port: u16,
    /// Path and query.
    pub(super) path: String,
}

impl Place {
    /// Takes `host` as it stands in a `Host` header, with or without port; `None` if it cannot stand there.
    pub(super) fn new(tls: bool, host: &str, path: &str) -> Option<Self> {
        let authority: hyper::http::uri::Authority = host.parse().ok()?;
        let port = authority.port_u16().unwrap_or(default_port(tls));
        Some(Self { tls, host: authority.host().to_ascii_lowercase(), port, path: path.to_owned() })
    }

    /// The value of the `Host` header.
    pub(super) fn host_header(&self) -> String {
        if self.port == default_port(self.tls) {
            self.host.clone()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Where a `Location` seen here leads (RFC 3986 §5, without dot segments, which servers resolve as well); `None` unless it is
    /// `http` or `https` at the same host.
    pub(super) fn redirect(&self, location: &str) -> Option<Self> {
        let location = location.split('#').next().unwrap_or("").trim();
        if let Some(rest) = location.strip_prefix("//") {
            let scheme = if self.tls { "https" } else { "http" };
            return self.redirect(&format!("{scheme}://{rest}"));
        }
        if location.starts_with('/') {
            return Some(Self { path: location.to_owned(), ..self.clone() });
        }
        if !location.contains("://") {
            return self.relative(location);
        }
        let uri: Uri = location.parse().ok()?;
        let tls = match uri.scheme_str()? {
            scheme if scheme.eq_ignore_ascii_case("https") => true,
            scheme if scheme.eq_ignore_ascii_case("http") => false,
            _ => return None,
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Self::new(tls, uri.authority()?.as_str(), path).filter(|place| place.host == self.host)
    }

    fn relative(&self, location: &str) -> Option<Self> {
        let scheme = location.split_once(':').is_some_and(|(scheme, _)| !scheme.contains(['/', '?']));
        if scheme {
            // `mailto:` and the like.
            return None;
        }
        let path = self.path.split('?').next().unwrap_or("/");
        let path = match location {
            "" => path.to_owned(),
            query if query.starts_with('?') => format!("{path}{query}"),
            _ => format!("{}{location}", &path[..=path.rfind('/').unwrap_or(0)]),
        };
        Some(Self { path, ..self.clone() })
    }
}

fn default_port(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(location: &str, expected: Option<(bool, &str, &str)>) {
        let from = Place::new(false, "WWW.example.test:8080", "/a/b?x=1").unwrap();
        let found = from.redirect(location);
        let found = found.as_ref().map(|p| (p.tls, p.host_header(), p.path.as_str()));
        assert_eq!(found, expected.map(|(tls, host, path)| (tls, host.to_owned(), path)), "{location}");
    }

    #[test]
    fn redirects_stay_at_their_host() {
        let here = "www.example.test:8080";
        check("/c?y#f", Some((false, here, "/c?y")));
        check("c", Some((false, here, "/a/c")));
        check("?z", Some((false, here, "/a/b?z")));
        check("", Some((false, here, "/a/b")));
        check("//www.example.test:8080/c", Some((false, here, "/c")));
        check("http://www.example.test:8080", Some((false, here, "/")));
        check("HTTP://www.EXAMPLE.test/c", Some((false, "www.example.test", "/c")));
        check("https://www.example.test/c", Some((true, "www.example.test", "/c")));
        check("https://www.example.test:8443/c?d", Some((true, "www.example.test:8443", "/c?d")));
        check("http://other.example.test:8080/", None);
        check("//other.example.test/", None);
        check("ftp://www.example.test/", None);
        check("mailto:a@www.example.test", None);
        check("http://", None);
    }
}
