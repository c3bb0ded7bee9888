//! An API server for tests, in this process: lists in pages, watches with bookmarks, discovery, statuses, and everything that can go wrong.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the server does with requests of a resource instead of answering them.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fault {
    /// Answers every request with this status.
    Status(u16),
    /// Answers lists with half of the body.
    Cut,
    /// Answers nothing at all, and ends watches.
    Silent,
    /// Hangs: answers nothing, and says nothing more on watches that stand.
    Hung,
    /// Ends every watch within a line.
    CutWatch,
    /// Sends an octet every 50 ms.
    Trickle,
}

/// One resource: `(group, version, plural)`.
type Kind = (String, String, String);

#[derive(Default)]
struct State {
    /// Number of the last change; objects have it as their version.
    version: u64,
    /// Watches from before this version are refused.
    compacted: u64,
    objects: BTreeMap<Kind, BTreeMap<(String, String), Value>>,
    /// Every change: its number, the resource, the event.
    log: Vec<(u64, Kind, Value)>,
    faults: HashMap<String, Fault>,
    /// Requests, as method and path with query.
    requests: Vec<String>,
    patches: Vec<(String, Value)>,
    terminating: std::collections::BTreeSet<Kind>,
    /// The only bearer token that is let in, if it matters.
    token: Option<String>,
    page: Option<usize>,
    /// The next list breaks off before this page.
    expire_pages: usize,
    /// Recorded responses, by path and whether it is watched: a status and a body. They come before everything else; the last one of a list
    /// is repeated, and after that of a watch nothing is said any more.
    tapes: HashMap<(String, bool), std::collections::VecDeque<(u16, String)>>,
}

