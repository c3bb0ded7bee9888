//! What stands between a source's driver, which does the I/O, and the core, which decides.
//!
//! A driver is an async function that is given a [`Reporter`] and [`Orders`]. It reports what it saw and carries out what it is ordered; what
//! a report means for the names is none of its business. It ends when its orders end.

use std::fmt;
use std::time::Duration;

use tokio::sync::mpsc;

use super::claim::{Claim, ObjectKey, ObjectKind};

/// Reports that may wait for the core: a driver that is faster waits.
const REPORTS: usize = 256;
/// Orders that may wait for a driver.
const ORDERS: usize = 8;

/// The objects that one list or watch covers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope {
    /// All of them are of this kind.
    pub kind: ObjectKind,
    /// The only namespace, where namespaces are listed one by one.
    pub namespace: Option<Box<str>>,
}

impl Scope {
    /// All objects of a kind.
    pub fn all(kind: ObjectKind) -> Self {
        Self { kind, namespace: None }
    }

    /// Whether an object would be in a complete list of the scope.
    pub fn covers(&self, key: &ObjectKey) -> bool {
        self.kind == key.kind && self.namespace.as_ref().is_none_or(|namespace| *namespace == key.namespace)
    }
}

/// What a driver saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// A list of all objects in the scope, complete to the last page. Only this says that what is not in it is not there.
    Listed {
        /// What the list covers.
        scope: Scope,
        /// Every object, those that publish nothing and those that could not be read too.
        objects: Vec<(ObjectKey, Seen)>,
    },
    /// One object is new or has changed.
    Changed(ObjectKey, Seen),
    /// The interface says that one object is gone (a watch's DELETED).
    Gone(ObjectKey),
    /// The watch of a scope is alive although nothing has changed (a bookmark, or a watch that ended in order).
    Alive(Scope),
    /// The watch of a scope that had failed stands again. It fails no longer; what it covers was complete when it last was.
    Resumed(Scope),
    /// A list or watch of the scope failed after all retries; `None`: the source as a whole (no connection, no credentials), until a list is
    /// complete or [`Report::Answers`]. Nothing is concluded from it.
    Failed(Option<Scope>, Failure),
    /// The source as a whole works again: what [`Report::Failed`] said of no scope is over. Lists and watches that fail do so on.
    Answers,
    /// The kind is not installed (its CRD is missing), which is no failure. What was known of it stands.
    NotInstalled(ObjectKind),
    /// What [`Order::Sync`] asked for is done: every scope was reported, listed or failed. For a source that watches: after the first list of each.
    Synced,
    /// One API request, for metrics. The reports that come of it follow.
    Call(Call),
    /// How long a complete list of a kind took, to its last page, for metrics.
    Took(ObjectKind, Duration),
    /// A condition of the source has changed, such as `ClusterAvailable`.
    Condition(Condition),
}

/// How one object was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It could be read: what it claims now, nothing if it publishes nothing (any more), and what is wrong with parts of it.
    Claims(Vec<Claim>, Vec<Problem>),
    /// A part of it could be read: what that claims now, and what is wrong with the rest. What else it claimed stands.
    Partial(Vec<Claim>, Vec<Problem>),
    /// Nothing can be concluded from it (malformed, or a status that lags behind): what it claimed stands.
    Stands(Problem),
}

/// What is wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// For metrics.
    pub kind: ProblemKind,
    /// For people: one line, such as `spec.rules[0].host: "a b" is not a name`.
    pub text: Box<str>,
}

/// Why an object, or a part of it, publishes nothing new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProblemKind {
    /// It does not decode, or a value in it is wrong.
    Malformed,
    /// Its rule, or a part of it, cannot be turned into names.
    Rule,
    /// It is well-formed, but something that it refers to is missing or lags behind.
    Stale,
    /// It asks for what Hale does not publish (NS records, an unknown record type).
    Refused,
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// For metrics.
    pub kind: FailureKind,
    /// For people: one line that names the address and what happened. Never a secret.
    pub text: Box<str>,
}

