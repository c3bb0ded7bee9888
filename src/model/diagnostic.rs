//! Errors and warnings about what a person wrote: where, what, and a hint.

use std::fmt;
use std::path::{Path, PathBuf};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Served, but probably not what was meant.
    Warning,
    /// Not served.
    Error,
}

/// A place in a text file; lines and columns count from 1, columns in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
}

/// One finding. `Display` is the form of interface.md, "An error looks like this".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The file, or what stands in its place (`--ns`, `DNS_PORT`).
    pub file: PathBuf,
    /// Where in the file, if it is about a place.
    pub position: Option<Position>,
    /// JSON path such as `records.api.pools[1].A[0]`; empty for the whole file.
    pub path: String,
    /// What is wrong, with the value in question.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// An error about a whole file; refine it with the `with_` methods.
    pub fn error(file: &Path, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            file: file.to_owned(),
            position: None,
            path: String::new(),
            message: message.into(),
            hint: None,
        }
    }

    /// A warning about a whole file.
    pub fn warning(file: &Path, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(file, message) }
    }

    /// Adds the place.
    #[must_use]
    pub fn at(mut self, position: Position, path: impl Into<String>) -> Self {
        self.position = Some(position);
        self.path = path.into();
        self
    }

    /// Adds the hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The printed form without `error: ` or `warning: ` before it, for where the severity stands already, such as the log.
    pub fn unmarked(&self) -> impl fmt::Display {
        Unmarked(self)
    }

    /// Whether this is an error.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_error() { "error: " } else { "warning: " })?;
        write!(f, "{}", self.unmarked())
    }
}

/// See [`Diagnostic::unmarked`].
struct Unmarked<'a>(&'a Diagnostic);

impl fmt::Display for Unmarked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Diagnostic { file, position, path, message, hint, .. } = self.0;
        write!(f, "{}", file.display())?;
        if let Some(Position { line, column }) = position {
            write!(f, ":{line}:{column}")?;
        }
        f.write_str(": ")?;
        if !path.is_empty() {
            write!(f, "{path}: ")?;
        }
        f.write_str(message)?;
        if let Some(hint) = hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostic {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_as_promised() {
        let d = Diagnostic::error(Path::new("zones/shop.json"), "\"198.51.100.300\" is not an IPv4 address")
            .at(Position { line: 14, column: 31 }, "records.api.pools[1].A[0]")
            .hint("each part of an IPv4 address is 0 to 255");
        assert_eq!(
            d.to_string(),
            "error: zones/shop.json:14:31: records.api.pools[1].A[0]: \"198.51.100.300\" is not an IPv4 address\n  hint: each part of an IPv4 address is 0 to 255"
        );
        assert_eq!(format!("error: {}", d.unmarked()), d.to_string());
    }
}