/// The server; it ends with this value.
pub(super) struct Fake {
    state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
    task: tokio::task::JoinHandle<()>,
    /// Its address.
    pub(super) url: String,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn kind(group: &str, version: &str, plural: &str) -> Kind {
    (group.into(), version.into(), plural.into())
}

impl Fake {
    /// A server with the built-in resources and nothing in them.
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State { version: 10, ..State::default() }));
        let (changed, watcher) = watch::channel(0);
        let served = state.clone();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                tokio::select! {
                    Ok((stream, _)) = listener.accept() => {
                        connections.spawn(serve(stream, served.clone(), watcher.clone()));
                    }
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        let fake = Self { state, changed, task, url };
        for (group, version, plural) in [
            ("", "v1", "services"),
            ("", "v1", "nodes"),
            ("", "v1", "namespaces"),
            ("networking.k8s.io", "v1", "ingresses"),
            ("discovery.k8s.io", "v1", "endpointslices"),
        ] {
            fake.install(group, version, plural);
        }
        fake
    }

    /// Adds a resource.
    pub(super) fn install(&self, group: &str, version: &str, plural: &str) {
        self.state.lock().unwrap().objects.entry(kind(group, version, plural)).or_default();
    }

    /// Deletes every object of a resource, which takes no new ones any more: what happens while its CRD is deleted.
    pub(super) fn terminate(&self, resource: (&str, &str, &str)) {
        let kind = kind(resource.0, resource.1, resource.2);
        let keys: Vec<_> = {
            let mut state = self.state.lock().unwrap();
            state.terminating.insert(kind.clone());
            state.objects[&kind].keys().cloned().collect()
        };
        for (namespace, name) in keys {
            self.delete(resource, &namespace, &name);
        }
    }

    /// Takes a resource away, with everything in it and without a word to those who watch.
    pub(super) fn uninstall(&self, group: &str, version: &str, plural: &str) {
        self.state.lock().unwrap().objects.remove(&kind(group, version, plural));
        self.bump();
    }

    /// Creates or changes an object of the resource.
    pub(super) fn put(&self, resource: (&str, &str, &str), mut object: Value) {
        let kind = kind(resource.0, resource.1, resource.2);
        let mut state = self.state.lock().unwrap();
        state.version += 1;
        let version = state.version;
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        let key = key(&object);
        let held = state.objects.get_mut(&kind).unwrap().insert(key, object.clone());
        let event = if held.is_some() { "MODIFIED" } else { "ADDED" };
        state.log.push((version, kind, json!({"type": event, "object": object})));
        drop(state);
        self.bump();
    }

    /// Deletes an object.
    pub(super) fn delete(&self, resource: (&str, &str, &str), namespace: &str, name: &str) {
        let kind = kind(resource.0, resource.1, resource.2);
        let mut state = self.state.lock().unwrap();
        state.version += 1;
        let version = state.version;
        let mut object =
            state.objects.get_mut(&kind).unwrap().remove(&(namespace.into(), name.into())).unwrap();
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        state.log.push((version, kind, json!({"type": "DELETED", "object": object})));
        drop(state);
        self.bump();
    }

    /// Deletes without an event: what happens while nobody can watch.
    pub(super) fn delete_unseen(&self, resource: (&str, &str, &str), namespace: &str, name: &str) {
        let kind = kind(resource.0, resource.1, resource.2);
        let mut state = self.state.lock().unwrap();
        state.version += 1;
        state.objects.get_mut(&kind).unwrap().remove(&(namespace.into(), name.into())).unwrap();
    }

    /// Sends this line to every watch of the resource.
    pub(super) fn tell(&self, resource: (&str, &str, &str), event: Value) {
        let kind = kind(resource.0, resource.1, resource.2);
        let mut state = self.state.lock().unwrap();
        state.version += 1;
        let version = state.version;
        state.log.push((version, kind, event));
        drop(state);
        self.bump();
    }

    /// Forgets all changes so far: watches from before are too old.
    pub(super) fn compact(&self) {
        let mut state = self.state.lock().unwrap();
        state.version += 1;
        state.compacted = state.version;
        state.log.clear();
        drop(state);
        self.bump();
    }

    /// Requests whose path holds this text go wrong, or right again.
    pub(super) fn fault(&self, path: &str, fault: Option<Fault>) {
        let mut state = self.state.lock().unwrap();
        match fault {
            Some(fault) => state.faults.insert(path.into(), fault),
            None => state.faults.remove(path),
        };
        drop(state);
        self.bump();
    }

    /// Lets in who comes with this bearer token, and nobody else.
    pub(super) fn admit(&self, token: &str) {
        self.state.lock().unwrap().token = Some(token.into());
    }

    /// Answers lists (or watches) of this path as recorded, one after the other.
    pub(super) fn play(&self, path: &str, watched: bool, tape: &[(u16, String)]) {
        self.state.lock().unwrap().tapes.insert((path.into(), watched), tape.iter().cloned().collect());
        self.bump();
    }

    /// How many objects a page holds, below what is asked for.
    pub(super) fn pages_of(&self, objects: usize) {
        self.state.lock().unwrap().page = Some(objects);
    }

    /// As many times a list breaks off with 410 after its first page.
    pub(super) fn expire_pages(&self, times: usize) {
        self.state.lock().unwrap().expire_pages = times;
    }

    /// The requests so far whose line holds this text.
    pub(super) fn requests(&self, text: &str) -> Vec<String> {
        let state = self.state.lock().unwrap();
        state.requests.iter().filter(|line| line.contains(text)).cloned().collect()
    }

    /// Statuses that were written: path and body.
    pub(super) fn patches(&self) -> Vec<(String, Value)> {
        self.state.lock().unwrap().patches.clone()
    }

    fn bump(&self) {
        self.changed.send_modify(|number| *number += 1);
    }
}

fn key(object: &Value) -> (String, String) {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    (text("namespace"), text("name"))
}

