//! Which running server a command speaks to.

use std::env;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::client::Client;
use super::configuration;
use super::connect::Trust;
use super::outcome::Failure;
use super::place::Place;
use crate::config::ServeArgs;
use crate::model::report::SOCKET_NAME;

/// Where the admin listener is unless configured.
const DEFAULT_ADMIN: &str = "127.0.0.1:8053";
/// Silence that is waited for by default.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(clap::Args, Debug)]
pub(super) struct ServerArgs {
    /// The running server: unix:PATH, https://HOST:PORT or http://HOST:PORT [default: unix:STATE/hale.sock, else the admin listener]
    /// [env: HALE_SERVER]
    #[arg(long, value_name = "PLACE")]
    server: Option<String>,
    /// File with the token, for a URL; it goes out by https or to a loopback address only [env: HALE_TOKEN_FILE]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// File with the certificates that the server's may rest on [default: the system's] [env: HALE_CA_FILE]
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// State directory of the server [env: HALE_STATE]
    #[arg(long, value_name = "DIR", conflicts_with = "server")]
    state: Option<PathBuf>,
    /// Configuration file of the server, for its state directory or admin listener [env: HALE_CONFIG]
    #[arg(long, value_name = "FILE", conflicts_with = "server")]
    config: Option<PathBuf>,
}

/// Arguments of a command that shows what the server has.
#[derive(clap::Args, Debug)]
pub(super) struct ListArgs {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) server: ServerArgs,
}

impl ServerArgs {
    /// Whether flags or the environment say which server is meant.
    pub(super) fn is_given(&self) -> bool {
        self.server.is_some()
            || self.state.is_some()
            || self.config.is_some()
            || variable("HALE_SERVER").is_some()
    }

    /// The server to ask: what the flags say, else the environment, else what the configuration that `hale serve` would read says.
    ///
    /// # Errors
    /// Bad arguments, or a configuration file that was named and cannot be read.
    pub(super) fn client(&self) -> Result<Client, Failure> {
        let by_flags = self.state.is_some() || self.config.is_some();
        let named = self.server.clone().or_else(|| variable("HALE_SERVER").filter(|_| !by_flags));
        let place = match named {
            Some(text) => Place::parse(&text)?,
            None => self.configured()?,
        };
        let ca_file = self.ca_file.clone().or_else(|| variable("HALE_CA_FILE").map(PathBuf::from));
        let trust = ca_file.map_or(Trust::System, Trust::File);
        Ok(Client { place, token: self.token()?, trust, patience: PATIENCE })
    }

    /// The unix socket in the state directory, or the admin listener of a server that has none.
    fn configured(&self) -> Result<Place, Failure> {
        let state = self
            .state
            .clone()
            .or_else(|| variable("HALE_STATE").filter(|_| self.config.is_none()).map(PathBuf::from));
        if let Some(state) = state {
            return Ok(Place::Unix(state.join(SOCKET_NAME)));
        }
        let args = ServeArgs { config: self.config.clone(), ..ServeArgs::default() };
        match configuration::load(&args) {
            Ok((config, _)) => Ok(place_of(config.state, config.admin.listen, config.admin.tls.is_some())),
            Err(errors) if self.config.is_some() => Err(errors.into()),
            // Without a configuration the server that runs can only be one with the defaults.
            Err(_) => Ok(Place::http(DEFAULT_ADMIN)),
        }
    }

    fn token(&self) -> Result<Option<String>, Failure> {
        let file = self.token_file.clone().or_else(|| variable("HALE_TOKEN_FILE").map(PathBuf::from));
        let Some(file) = file else { return Ok(None) };
        let text = std::fs::read_to_string(&file).map_err(|error| {
            Failure::usage(format!("{}: the token cannot be read: {error}", file.display()))
        })?;
        let token = text.trim();
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Failure::usage(format!("{}: a token is one line of visible ASCII", file.display())));
        }
        Ok(Some(token.to_owned()))
    }
}

fn place_of(state: Option<PathBuf>, admin: Option<SocketAddr>, tls: bool) -> Place {
    match (state, admin) {
        (Some(state), _) => Place::Unix(state.join(SOCKET_NAME)),
        (None, Some(admin)) => Place::Url { tls, authority: reachable(admin).to_string() },
        (None, None) => Place::http(DEFAULT_ADMIN),
    }
}

/// Where a server is reached from here: one that listens on every address is, among others, on loopback.
pub(super) fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// An environment variable that is set and not empty.
pub(super) fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_configured_server_is() {
        let address = |text: &str| text.parse::<SocketAddr>().ok();
        let http = |text: &str| Place::http(text);
        let socket = Place::Unix("/s/hale.sock".into());
        assert_eq!(place_of(Some("/s".into()), address("127.0.0.1:1"), true), socket);
        assert_eq!(place_of(None, address("0.0.0.0:1"), false), http("127.0.0.1:1"));
        assert_eq!(place_of(None, address("[::]:1"), false), http("[::1]:1"));
        assert_eq!(place_of(None, address("192.0.2.1:1"), false), http("192.0.2.1:1"));
        let secure = Place::Url { tls: true, authority: "127.0.0.1:1".to_owned() };
        assert_eq!(place_of(None, address("0.0.0.0:1"), true), secure);
        assert_eq!(place_of(None, None, true), http(DEFAULT_ADMIN));
    }
}
