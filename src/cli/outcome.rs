//! How a command ends: what is printed, and the exit code.

use std::fmt::Write as _;
use std::process::ExitCode;

use super::terminal;
use crate::model::diagnostic::Diagnostic;

/// Exit code of something that failed while running.
const FAILED: u8 = 1;
/// Exit code of bad configuration or arguments.
pub(super) const USAGE: u8 = 2;

/// What every subcommand gives back.
pub(super) type Outcome = Result<(), Failure>;

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub(super) enum Failure {
    /// Every finding about the configuration, an error among them.
    Configuration(Vec<Diagnostic>),
    /// One finding about the system rather than the configuration: exit code 1.
    Diagnostic(Box<Diagnostic>),
    /// One sentence, with its exit code.
    Sentence { code: u8, message: String, hint: Option<String> },
    /// Everything was said already.
    Silent(ExitCode),
}

impl Failure {
    /// The arguments or the configuration are wrong: exit code 2.
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::Sentence { code: USAGE, message: message.into(), hint: None }
    }

    /// It did not work out: exit code 1.
    pub(super) fn running(message: impl Into<String>) -> Self {
        Self::Sentence { code: FAILED, message: message.into(), hint: None }
    }

    /// What is wrong, in one line.
    pub(super) fn sentence(&self) -> String {
        match self {
            Self::Sentence { message, .. } => message.clone(),
            Self::Diagnostic(diagnostic) => diagnostic.message.clone(),
            Self::Configuration(_) | Self::Silent(_) => "it does not work".to_owned(),
        }
    }

    /// Adds what to do about it.
    pub(super) fn hint(mut self, text: impl Into<String>) -> Self {
        if let Self::Sentence { hint, .. } = &mut self {
            *hint = Some(text.into());
        }
        self
    }
}

/// Prints a failure to standard error and turns the outcome into an exit code.
pub(super) fn conclude(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Silent(code)) => code,
        Err(Failure::Configuration(diagnostics)) => {
            report(&diagnostics);
            ExitCode::from(USAGE)
        }
        Err(Failure::Diagnostic(diagnostic)) => {
            terminal::print_error(&format!("{diagnostic}\n"));
            ExitCode::from(FAILED)
        }
        Err(Failure::Sentence { code, message, hint }) => {
            let mut text = format!("error: {message}\n");
            if let Some(hint) = hint {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "  hint: {hint}");
            }
            terminal::print_error(&text);
            ExitCode::from(code)
        }
    }
}

/// Prints every finding to standard error, then a line that counts them; nothing where there are none.
pub(super) fn report(diagnostics: &[Diagnostic]) {
    if diagnostics.is_empty() {
        return;
    }
    let mut text = String::new();
    for diagnostic in diagnostics {
        let _ = writeln!(text, "{diagnostic}");
    }
    let _ = writeln!(text, "{}", count(diagnostics));
    terminal::print_error(&text);
}

/// `2 errors, 1 warning`.
fn count(diagnostics: &[Diagnostic]) -> String {
    let errors = diagnostics.iter().filter(|d| d.is_error()).count();
    let counted = [(errors, "error"), (diagnostics.len() - errors, "warning")];
    let parts: Vec<String> = counted
        .into_iter()
        .filter(|&(n, _)| n > 0)
        .map(|(n, what)| terminal::plural(n as u64, what))
        .collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn counts_read_naturally() {
        let error = Diagnostic::error(Path::new("a.json"), "e");
        let warning = Diagnostic::warning(Path::new("a.json"), "w");
        let cases = [
            (vec![error.clone()], "1 error"),
            (vec![error.clone(), warning.clone(), error.clone()], "2 errors, 1 warning"),
            (vec![warning.clone(), warning.clone()], "2 warnings"),
        ];
        for (diagnostics, want) in cases {
            assert_eq!(count(&diagnostics), want);
        }
    }
}