/// Answers the requests of one connection.
async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>, mut changed: watch::Receiver<u64>) {
    let mut buffer = Vec::new();
    loop {
        let head = loop {
            if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                let rest = buffer.split_off(end + 4);
                break std::mem::replace(&mut buffer, rest);
            }
            if stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                return;
            }
        };
        let head = String::from_utf8(head).unwrap();
        let mut words = head.split(' ');
        let (method, target) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        while buffer.len() < length.unwrap_or(0) {
            if stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let rest = buffer.split_off(length.unwrap_or(0));
        let body = std::mem::replace(&mut buffer, rest);
        let fault = {
            let mut state = state.lock().unwrap();
            state.requests.push(format!("{method} {target}"));
            let fault = state.faults.iter().find(|(path, _)| target.contains(*path));
            let is_let_in = state
                .token
                .as_ref()
                .is_none_or(|token| head.lines().any(|line| line.ends_with(&format!(" Bearer {token}"))));
            if is_let_in { fault.map(|(_, fault)| fault.clone()) } else { Some(Fault::Status(401)) }
        };
        let watched = target.contains("watch=true");
        let played = state.lock().unwrap().played(&target, watched);
        if let (Some((200, lines)), true) = (&played, watched) {
            play_watch(&mut stream, lines).await;
            return;
        }
        let (status, body) = match fault {
            _ if played.is_some() => played.unwrap(),
            Some(Fault::Silent | Fault::Hung) => std::future::pending().await,
            Some(Fault::Status(status)) => {
                (status, json!({"code": status, "message": "as the test says"}).to_string())
            }
            _ if method == "PATCH" => {
                let patch = serde_json::from_slice(&body).unwrap();
                state.lock().unwrap().patches.push((target, patch));
                (200, "{}".to_owned())
            }
            _ if watched => {
                stream_events(&mut stream, &state, &mut changed, &target, fault).await;
                return;
            }
            _ => answer(&mut state.lock().unwrap(), &target),
        };
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap_or_default();
        match fault {
            Some(Fault::Cut) => {
                stream.write_all(&body.as_bytes()[..body.len() / 2]).await.unwrap_or_default();
                return;
            }
            Some(Fault::Trickle) => {
                for octet in body.as_bytes() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    stream.write_all(&[*octet]).await.unwrap_or_default();
                }
            }
            _ => stream.write_all(body.as_bytes()).await.unwrap_or_default(),
        }
    }
}

impl State {
    /// What is recorded of a path, if anything is; an empty watch where its tape has ended.
    fn played(&mut self, target: &str, watched: bool) -> Option<(u16, String)> {
        let path = target.split('?').next()?;
        let tape = self.tapes.get_mut(&(path.to_owned(), watched))?;
        if tape.len() > 1 || watched {
            return Some(tape.pop_front().unwrap_or_else(|| (200, String::new())));
        }
        tape.front().cloned()
    }
}

/// Sends recorded lines and ends, or says nothing if there are none.
async fn play_watch(stream: &mut TcpStream, lines: &str) {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap_or_default();
    if lines.is_empty() {
        // Until the other side has had enough.
        while stream.read(&mut [0; 16]).await.is_ok_and(|octets| octets > 0) {}
        return;
    }
    let chunk = format!("{:x}\r\n{lines}\r\n0\r\n\r\n", lines.len());
    stream.write_all(chunk.as_bytes()).await.unwrap_or_default();
}

/// The value of a key in a query.
fn query(target: &str, key: &str) -> Option<String> {
    let (_, query) = target.split_once('?')?;
    let value = query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))?;
    Some(value.replace("%2F", "/").replace("%3D", "=").replace("%2C", ","))
}

/// What a path means: the resource, and the namespace if it names one.
fn parse(target: &str) -> Option<(Kind, Option<String>)> {
    let path = target.split('?').next()?;
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let (group, version, rest) = match parts.as_slice() {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return None,
    };
    match rest {
        [plural] => Some((kind(group, version, plural), None)),
        ["namespaces", namespace, plural] => {
            Some((kind(group, version, plural), Some((*namespace).to_owned())))
        }
        _ => None,
    }
}

/// Whether a list or watch with this target holds the object.
fn holds(target: &str, namespace: Option<&str>, object: &Value) -> bool {
    let own = key(object);
    let labelled = query(target, "labelSelector").is_none_or(|selector| {
        let (label, value) = selector.split_once('=').unwrap();
        object["metadata"]["labels"][label] == json!(value)
    });
    let named =
        query(target, "fieldSelector").is_none_or(|selector| selector == format!("metadata.name={}", own.1));
    namespace.is_none_or(|namespace| own.0 == namespace) && labelled && named
}

