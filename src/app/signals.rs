//! Signals of the operating system, and the stop switch of those who run the server as a part of themselves.

use std::future::Future;
use std::io;

use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// SIGTERM, SIGINT or the switch; its name.
    Stop(&'static str),
    /// SIGHUP.
    Reload,
    /// A file has changed that the server was read from.
    Changed,
}

/// Signals in the order in which they came.
pub(super) struct Signals {
    received: mpsc::Receiver<Signal>,
    sender: mpsc::Sender<Signal>,
}

impl Signals {
    /// Starts listening; from here on the signals no longer end the process by themselves.
    ///
    /// # Errors
    /// The system does not let us handle them.
    pub(super) fn listen(runtime: &Runtime, stop: Option<watch::Receiver<bool>>) -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel(8);
        let _context = runtime.enter();
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let all = [
                (SignalKind::terminate(), Signal::Stop("SIGTERM")),
                (SignalKind::interrupt(), Signal::Stop("SIGINT")),
                (SignalKind::hangup(), Signal::Reload),
            ];
            for (kind, meaning) in all {
                let mut stream = signal(kind)?;
                let sender = sender.clone();
                runtime.spawn(async move {
                    while stream.recv().await.is_some() && sender.send(meaning).await.is_ok() {}
                });
            }
        }
        #[cfg(not(unix))]
        {
            let sender = sender.clone();
            runtime.spawn(async move {
                while tokio::signal::ctrl_c().await.is_ok()
                    && sender.send(Signal::Stop("Ctrl-C")).await.is_ok()
                {}
            });
        }
        if let Some(mut stop) = stop {
            let sender = sender.clone();
            runtime.spawn(async move {
                // A dropped switch is a stop too: whoever held it is gone.
                let _ = stop.wait_for(|stopped| *stopped).await;
                let _ = sender.send(Signal::Stop("stop")).await;
            });
        }
        Ok(Self { received: receiver, sender })
    }

    /// Where further signals may be given.
    pub(super) fn sender(&self) -> mpsc::Sender<Signal> {
        self.sender.clone()
    }

    /// The next signal.
    pub(super) async fn next(&mut self) -> Signal {
        match self.received.recv().await {
            Some(signal) => signal,
            // A sender stands beside it.
            None => std::future::pending().await,
        }
    }

    /// Waits for `work`; returns the name of the signal that came first, if one did. A reload asked for meanwhile is not needed:
    /// what is being started is the newest there is.
    pub(super) async fn wait_or(&mut self, work: impl Future<Output = ()>) -> Option<&'static str> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                () = &mut work => return None,
                signal = self.next() => if let Signal::Stop(name) = signal { return Some(name) },
            }
        }
    }
}
