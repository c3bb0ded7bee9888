//! Which files a list of files, directories and globs stands for.

use std::path::{Path, PathBuf};

/// The files that `pattern` stands for: itself; a directory's `*.json` without dotfiles and `*.schema.json`; or what a glob with
/// `*` and `?` matches. A plain file need not exist: what reads it says so.
///
/// # Errors
/// A glob that matches nothing, a directory without zone files or that cannot be read: what is wrong, and a hint.
pub(super) fn expand(pattern: &Path) -> Result<Vec<PathBuf>, (String, &'static str)> {
    let shown = pattern.display();
    if is_glob(pattern) {
        let found = glob(pattern);
        if found.is_empty() {
            return Err((
                format!("{shown} matches no file"),
                "a pattern that matches nothing is taken for a slip, not for an empty list",
            ));
        }
        return Ok(found);
    }
    if !pattern.is_dir() {
        return Ok(vec![pattern.to_owned()]);
    }
    let entries = std::fs::read_dir(pattern).map_err(|error| {
        (format!("cannot read the directory {shown}: {error}"), "a directory that the server's user may read")
    })?;
    let mut found: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| is_zone_file(path)).collect();
    found.sort();
    if found.is_empty() {
        return Err((format!("the directory {shown} holds no zone file"), "zone files end in .json"));
    }
    Ok(found)
}

fn is_zone_file(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    name.ends_with(".json") && !name.ends_with(".schema.json") && !name.starts_with('.') && path.is_file()
}

fn is_glob(path: &Path) -> bool {
    path.to_string_lossy().contains(['*', '?'])
}

fn glob(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for component in pattern.components() {
        let part = component.as_os_str().to_string_lossy();
        if !part.contains(['*', '?']) {
            found.iter_mut().for_each(|path| path.push(component));
            continue;
        }
        let mut next = Vec::new();
        for directory in &found {
            let place = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
            for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
                let name = entry.file_name();
                let text = name.to_string_lossy();
                let hidden = text.starts_with('.') && !part.starts_with('.');
                if !hidden && matches(part.as_bytes(), text.as_bytes()) {
                    next.push(directory.join(&name));
                }
            }
        }
        found = next;
    }
    found.retain(|path| path.is_file() && !path.to_string_lossy().ends_with(".schema.json"));
    found.sort();
    found
}

/// `*` stands for any octets, `?` for one.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    // Where to go on after a mismatch: behind the last star, one octet further.
    let (mut p, mut t, mut retry) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p, t));
                p += 1;
            }
            Some(&b) if b == b'?' || b == text[t] => (p, t) = (p + 1, t + 1),
            _ => match retry {
                Some((star, at)) => {
                    (p, t) = (star + 1, at + 1);
                    retry = Some((star, at + 1));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&b| b == b'*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn matches_globs() {
        for (pattern, text, want) in [
            ("*.json", "a.json", true),
            ("*.json", ".json", true),
            ("*.json", "a.jsonx", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("*ab", "aaab", true),
            ("", "", true),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), want, "{pattern} {text}");
        }
    }
}
