//! Which running server a command speaks to.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use super::client::{Client, Place};
use super::outcome::Failure;
use crate::model::report::SOCKET_NAME;

/// Silence that is waited for by default.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(clap::Args, Debug)]
pub(super) struct ServerArgs {
    /// The running server: unix:PATH or http://HOST:PORT [default: unix:STATE/hale.sock] [env: HALE_SERVER]
    #[arg(long, value_name = "PLACE")]
    server: Option<String>,
    /// File with the token, for a URL [env: HALE_TOKEN_FILE]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// State directory of the server [env: HALE_STATE]
    #[arg(long, value_name = "DIR", conflicts_with = "server")]
    state: Option<PathBuf>,
}

impl ServerArgs {
    /// Whether flags or the environment say which server is meant.
    pub(super) fn is_given(&self) -> bool {
        self.server.is_some() || self.state.is_some() || variable("HALE_SERVER").is_some()
    }

    /// The server to ask: what the flags say, else the environment, else the socket in the default state directory.
    ///
    /// # Errors
    /// Bad arguments.
    pub(super) fn client(&self) -> Result<Client, Failure> {
        let named = match (&self.server, &self.state) {
            (Some(server), _) => Some(server.clone()),
            (None, Some(_)) => None,
            (None, None) => variable("HALE_SERVER"),
        };
        let place = match named {
            Some(text) => Place::parse(&text)?,
            None => Place::Unix(self.state_directory().join(SOCKET_NAME)),
        };
        Ok(Client { place, token: self.token()?, patience: PATIENCE })
    }

    fn state_directory(&self) -> PathBuf {
        let given = self.state.clone().or_else(|| variable("HALE_STATE").map(PathBuf::from));
        given.unwrap_or_else(|| PathBuf::from("/var/lib/hale"))
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

/// An environment variable that is set and not empty.
pub(super) fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}
