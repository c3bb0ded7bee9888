//! JSON paths as diagnostics show them: `records.api.A[0]`, with odd keys as `records["a.b"]`.

use std::fmt::Write as _;

/// Path of a key of the object at `path`, which is empty for the file's own.
pub(crate) fn key_path(path: &str, key: &str) -> String {
    let mut out = path.to_owned();
    push_key(&mut out, key);
    out
}

/// Appends a key to a path.
pub(super) fn push_key(out: &mut String, key: &str) {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'@' | b'*' | b'$');
    if key.is_empty() || !key.bytes().all(plain) {
        let _ = write!(out, "[{key:?}]");
        return;
    }
    if !out.is_empty() {
        out.push('.');
    }
    out.push_str(key);
}
