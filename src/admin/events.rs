//! `/api/v1/events`: what happens, as it happens (server-sent events), and what has happened lately.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::{Bytes, Frame};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use super::pages::{Params, Shared, listing};
use super::problem::Refusal;
use super::route::Route;
use super::serve::Stop;
use crate::model::event::{Event, EventKind};
use crate::model::events::{Batch, KEPT, Watcher};
use crate::model::name::Name;

/// Watchers at once. Each costs a connection and a task, and none anybody else's time.
const WATCHERS: usize = 64;
static PLACES: Semaphore = Semaphore::const_new(WATCHERS);
/// A line that means nothing goes out when nothing else has for so long, so that neither end waits for one that is gone.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a client that lost the connection should wait before it comes back, in milliseconds.
const RETRY_MS: u32 = 2000;
/// Events of a list unless more are asked for.
const RECENT: usize = 100;

/// The routes; who may use them is decided before.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/api/v1/events", "What happens, as server-sent events; Last-Event-ID replays", stream)
            .query::<Filter>()
            .streams("text/event-stream"),
        Route::get("/api/v1/events/recent", "What has happened lately, oldest first", recent)
            .query::<Recent>()
            .lists::<Event>("events"),
    ]
}

/// Which events are wanted.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
struct Filter {
    /// Kinds of events, with commas between them; all unless given.
    #[serde(default)]
    kind: Option<String>,
    /// Only events that are about this zone.
    #[serde(default)]
    zone: Option<String>,
    /// Replays what came after the event of this number; the header Last-Event-ID goes before.
    #[serde(default)]
    after: Option<u64>,
}

/// Which of the last events are wanted.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Recent {
    /// Kinds of events, with commas between them; all unless given.
    #[serde(default)]
    kind: Option<String>,
    /// Only events that are about this zone.
    #[serde(default)]
    zone: Option<String>,
    /// How many at most; 100 unless given.
    #[serde(default)]
    most: Option<u16>,
}

/// The same, read.
struct Wanted {
    kinds: Vec<EventKind>,
    zone: Option<String>,
}

impl Wanted {
    fn read(kinds: Option<&str>, zone: Option<&str>) -> Result<Self, Refusal> {
        let bad = |why| Refusal::new(StatusCode::BAD_REQUEST, why);
        let words = kinds.unwrap_or_default().split(',').filter(|word| !word.is_empty());
        let kinds = words.map(str::parse).collect::<Result<_, String>>().map_err(bad)?;
        let zone = zone.map(|zone| {
            Name::parse_absolute(zone)
                .map(|name| name.to_string())
                .map_err(|error| bad(format!("{zone:?} is not a domain name: {error}")))
        });
        Ok(Self { kinds, zone: zone.transpose()? })
    }

    fn has(&self, event: &Event) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&event.news.kind))
            && self.zone.as_ref().is_none_or(|zone| event.news.zones.contains(zone))
    }
}

async fn recent(State(control): State<Shared>, Params(query): Params<Recent>) -> Result<Response, Refusal> {
    let wanted = Wanted::read(query.kind.as_deref(), query.zone.as_deref())?;
    let most = query.most.map_or(RECENT, usize::from);
    listing("events", move || {
        let mut events = control.events().last(KEPT);
        events.retain(|event| wanted.has(event));
        events.drain(..events.len().saturating_sub(most));
        events.iter().map(|event| (**event).clone()).collect::<Vec<Event>>()
    })
    .await
}

async fn stream(
    State(control): State<Shared>,
    Extension(stop): Extension<Stop>,
    headers: HeaderMap,
    Params(query): Params<Filter>,
) -> Result<Response, Refusal> {
    let wanted = Wanted::read(query.kind.as_deref(), query.zone.as_deref())?;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::trim);
    let last = last.filter(|id| !id.is_empty()).map(|id| {
        id.parse().map_err(|_| {
            Refusal::new(
                StatusCode::BAD_REQUEST,
                format!("Last-Event-ID {id:?} is not the number of an event"),
            )
        })
    });
    let Ok(place) = PLACES.try_acquire() else {
        let why = format!("{WATCHERS} clients watch already");
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, why).retry_after(10));
    };
    let watcher = control.events().watch(last.transpose()?.or(query.after));
    // One piece waits for the client; everything else waits in the ring, where it costs nothing, and a client that is slow for long
    // is told how much it has missed.
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let _place = place;
        feed(watcher, wanted, stop, sender).await;
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream; charset=utf-8")];
    Ok((headers, Body::new(Pieces(receiver))).into_response())
}

/// Sends what is wanted until the client is gone or the server stops.
async fn feed(mut watcher: Watcher, wanted: Wanted, mut stop: Stop, sender: mpsc::Sender<Bytes>) {
    let mut piece = format!("retry: {RETRY_MS}\n\n");
    loop {
        if !piece.is_empty() && sender.send(std::mem::take(&mut piece).into()).await.is_err() {
            return;
        }
        tokio::select! {
            batch = timeout(HEARTBEAT, watcher.next()) => match batch {
                Ok(batch) => write(&mut piece, &batch, &wanted),
                Err(_) => piece.push_str(": nothing new\n\n"),
            },
            () = stop.told() => return,
            () = sender.closed() => return,
        }
    }
}

/// A batch in the form of the standard (HTML, "Server-sent events"). JSON has no line breaks of its own.
fn write(piece: &mut String, batch: &Batch, wanted: &Wanted) {
    use std::fmt::Write as _;
    if batch.is_of_earlier_run || batch.lost > 0 {
        // Writing to a String cannot fail, here and below.
        let _ = write!(
            piece,
            "event: lost\ndata: {{\"lost\":{},\"server_restarted\":{}}}\n\n",
            batch.lost, batch.is_of_earlier_run
        );
    }
    for event in batch.events.iter().filter(|event| wanted.has(event)) {
        // Numbers and strings always encode.
        let data = serde_json::to_string(&**event).unwrap_or_default();
        let _ = write!(piece, "id: {}\nevent: {}\ndata: {data}\n\n", event.id, event.news.kind);
    }
}

/// The pieces as a body.
struct Pieces(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use crate::model::event::News;

    #[test]
    fn filters_and_form() {
        let event = |id, kind, zone: &str| {
            Arc::new(Event { id, at_ms: 1, news: News::new(kind, "a\nb").about(zone, "www") })
        };
        let events = vec![
            event(5, EventKind::NameDown, "a.test."),
            event(6, EventKind::NameRecovered, "a.test."),
            event(7, EventKind::NameDown, "b.test."),
        ];
        let batch = Batch { events, lost: 2, is_of_earlier_run: false };
        let told = |kind: Option<&str>, zone: Option<&str>| {
            let mut piece = String::new();
            write(&mut piece, &batch, &Wanted::read(kind, zone).map_err(|_| "refused").unwrap());
            piece
        };
        let all = told(None, None);
        assert!(all.starts_with(
            "event: lost\ndata: {\"lost\":2,\"server_restarted\":false}\n\nid: 5\nevent: name-down\ndata: {"
        ));
        assert_eq!(all.matches("\n\n").count(), 4, "a line break within a text is none of the form: {all}");
        let ids =
            |text: &str| text.lines().filter_map(|l| l.strip_prefix("id: ")).collect::<Vec<_>>().join(" ");
        assert_eq!(ids(&told(Some("name-down"), None)), "5 7");
        assert_eq!(ids(&told(Some("name-down,name-recovered"), Some("A.test"))), "5 6");
        assert!(Wanted::read(Some("flip"), None).is_err());
        assert!(Wanted::read(None, Some("a..b")).is_err());
    }
}
