//! The header line of a state file, by which damage is noticed.
//!
//! ```text
//! hale-state 1 verdicts.json version=0000000001 length=00000000000000000042 sha256=<64 digits>⏎
//! <content>
//! ```
//!
//! Its length does not depend on its figures, so that it can be written again in place once they are known.

use std::io::{self, BufWriter, Write};

use ring::digest::{Context, SHA256, digest};

const MAGIC: &str = "hale-state 1";
const BUFFER: usize = 64 * 1024;

/// The figures of a header.
pub(super) struct Header<'a> {
    pub(super) name: &'a str,
    pub(super) version: u32,
    pub(super) length: u64,
    pub(super) checksum: [u8; 32],
}

impl<'a> Header<'a> {
    /// A header whose content is not known yet.
    pub(super) fn new(name: &'a str, version: u32) -> Self {
        Self { name, version, length: 0, checksum: [0; 32] }
    }

    /// How long it is, whatever its figures.
    pub(super) fn octets(&self) -> usize {
        self.line().len()
    }

    pub(super) fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        to.write_all(self.line().as_bytes())
    }

    fn line(&self) -> String {
        let Self { name, version, length, checksum } = self;
        let checksum: String = checksum.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{MAGIC} {name} version={version:010} length={length:020} sha256={checksum}\n")
    }
}

/// Passes content on, and counts and hashes it.
pub(super) struct HashingWriter<W: Write> {
    inner: BufWriter<W>,
    context: Context,
    length: u64,
}

impl<W: Write> HashingWriter<W> {
    pub(super) fn new(inner: W) -> Self {
        Self { inner: BufWriter::with_capacity(BUFFER, inner), context: Context::new(&SHA256), length: 0 }
    }

    /// Length and checksum of what was written.
    pub(super) fn finish(mut self) -> io::Result<(u64, [u8; 32])> {
        self.inner.flush()?;
        let mut checksum = [0; 32];
        checksum.copy_from_slice(self.context.finish().as_ref());
        Ok((self.length, checksum))
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.context.update(&bytes[..written]);
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Takes the content out of a file; the error says what is wrong with it.
pub(super) fn open(name: &str, version: u32, mut file: Vec<u8>) -> Result<Vec<u8>, String> {
    let Some(end) = file.iter().position(|&byte| byte == b'\n') else {
        return Err("has no header".to_owned());
    };
    let header = std::str::from_utf8(&file[..end]).map_err(|_| "has no header".to_owned())?;
    if !header.starts_with(MAGIC) {
        return Err("has no header".to_owned());
    }
    let found = header.split(' ').find_map(|word| word.strip_prefix("version=")?.parse::<u32>().ok());
    let mut checksum = [0; 32];
    checksum.copy_from_slice(digest(&SHA256, &file[end + 1..]).as_ref());
    let length = (file.len() - end - 1) as u64;
    // Compared as a whole, so that nothing in the header can be damaged without notice.
    let header = Header { name, version, length, checksum };
    if file[..=end] == *header.line().as_bytes() {
        file.drain(..=end);
        return Ok(file);
    }
    match found {
        Some(found) if found != version => {
            Err(format!("has version {found}, and this server reads version {version}"))
        }
        _ => Err("is damaged: its checksum does not match".to_owned()),
    }
}
