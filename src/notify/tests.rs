//! Receivers against a server of HTTP that answers as it is told: well, badly, late or not at all.

use std::sync::atomic::AtomicUsize;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use super::*;
use crate::config::{LiveSecret, NotifyKind, Template};
use crate::model::event::{EventKind, News};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const GONE: &str = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
const BROKEN: &str = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";
const BUSY: &str = "HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n";
const BUSY_LONG: &str = "HTTP/1.1 429 Too Many Requests\r\nretry-after: 3600\r\ncontent-length: 0\r\n\r\n";
const MOVED: &str = "HTTP/1.1 307 Temporary Redirect\r\nlocation: /b\r\ncontent-length: 0\r\n\r\n";
const GARBAGE: &str = "SSH-2.0-OpenSSH_9.2p1\r\n";
/// The connection stays open, and nothing comes.
const NOTHING: &str = "";

const SHORT: Patience = Patience {
    first_pause: Duration::from_millis(20),
    longest_pause: Duration::from_millis(50),
    in_all: Duration::from_secs(3),
};

/// Answers the first request with the first of `answers`, and so on; the last one stands for all further ones.
struct Fake {
    url: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    async fn start(answers: &'static [&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook/key", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        tokio::spawn({
            let (seen, asked) = (Arc::clone(&seen), AtomicUsize::new(0));
            async move {
                loop {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let answer = answers[asked.fetch_add(1, Ordering::Relaxed).min(answers.len() - 1)];
                    let seen = Arc::clone(&seen);
                    tokio::spawn(async move {
                        let request = read_request(&mut stream).await;
                        seen.lock().unwrap().push(request);
                        stream.write_all(answer.as_bytes()).await.unwrap();
                        if answer == NOTHING {
                            sleep(Duration::from_secs(60)).await;
                        }
                    });
                }
            }
        });
        Self { url, seen }
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    /// The requests, once there are so many.
    async fn wait_for(&self, requests: usize) -> Vec<String> {
        until(|| self.seen().len() >= requests).await;
        self.seen()
    }
}

async fn until(done: impl Fn() -> bool) {
    let all = async {
        while !done() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), all).await.expect("in time");
}

async fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let n = stream.read(&mut buffer).await.unwrap();
        request.extend_from_slice(&buffer[..n]);
        let text = String::from_utf8_lossy(&request).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        if n == 0 || body.len() >= length.parse().unwrap() {
            return text;
        }
    }
}

fn config(name: &str, url: &str) -> NotifyConfig {
    NotifyConfig {
        name: name.into(),
        kind: NotifyKind::Slack(Template::parse("{{text}}").unwrap()),
        url: LiveSecret::Fixed(url.into()),
        events: EventKind::ALL.to_vec(),
        zones: Vec::new(),
        window_ms: 20,
        timeout_ms: 300,
        ca_file: None,
        verify: true,
    }
}

struct House {
    events: Arc<Events>,
    receivers: Receivers,
}

impl House {
    fn start(configs: &[NotifyConfig]) -> Self {
        let events: Arc<Events> = Arc::default();
        let receivers = Receivers::start_with(&Handle::current(), Arc::clone(&events), configs, SHORT);
        Self { events, receivers }
    }

    fn publish(&self, text: &str) {
        self.events.publish(News::new(EventKind::NameDown, text));
    }

    /// Sent, failed, retried, dropped.
    fn figures(&self, name: &str) -> [u64; 4] {
        let running = self.receivers.running();
        let receiver = running.iter().find(|receiver| &*receiver.config.name == name).unwrap();
        let Figures { sent, failed, retried, dropped } = &*receiver.figures;
        [sent, failed, retried, dropped].map(|counter| counter.load(Ordering::Relaxed))
    }

    async fn until_over(&self, name: &str) -> [u64; 4] {
        until(|| self.figures(name)[..2] != [0, 0]).await;
        self.figures(name)
    }
}

/// What the server answers, one request after the other; and how many messages are sent, given up, how many requests were sent again, and how
/// many events nobody is told of.
#[tokio::test]
async fn what_is_tried_again_and_what_is_given_up() {
    let cases: [(&str, &'static [&'static str], [u64; 4]); 9] = [
        ("at once", &[OK], [1, 0, 0, 0]),
        ("the third time", &[BROKEN, BROKEN, OK], [1, 0, 2, 0]),
        ("after garbage", &[GARBAGE, OK], [1, 0, 1, 0]),
        ("after silence", &[NOTHING, OK], [1, 0, 1, 0]),
        ("after being asked to wait", &[BUSY, OK], [1, 0, 1, 0]),
        ("asked to wait for longer than a message is kept", &[BUSY_LONG, OK], [0, 1, 0, 1]),
        ("gone", &[GONE, OK], [0, 1, 0, 1]),
        ("redirected", &[MOVED, OK], [0, 1, 0, 1]),
        ("cut off", &["HTTP/1.1 200 OK\r\ncontent-len", OK], [1, 0, 1, 0]),
    ];
    for (case, answers, want) in cases {
        let fake = Fake::start(answers).await;
        let house = House::start(&[config("ops", &fake.url)]);
        let begun = Instant::now();
        house.publish("x");
        assert_eq!(house.until_over("ops").await, want, "{case}");
        assert_eq!(fake.seen().len() as u64, 1 + want[2], "{case}");
        assert!(fake.seen()[0].starts_with("POST /hook/key HTTP/1.1\r\n"), "{case}");
        if answers[0] == BUSY {
            assert!(begun.elapsed() >= Duration::from_secs(1), "{case}");
        }
    }
}

