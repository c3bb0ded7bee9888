//! The TCP check with `send` and `expect`: what a backend says over a connection is as wanted.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Outcome, after_sending, tcp};
use crate::model::check::TalkCheck;

/// What comes is looked at up to so many bytes.
const READ_LIMIT: usize = 16 * 1024;
/// So much of what came stands in a failure's reason.
const SHOWN: usize = 60;

/// Connects, sends, and reads until the wanted text has come, the connection ends, or the limit is reached.
pub(super) async fn probe(address: SocketAddr, check: &TalkCheck) -> Outcome {
    match talk(address, check).await {
        Ok(outcome) | Err(outcome) => outcome,
    }
}

async fn talk(address: SocketAddr, check: &TalkCheck) -> Result<Outcome, Outcome> {
    let mut stream = tcp::connect(address).await?;
    stream.write_all(check.send.as_bytes()).await.map_err(|e| after_sending(&e))?;
    let wanted = check.expect.as_bytes();
    let mut seen = Vec::with_capacity(1024);
    loop {
        let searched = seen.len();
        let read = (&mut stream).take((READ_LIMIT - searched) as u64).read_buf(&mut seen).await;
        if read.map_err(|e| after_sending(&e))? == 0 {
            break;
        }
        // The text may have begun in what came before.
        let from = searched.saturating_sub(wanted.len() - 1);
        if seen[from..].windows(wanted.len()).any(|window| window == wanted) {
            return Ok(Outcome::Success);
        }
    }
    let what = if seen.len() >= READ_LIMIT { "is not in the first 16 KiB" } else { "did not come" };
    let shown = match seen.is_empty() {
        true => "nothing".to_owned(),
        false => format!("{:?}", String::from_utf8_lossy(&seen[..seen.len().min(SHOWN)])),
    };
    Ok(Outcome::Failure(format!("{:?} {what}, but {shown}", check.expect).into()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpListener;

    use super::*;

    /// Runs the check against a server that sends `greeting`, and `reply` once something was sent.
    async fn check(send: &str, expect: &str, greeting: &'static [u8], reply: &'static [u8], reason: &str) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            for piece in greeting.chunks(5) {
                let _ = stream.write_all(piece).await;
                let _ = stream.flush().await;
            }
            if !reply.is_empty() {
                let _ = stream.read_u8().await;
                let _ = stream.write_all(reply).await;
            }
            // Closed in good order whatever was sent: to close over octets that were not read would be a reset.
            let _ = stream.shutdown().await;
            let mut rest = [0; 64];
            while matches!(stream.read(&mut rest).await, Ok(n) if n > 0) {}
        });
        let check = TalkCheck { send: send.into(), expect: expect.into() };
        let outcome = tokio::time::timeout(Duration::from_secs(10), probe(address, &check)).await.unwrap();
        match &outcome {
            Outcome::Success => assert_eq!(reason, ""),
            Outcome::Failure(found) => assert!(!reason.is_empty() && found.contains(reason), "{found}"),
            other => panic!("{other:?}"),
        }
        server.abort();
    }

    #[tokio::test]
    async fn what_is_said_decides() {
        check("", "220 ", b"220 mail.example.test ESMTP\r\n", b"", "").await;
        check("", "ESMTP", b"220 mail.example.test ESMTP\r\n", b"", "").await;
        check("", "220 ", b"554 no\r\n", b"", "\"220 \" did not come, but \"554 no\\r\\n\"").await;
        check("", "220 ", b"", b"", "did not come, but nothing").await;
        check("PING\r\n", "+PONG", b"", b"+PONG\r\n", "").await;
        check("PING\r\n", "+PONG", b"-NOAUTH\r\n", b"", "-NOAUTH").await;
        check("x", "end", b"", &[b'y'; READ_LIMIT], "is not in the first 16 KiB").await;
    }
}
