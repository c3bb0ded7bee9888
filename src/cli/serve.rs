//! `hale serve`: the server.

use std::sync::Arc;

use super::configuration;
use super::outcome::{Failure, Outcome};
use crate::app::{self, AppError, Reread};
use crate::config::{LogFormat, ServeArgs};
use crate::telemetry::logs;

/// Serves until a signal ends it.
pub(super) fn run(args: ServeArgs) -> Outcome {
    let (config, warnings) = configuration::load(&args)?;
    logs::init(&config.log_level, config.log_format == LogFormat::Json).map_err(Failure::usage)?;
    for warning in &warnings {
        tracing::warn!("{}", warning.unmarked());
    }
    let args = args.settled(&config);
    let reread: Reread = Arc::new(move || configuration::load(&args));
    app::run(&config, &reread, None, None).map_err(Failure::from)
}

impl From<AppError> for Failure {
    fn from(error: AppError) -> Self {
        match error {
            AppError::Configuration(diagnostics) => Self::Configuration(diagnostics),
            AppError::Running(diagnostic) => Self::Diagnostic(Box::new(diagnostic)),
        }
    }
}
