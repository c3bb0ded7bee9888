//! Streams an export: a zone of a million names is never in memory as text.

use std::io::{self, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use hyper::body::{Bytes, Frame};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::control::{Control, ExportError, ExportFormat, View};
use super::problem::Refusal;
use crate::model::name::Name;

/// Bytes written before they are sent on.
const CHUNK: usize = 64 * 1024;
/// Chunks that may wait for the reader.
const WAITING: usize = 2;
/// A reader that takes nothing for so long loses its export, and the thread that writes it is free again.
const PATIENCE: Duration = Duration::from_secs(30);

type Chunk = Result<Bytes, ExportError>;

/// Starts the export and waits for its first bytes, so that an unknown or broken zone still gets a status code of its own. An
/// export that fails later breaks the connection off, which a client tells from the missing last chunk.
pub(super) async fn stream(
    control: Arc<dyn Control>,
    zone: Name,
    view: View,
    format: ExportFormat,
) -> Result<Body, Refusal> {
    let name = zone.to_string();
    let body = written(move |out| control.export(&zone, view, format, out)).await;
    body.map_err(|error| refusal(&name, error))
}

/// Starts what writes a body, and waits for its first bytes.
///
/// # Errors
/// It failed before it had written anything.
pub(super) async fn written(
    write: impl FnOnce(&mut dyn Write) -> Result<(), ExportError> + Send + 'static,
) -> Result<Body, ExportError> {
    let (sender, mut receiver) = mpsc::channel(WAITING);
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let mut writer =
            ChunkWriter { buffer: Vec::with_capacity(CHUNK), sender, runtime, patience: PATIENCE };
        let result = write(&mut writer).and_then(|()| Ok(writer.flush()?));
        if let Err(error) = result {
            // Where the receiver is gone, nobody is left to be told.
            let _ = writer.send(Err(error));
        }
    });
    match receiver.recv().await {
        Some(Err(error)) => Err(error),
        first => Ok(Body::new(Chunks { first: first.transpose().ok().flatten(), receiver })),
    }
}

/// Why there is nothing to be seen of a zone.
pub(super) fn refusal(zone: &str, error: ExportError) -> Refusal {
    match error {
        ExportError::UnknownZone => {
            Refusal::new(StatusCode::NOT_FOUND, format!("{zone} is not a zone of this server"))
                .hint("GET /api/v1/zones lists them")
        }
        ExportError::Broken(why) => {
            Refusal::new(StatusCode::CONFLICT, format!("{zone} is not being served: {why}"))
        }
        ExportError::Write(error) => {
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, format!("{zone} could not be written: {error}"))
        }
    }
}

/// The blocking end: collects what is written into chunks.
struct ChunkWriter {
    buffer: Vec<u8>,
    sender: mpsc::Sender<Chunk>,
    runtime: Handle,
    patience: Duration,
}

impl ChunkWriter {
    fn send(&self, chunk: Chunk) -> io::Result<()> {
        match self.runtime.block_on(async { timeout(self.patience, self.sender.send(chunk)).await }) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::Error::new(io::ErrorKind::BrokenPipe, "the reader went away")),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the reader is too slow")),
        }
    }
}

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK));
        self.send(Ok(chunk.into()))
    }
}

/// The reading end, as a body.
struct Chunks {
    first: Option<Bytes>,
    receiver: mpsc::Receiver<Chunk>,
}

impl hyper::body::Body for Chunks {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        self.receiver.poll_recv(context).map(|chunk| match chunk? {
            Ok(bytes) => Some(Ok(Frame::data(bytes))),
            Err(_) => Some(Err(io::Error::other("the export failed half-way"))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reader_that_takes_nothing_does_not_hold_the_thread() {
        let (sender, receiver) = mpsc::channel(WAITING);
        let patience = Duration::from_millis(20);
        let mut writer = ChunkWriter { buffer: Vec::new(), sender, runtime: Handle::current(), patience };
        let write = tokio::task::spawn_blocking(move || {
            for _ in 0..WAITING {
                writer.write_all(&[0; CHUNK]).unwrap();
            }
            assert_eq!(writer.write(&[0; CHUNK]).unwrap_err().kind(), io::ErrorKind::TimedOut);
            drop(receiver);
            assert_eq!(writer.write(&[0; CHUNK]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        });
        write.await.unwrap();
    }
}