fn answer(state: &mut State, target: &str) -> (u16, String) {
    let not_found = || {
        (404, json!({"code": 404, "message": "the server could not find the requested resource"}).to_string())
    };
    let path = target.split('?').next().unwrap();
    if path == "/apis" {
        let mut groups: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        for (group, version, _) in state.objects.keys().filter(|(group, ..)| !group.is_empty()) {
            groups
                .entry(group)
                .or_default()
                .push(json!({"version": version, "groupVersion": format!("{group}/{version}")}));
        }
        let groups: Vec<Value> =
            groups.iter().map(|(name, versions)| json!({"name": name, "versions": versions})).collect();
        return (200, json!({"kind": "APIGroupList", "groups": groups}).to_string());
    }
    if let ["apis", group, version] = path.trim_start_matches('/').split('/').collect::<Vec<_>>().as_slice() {
        let kinds = state.objects.keys().filter(|kind| kind.0 == *group && kind.1 == *version);
        let verbs = |kind: &Kind| match state.terminating.contains(kind) {
            true => json!(["delete", "get", "list", "watch"]),
            false => json!(["create", "delete", "get", "list", "watch"]),
        };
        let resources: Vec<Value> = kinds.map(|kind| json!({"name": kind.2, "verbs": verbs(kind)})).collect();
        return if resources.is_empty() {
            not_found()
        } else {
            (200, json!({"resources": resources}).to_string())
        };
    }
    let Some((kind, namespace)) = parse(target) else { return not_found() };
    let Some(objects) = state.objects.get(&kind) else { return not_found() };
    let all: Vec<&Value> =
        objects.values().filter(|object| holds(target, namespace.as_deref(), object)).collect();
    let limit = query(target, "limit").map_or(usize::MAX, |limit| limit.parse().unwrap());
    let limit = state.page.map_or(limit, |page| page.min(limit));
    let start: usize = query(target, "continue").map_or(0, |token| token.parse().unwrap());
    if start > 0 && state.expire_pages > 0 {
        state.expire_pages -= 1;
        return (410, json!({"code": 410, "message": "the continue token is too old"}).to_string());
    }
    let page: Vec<&&Value> = all.iter().skip(start).take(limit).collect();
    let mut metadata = json!({"resourceVersion": state.version.to_string()});
    if start + page.len() < all.len() {
        metadata["continue"] = json!((start + page.len()).to_string());
    }
    (200, json!({"metadata": metadata, "items": page}).to_string())
}

/// Sends changes as they come, until the connection ends or the test ends it.
async fn stream_events(
    stream: &mut TcpStream,
    state: &Mutex<State>,
    changed: &mut watch::Receiver<u64>,
    target: &str,
    fault: Option<Fault>,
) {
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    if stream.write_all(head.as_bytes()).await.is_err() {
        return;
    }
    if fault == Some(Fault::CutWatch) {
        stream.write_all(chunk("{\"type\":\"ADD").as_bytes()).await.unwrap_or_default();
        stream.write_all(b"0\r\n\r\n").await.unwrap_or_default();
        return;
    }
    let Some((kind, namespace)) = parse(target) else { return };
    let mut sent: u64 = query(target, "resourceVersion").unwrap().parse().unwrap();
    let mut probe = [0; 16];
    loop {
        let (lines, ended) = {
            let state = state.lock().unwrap();
            let mut faults =
                state.faults.iter().filter(|(path, _)| target.contains(path.as_str())).peekable();
            let faulty = faults.peek().is_some();
            if faults.any(|(_, fault)| *fault == Fault::Hung) {
                (String::new(), false)
            } else if sent < state.compacted {
                let error =
                    json!({"type": "ERROR", "object": {"code": 410, "message": "too old resource version"}});
                (format!("{error}\n"), true)
            } else {
                let news = state.log.iter().filter(|(version, one, event)| {
                    let object = &event["object"];
                    *version > sent
                        && *one == kind
                        && (event["type"] == "BOOKMARK" || holds(target, namespace.as_deref(), object))
                });
                let lines: String = news.map(|(_, _, event)| format!("{event}\n")).collect();
                sent = state.version;
                (lines, faulty || !state.objects.contains_key(&kind))
            }
        };
        if !lines.is_empty() && stream.write_all(chunk(&lines).as_bytes()).await.is_err() {
            return;
        }
        if ended {
            stream.write_all(b"0\r\n\r\n").await.unwrap_or_default();
            return;
        }
        tokio::select! {
            result = changed.changed() => if result.is_err() { return },
            read = stream.read(&mut probe) => if read.unwrap_or(0) == 0 { return },
        }
    }
}
