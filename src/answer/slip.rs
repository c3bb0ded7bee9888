//! What is left of a response that rate limiting cuts down.

use super::Reply;
use super::parse::HEADER;

/// Cuts the response in `message` down to header, question and OPT record, and sets TC: a client at the address it claims asks
/// again by TCP, and one that forged the address has nothing sent there that is worth the trouble.
///
/// The OPT record stays (RFC 6891 §6.1.1 wants it), and with it the cookie that spares a real client the next time. So does the RCODE: it
/// is true, and a truncated response's other contents are not looked at (RFC 2181 §9).
#[cold]
pub fn cut_down(message: &mut [u8], reply: &Reply) -> Reply {
    let question = question_end(message);
    let opt = reply.len.saturating_sub(reply.opt_len).max(question)..reply.len;
    let len = question + opt.len();
    message.copy_within(opt, question);
    if let Some((header, _)) = message.split_first_chunk_mut::<HEADER>() {
        header[2] |= 0x02;
        header[6..].fill(0);
        header[11] = u8::from(reply.opt_len > 0);
    }
    let mut cut = Reply { len, ..*reply };
    cut.class.truncated = true;
    cut
}

/// Octets of header and question, which stands uncompressed in responses of this engine.
fn question_end(message: &[u8]) -> usize {
    if message.get(4..6) == Some(&[0, 0]) {
        return HEADER;
    }
    let mut at = HEADER;
    while let Some(&length) = message.get(at).filter(|length| **length > 0) {
        at += 1 + usize::from(length);
    }
    (at + 5).min(message.len())
}
