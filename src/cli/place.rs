//! Where a server is: `--server`.

use std::path::PathBuf;

use super::outcome::Failure;

/// Where the server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Path of its unix socket.
    Unix(PathBuf),
    /// Its admin listener.
    Url {
        /// Whether it is asked by TLS.
        tls: bool,
        /// `host:port`.
        authority: String,
    },
}

impl Place {
    /// An admin listener that speaks plain HTTP.
    pub(super) fn http(authority: impl Into<String>) -> Self {
        Self::Url { tls: false, authority: authority.into() }
    }

    /// Reads `unix:PATH`, `http://HOST[:PORT]` or `https://HOST[:PORT]`.
    ///
    /// # Errors
    /// What is wrong with it, as bad arguments.
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Self::Unix(path.into()));
        }
        let wrong = |why: &str| {
            Failure::usage(format!("--server {text:?}: {why}"))
                .hint("unix:/var/lib/hale/hale.sock, http://127.0.0.1:8053 or https://hale.example.net:8053")
        };
        let (tls, rest) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
            (Some(rest), _) => (false, rest),
            (None, Some(rest)) => (true, rest),
            (None, None) => return Err(wrong("is neither a unix socket nor a URL")),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.is_empty() || authority.contains(['/', '@', '?', '#', ' ']) {
            return Err(wrong("is not a host with a port"));
        }
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let default = if tls { 443 } else { 80 };
        let authority = if has_port { authority.to_owned() } else { format!("{authority}:{default}") };
        Ok(Self::Url { tls, authority })
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Url { tls: false, authority } => write!(f, "http://{authority}"),
            Self::Url { tls: true, authority } => write!(f, "https://{authority}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let http = |authority: &str| Some(Place::http(authority));
        let https = |authority: &str| Some(Place::Url { tls: true, authority: authority.to_owned() });
        for (text, want) in [
            ("unix:/run/hale.sock", Some(Place::Unix("/run/hale.sock".into()))),
            ("http://127.0.0.1:8053", http("127.0.0.1:8053")),
            ("http://[::1]:8053/", http("[::1]:8053")),
            ("http://[::1]", http("[::1]:80")),
            ("http://hale.example", http("hale.example:80")),
            ("https://hale.example", https("hale.example:443")),
            ("https://[2001:db8::1]:8053/", https("[2001:db8::1]:8053")),
            ("https://", None),
            ("http://", None),
            ("http://a/b", None),
            ("http://user@a", None),
            ("HTTPS://a", None),
            ("unix:", None),
            ("/run/hale.sock", None),
            ("", None),
        ] {
            assert_eq!(Place::parse(text).ok(), want, "{text}");
        }
    }
}