/// Kinds of failed calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FailureKind {
    /// The configuration cannot be used: a kubeconfig, CA file or secret that cannot be read.
    Config,
    /// No connection: resolving, connecting, or the connection broke.
    Connect,
    /// TLS: certificate, name, protocol.
    Tls,
    /// It took too long.
    Timeout,
    /// 401.
    Unauthorized,
    /// 403.
    Forbidden,
    /// 404.
    NotFound,
    /// 410: the watch's version is gone; a list follows.
    Gone,
    /// 429.
    TooManyRequests,
    /// Any other status of 400 to 499.
    Client,
    /// A status of 500 and above.
    Server,
    /// The response is not what the interface says, or was cut off.
    Decode,
    /// The listings of several pages did not agree.
    Inconsistent,
}

/// One API request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// What was asked for: a fixed word, such as `http/routers` or `ingresses`.
    pub endpoint: &'static str,
    /// `GET`, `LIST`, `WATCH` or `PATCH`.
    pub method: &'static str,
    /// HTTP status; 0 if no response came.
    pub status: u16,
    /// How long it took; for a watch until its first octet.
    pub took: Duration,
}

/// A condition of the source as a whole, in the manner of Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// `KubeconfigAvailable`, `KubeconfigValid`, `ClusterAvailable`.
    pub kind: &'static str,
    /// Whether it holds.
    pub holds: bool,
    /// Why, in a word or a line.
    pub reason: Box<str>,
}

/// What a driver is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// List everything once, report it, and end with [`Report::Synced`]. A driver that watches drops its watches first and lists afresh.
    Sync,
    /// List and watch from now on, until another order comes. Drivers that poll are never given it: the core orders each poll.
    Watch,
    /// Let go of watches and connections, and wait.
    Pause,
}

/// The end of the channel of reports that all drivers share, each with the index of its source.
pub type ReportSender = mpsc::Sender<(usize, Report)>;
/// The end that the core reads.
pub type ReportReceiver = mpsc::Receiver<(usize, Report)>;

/// Where a driver reports to.
#[derive(Clone, Debug)]
pub struct Reporter {
    source: usize,
    sender: ReportSender,
}

impl Reporter {
    /// The two ends of the channel.
    pub fn channel() -> (ReportSender, ReportReceiver) {
        mpsc::channel(REPORTS)
    }

    /// One for the source with this index, on a channel that all sources share.
    pub fn new(source: usize, sender: ReportSender) -> Self {
        Self { source, sender }
    }

    /// Reports, waiting while the core is busy; false once nobody listens any more, when the driver should end.
    pub async fn send(&self, report: Report) -> bool {
        self.sender.send((self.source, report)).await.is_ok()
    }
}

/// Where a driver's orders arrive.
#[derive(Debug)]
pub struct Orders(mpsc::Receiver<Order>);

impl Orders {
    /// The two ends.
    pub fn channel() -> (mpsc::Sender<Order>, Self) {
        let (sender, receiver) = mpsc::channel(ORDERS);
        (sender, Self(receiver))
    }

    /// Waits for the next order; `None`: the driver is to end. Safe to drop and to call again.
    pub async fn next(&mut self) -> Option<Order> {
        self.0.recv().await
    }
}

impl FailureKind {
    /// What a status code of a response says; nothing for those below 400.
    pub fn of_status(status: u16) -> Option<Self> {
        Some(match status {
            0..=399 => return None,
            401 => Self::Unauthorized,
            403 => Self::Forbidden,
            404 => Self::NotFound,
            410 => Self::Gone,
            429 => Self::TooManyRequests,
            400..=499 => Self::Client,
            _ => Self::Server,
        })
    }

    /// Its name in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Gone => "gone",
            Self::TooManyRequests => "too_many_requests",
            Self::Client => "client",
            Self::Server => "server",
            Self::Decode => "decode",
            Self::Inconsistent => "inconsistent",
        }
    }
}

impl ProblemKind {
    /// Its name in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Rule => "rule",
            Self::Stale => "stale",
            Self::Refused => "refused",
        }
    }
}

impl Problem {
    /// A problem with its text.
    pub fn new(kind: ProblemKind, text: impl Into<Box<str>>) -> Self {
        Self { kind, text: text.into() }
    }
}

impl Failure {
    /// A failure with its text.
    pub fn new(kind: FailureKind, text: impl Into<Box<str>>) -> Self {
        Self { kind, text: text.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} in {namespace}", self.kind),
            None => self.kind.fmt(f),
        }
    }
}