#[tokio::test]
async fn what_never_arrives_is_given_up_in_time() {
    let fake = Fake::start(&[BROKEN]).await;
    let house = House::start(&[config("ops", &fake.url), config("nobody", "http://127.0.0.1:1/")]);
    let begun = Instant::now();
    house.publish("x");
    for name in ["ops", "nobody"] {
        let [sent, failed, retried, dropped] = house.until_over(name).await;
        assert_eq!((sent, failed, dropped), (0, 1, 1), "{name}");
        assert!(retried > 10, "{name}: {retried}");
    }
    assert!(begun.elapsed() >= SHORT.in_all - SHORT.longest_pause && begun.elapsed() < 3 * SHORT.in_all);
}

#[tokio::test]
async fn a_storm_is_one_message_and_a_dead_receiver_holds_up_nobody() {
    let fake = Fake::start(&[OK]).await;
    let dead = Fake::start(&[NOTHING]).await;
    let mut wide = config("ops", &fake.url);
    wide.window_ms = 200;
    let house = House::start(&[config("dead", &dead.url), wide]);
    house.publish("first");
    dead.wait_for(1).await;
    for i in 0..999 {
        house.publish(&format!("name {i}"));
    }
    let request = fake.wait_for(1).await.remove(0);
    assert!(request.contains("1000 events (1000 name-down)\\n- first\\n- name 0"), "{request}");
    assert!(
        request.ends_with("\\nand 990 more\",\"unfurl_links\":false,\"unfurl_media\":false}"),
        "{request}"
    );
    sleep(Duration::from_millis(300)).await;
    assert_eq!(fake.seen().len(), 1);
    assert_eq!(house.figures("ops"), [1, 0, 0, 0]);
    // It has taken in what came meanwhile, and nothing is lost but by its own fault.
    assert_eq!(house.figures("dead")[3], 0);
}

#[tokio::test]
async fn what_comes_while_a_message_is_on_its_way_is_the_next_message() {
    let fake = Fake::start(&[NOTHING, OK]).await;
    let house = House::start(&[config("ops", &fake.url)]);
    house.publish("first");
    fake.wait_for(1).await;
    house.publish("second");
    let seen = fake.wait_for(3).await;
    let told: Vec<bool> = seen.iter().map(|request| request.contains("first")).collect();
    assert_eq!(told, [true, true, false]);
    assert!(seen[2].contains(": second\""), "{}", seen[2]);
}

#[tokio::test]
async fn another_configuration_takes_what_waits_along() {
    let wrong = Fake::start(&[BROKEN]).await;
    let (right, gone) = (Fake::start(&[OK]).await, Fake::start(&[OK]).await);
    let house = House::start(&[config("ops", &wrong.url), config("gone", &gone.url)]);
    house.publish("first");
    wrong.wait_for(2).await;
    gone.wait_for(1).await;
    let mut slow = config("gone", &gone.url);
    slow.window_ms = 60_000;
    house.receivers.replace(&[config("ops", &wrong.url), slow]);
    house.publish("second");
    // A receiver of another name is another receiver.
    let mut other = config("ops", &right.url);
    other.window_ms = 0;
    house.receivers.replace(&[other]);
    assert!(right.wait_for(2).await[0].contains(": first\""));
    assert!(right.seen()[1].contains(": second\""));
    // What waited there was sent before the end.
    assert!(gone.wait_for(2).await[1].contains(": second\""));
    until(|| house.figures("ops")[0] == 2).await;
    let mut page = MetricsWriter::new();
    write_metrics(&mut page, Some(&house.receivers));
    let page = page.finish();
    assert!(page.contains("hale_notifications_total{receiver=\"ops\",outcome=\"sent\"} 2\n"), "{page}");
    assert!(!page.contains("gone"), "{page}");
}

#[tokio::test]
async fn a_stop_sends_what_waits_for_a_moment() {
    let (fake, dead) = (Fake::start(&[OK]).await, Fake::start(&[NOTHING]).await);
    let mut configs = [config("ops", &fake.url), config("dead", &dead.url)];
    for config in &mut configs {
        (config.window_ms, config.timeout_ms) = (60_000, 60_000);
    }
    let house = House::start(&configs);
    house.publish("last words");
    sleep(Duration::from_millis(50)).await;
    let begun = Instant::now();
    house.receivers.stop().await;
    assert!(fake.seen()[0].contains("last words"));
    let took = begun.elapsed();
    assert!(took >= LAST_WORDS && took < LAST_WORDS + Duration::from_secs(2), "{took:?}");
}

#[tokio::test]
async fn secrets_are_read_when_they_are_used() {
    let fake = Fake::start(&[GONE]).await;
    let folder = tempfile::tempdir().unwrap();
    let (url, token) = (folder.path().join("url"), folder.path().join("token"));
    std::fs::write(&url, "http://127.0.0.1:1/\n").unwrap();
    std::fs::write(&token, "old\n").unwrap();
    let mut config = config("ops", "");
    config.url = LiveSecret::File(url.clone());
    let header = ("x-priority".into(), LiveSecret::Fixed("high".into()));
    let token = LiveSecret::File(token);
    config.kind = NotifyKind::Webhook { token: Some(token.clone()), headers: vec![header], body: None };
    let house = House::start(&[config]);
    let LiveSecret::File(token) = token else { unreachable!() };
    std::fs::write(token, "new\n").unwrap();
    std::fs::write(url, format!("{}\n", fake.url)).unwrap();
    house.publish("x");
    let request = fake.wait_for(1).await.remove(0);
    for line in
        ["authorization: Bearer new\r\n", "x-priority: high\r\n", "content-type: application/json\r\n"]
    {
        assert!(request.contains(line), "{request}");
    }
}
