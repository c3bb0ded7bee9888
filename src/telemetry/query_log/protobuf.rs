//! As much of protobuf's encoding as dnstap needs: <https://protobuf.dev/programming-guides/encoding/>.

/// A message being written.
#[derive(Debug, Default)]
pub(super) struct Message(Vec<u8>);

impl Message {
    /// Empties it, and keeps its memory.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// What was written.
    pub(super) fn octets(&self) -> &[u8] {
        &self.0
    }

    /// A `uint32`, `uint64` or enum.
    pub(super) fn number(&mut self, field: u32, value: u64) {
        self.varint(u64::from(field << 3));
        self.varint(value);
    }

    /// A `fixed32`.
    pub(super) fn fixed32(&mut self, field: u32, value: u32) {
        self.varint(u64::from(field << 3 | 5));
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// `bytes`, or a message within.
    pub(super) fn bytes(&mut self, field: u32, value: &[u8]) {
        self.varint(u64::from(field << 3 | 2));
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(write: impl FnOnce(&mut Message), expected: &[u8]) {
        let mut message = Message::default();
        write(&mut message);
        assert_eq!(message.octets(), expected);
    }

    /// The examples of the specification.
    #[test]
    fn fields() {
        check(|m| m.number(1, 150), &[0x08, 0x96, 0x01]);
        check(|m| m.number(15, 1), &[0x78, 0x01]);
        check(|m| m.number(16, 0), &[0x80, 0x01, 0x00]);
        check(|m| m.bytes(2, b"testing"), b"\x12\x07testing");
        check(|m| m.fixed32(9, 0x0102_0304), &[0x4d, 4, 3, 2, 1]);
        check(|m| m.number(1, u64::MAX), &[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]);
    }
}
