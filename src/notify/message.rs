//! What a receiver is sent: several events in one message. Pure.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use crate::config::{Field, NotifyConfig, NotifyKind};
use crate::model::clock::utc;
use crate::model::event::{Event, EventKind};

/// Events that have a line each in a message's text.
const LINES: usize = 10;
/// Characters of such a line.
const LINE: usize = 300;
/// Events that are kept of trouble, and as many of what is none.
const KEPT: usize = 50;
/// Characters of a Discord message: its API refuses more.
const DISCORD_CHARACTERS: usize = 2000;
/// Characters of a Slack message: it cuts off what comes after 40,000.
const SLACK_CHARACTERS: usize = 39_000;
/// Has no width, and keeps an `@` from being read together with what follows.
const APART: &str = "@\u{200b}";

/// Events that go into one message.
#[derive(Clone, Debug, Default)]
pub(super) struct Gathered {
    /// The first that somebody should look at.
    trouble: Vec<Arc<Event>>,
    /// The first of the others.
    others: Vec<Arc<Event>>,
    /// How many there are of each kind.
    kinds: BTreeMap<EventKind, u64>,
    /// Events that came faster than they could be read, of any kind.
    lost: u64,
}

impl Gathered {
    /// Takes an event in, if the receiver wants to be told of it.
    pub(super) fn take(&mut self, event: &Arc<Event>, config: &NotifyConfig) {
        if !is_wanted(event, config) {
            return;
        }
        *self.kinds.entry(event.news.kind).or_default() += 1;
        let kept = if event.news.kind.is_trouble() { &mut self.trouble } else { &mut self.others };
        if kept.len() < KEPT {
            kept.push(Arc::clone(event));
        }
    }

    /// Notes that events are lost, some of which the receiver may have wanted.
    pub(super) fn lose(&mut self, events: u64) {
        self.lost += events;
    }

    /// Whether there is nothing to tell; nobody knows whether what is lost was wanted, and the metrics count it.
    pub(super) fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// How many events it tells of.
    pub(super) fn count(&self) -> u64 {
        self.kinds.values().sum()
    }

    /// What is kept, trouble first.
    fn events(&self) -> impl Iterator<Item = &Event> {
        self.trouble.iter().chain(&self.others).map(|event| &**event)
    }

    fn severity(&self) -> &'static str {
        if self.trouble.is_empty() { "info" } else { "trouble" }
    }

    fn summary(&self, server: &str) -> String {
        let kinds = || {
            let kinds: Vec<String> = self.kinds.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
            kinds.join(", ")
        };
        match (self.events().next(), self.count()) {
            (Some(only), 1) => format!("Hale on {server}: {}", line(only)),
            (_, count) => format!("Hale on {server}: {count} events ({})", kinds()),
        }
    }

    fn text(&self, server: &str) -> String {
        let mut text = self.summary(server);
        if self.count() > 1 {
            let told = self.events().take(LINES).map(|event| format!("\n- {}", line(event)));
            text.extend(told);
            if let Some(more) = self.count().checked_sub(LINES as u64).filter(|more| *more > 0) {
                text.push_str(&format!("\nand {more} more"));
            }
        }
        if self.lost > 0 {
            text.push_str(&format!("\n{} further events of any kind came too fast to be told", self.lost));
        }
        text
    }

    fn field<'v>(&'v self, field: Field, server: &'v str) -> Cow<'v, str> {
        let first = self.events().next();
        let news = first.map(|event| &event.news);
        let of_first = |text: Option<&'v String>| Cow::from(text.map_or("", String::as_str));
        match field {
            Field::Text => self.text(server).into(),
            Field::Summary => self.summary(server).into(),
            Field::Count => self.count().to_string().into(),
            Field::Kind => news.map_or("", |news| news.kind.name()).into(),
            Field::Severity => self.severity().into(),
            Field::Zone => of_first(news.and_then(|news| news.zones.first())),
            Field::Name => of_first(news.and_then(|news| news.names.first())),
            Field::Target => of_first(news.and_then(|news| news.target.as_ref())),
            Field::Source => of_first(news.and_then(|news| news.source.as_ref())),
            Field::Server => server.into(),
            Field::Time => first.map_or_else(String::new, |event| utc(event.at_ms / 1000)).into(),
            Field::Events => json!(self.events().collect::<Vec<_>>()).to_string().into(),
        }
    }

    /// The body of the request.
    pub(super) fn body(&self, config: &NotifyConfig, server: &str) -> String {
        let field = |field| self.field(field, server);
        match &config.kind {
            NotifyKind::Webhook { body: Some(template), .. } => template.fill_json(field),
            NotifyKind::Webhook { body: None, .. } => json!({
                "receiver": &*config.name, "server": server, "severity": self.severity(),
                "summary": self.summary(server), "text": self.text(server),
                "count": self.count(), "lost": self.lost, "events": self.events().collect::<Vec<_>>(),
            })
            .to_string(),
            NotifyKind::Slack(template) => {
                let text = cut(&template.fill(|name| for_slack(&field(name)).into()), SLACK_CHARACTERS);
                json!({ "text": text, "unfurl_links": false, "unfurl_media": false }).to_string()
            }
            NotifyKind::Discord(template) => {
                let text = cut(&template.fill(|name| for_discord(&field(name)).into()), DISCORD_CHARACTERS);
                json!({ "content": text, "allowed_mentions": { "parse": [] } }).to_string()
            }
        }
    }
}

fn is_wanted(event: &Event, config: &NotifyConfig) -> bool {
    let news = &event.news;
    let is_of_zone = || {
        config.zones.is_empty()
            || news.zones.is_empty()
            || config.zones.iter().any(|zone| news.zones.contains(&zone.to_string()))
    };
    config.events.contains(&news.kind) && is_of_zone()
}

/// An event in one line.
fn line(event: &Event) -> String {
    let told = event.news.told();
    let words = told.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    cut(&words.collect::<Vec<_>>().join(" "), LINE)
}

/// Nobody is to be called, and nothing to be linked, by what an event says: names come from whoever may create an Ingress, and errors quote
/// what servers answer. These are the three characters with a meaning in Slack's texts; services that take the same form read `@` too.
/// <https://docs.slack.dev/messaging/formatting-message-text>
fn for_slack(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('@', APART)
}

/// Likewise in Discord's Markdown, in which `*.apps` and `_acme` would otherwise turn into styles. Mentions are also switched off for the whole
/// message.
fn for_discord(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '@' => out.push_str(APART),
            '\\' | '*' | '_' | '~' | '`' | '|' | '<' | '>' | '[' | ']' | '#' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
}

fn cut(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        None => text.to_owned(),
        Some(_) => text.chars().take(characters - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value as Json;

    use super::*;
    use crate::config::{LiveSecret, Template};
    use crate::model::event::News;
    use crate::model::name::Name;

    fn config(kind: NotifyKind) -> NotifyConfig {
        NotifyConfig {
            name: "ops".into(),
            kind,
            url: LiveSecret::Fixed("http://127.0.0.1".into()),
            events: EventKind::ALL.to_vec(),
            zones: Vec::new(),
            window_ms: 0,
            timeout_ms: 1000,
            ca_file: None,
            verify: true,
        }
    }

    fn template(text: &str) -> Template {
        Template::parse(text).unwrap()
    }

    fn webhook(body: Option<&str>) -> NotifyConfig {
        config(NotifyKind::Webhook { token: None, headers: Vec::new(), body: body.map(template) })
    }

    fn event(kind: EventKind, text: &str, zone: &str) -> Arc<Event> {
        let mut news = News::new(kind, text);
        news.zones.extend((!zone.is_empty()).then(|| zone.to_owned()));
        Arc::new(Event { id: 1, at_ms: 1_795_190_400_123, news })
    }

    fn gathered(events: &[(EventKind, &str)], config: &NotifyConfig) -> Gathered {
        let mut gathered = Gathered::default();
        events.iter().for_each(|(kind, text)| gathered.take(&event(*kind, text, ""), config));
        gathered
    }

    fn json_body(gathered: &Gathered, config: &NotifyConfig) -> Json {
        serde_json::from_str(&gathered.body(config, "fra")).unwrap()
    }

    #[test]
    fn filters() {
        let check = |change: &dyn Fn(&mut NotifyConfig), kind, zone: &str, want: bool| {
            let mut config = webhook(None);
            change(&mut config);
            assert_eq!(is_wanted(&event(kind, "x", zone), &config), want, "{kind} {zone}");
        };
        let a = |config: &mut NotifyConfig| config.zones = vec![Name::parse_absolute("a.test").unwrap()];
        check(&|_| {}, EventKind::TargetFlip, "b.test.", true);
        check(&|c| c.events = vec![EventKind::NameDown], EventKind::TargetFlip, "", false);
        check(&a, EventKind::NameDown, "a.test.", true);
        check(&a, EventKind::NameDown, "b.test.", false);
        check(&a, EventKind::BrakeHeld, "", true);
    }

    #[test]
    fn a_storm_is_one_short_message_with_trouble_first() {
        let webhook = webhook(None);
        let mut storm = Gathered::default();
        let long = "x".repeat(100_000);
        for i in 0..999 {
            storm.take(&event(EventKind::TargetFlip, &format!("flip {i} {long}"), ""), &webhook);
        }
        storm.take(&event(EventKind::NameDown, "nothing of a\nis up", ""), &webhook);
        storm.lose(7);
        let text = storm.text("fra");
        let begin =
            "Hale on fra: 1000 events (999 target-flip, 1 name-down)\n- nothing of a is up\n- flip 0 xxx";
        assert!(text.starts_with(begin), "{}", &text[..200]);
        assert!(text.ends_with("…\nand 990 more\n7 further events of any kind came too fast to be told"));
        assert_eq!(text.lines().count(), 1 + LINES + 2);
        assert!(text.chars().count() < 100 + LINES * (LINE + 3) + 100);
        let body = json_body(&storm, &webhook);
        assert_eq!(
            (&body["count"], &body["lost"], &body["severity"]),
            (&1000.into(), &7.into(), &"trouble".into())
        );
        assert_eq!(body["events"].as_array().unwrap().len(), KEPT + 1);
        assert_eq!((&body["events"][0]["kind"], &body["receiver"]), (&"name-down".into(), &"ops".into()));
    }

    /// What an event may contain that calls people, links or styles, and what a chat is sent.
    #[test]
    fn no_event_calls_anybody() {
        let check = |text: &str, slack: &str, discord: &str| {
            let of = |kind: NotifyKind, key: &str| {
                let config = config(kind);
                let body = json_body(&gathered(&[(EventKind::NameDown, text)], &config), &config);
                body[key].as_str().unwrap().to_owned()
            };
            assert_eq!(
                of(NotifyKind::Slack(template("{{text}} <!here>")), "text"),
                format!("Hale on fra: {slack} <!here>")
            );
            let sent = of(NotifyKind::Discord(template("**{{text}}**")), "content");
            assert_eq!(sent, format!("**Hale on fra: {discord}**"));
        };
        check("<!channel> is down", "&lt;!channel&gt; is down", "\\<!channel\\> is down");
        check("@everyone", "@\u{200b}everyone", "@\u{200b}everyone");
        check("<@U1> & \"c\"", "&lt;@\u{200b}U1&gt; &amp; \"c\"", "\\<@\u{200b}U1\\> & \"c\"");
        check("*.a _b `c`", "*.a _b `c`", "\\*.a \\_b \\`c\\`");
        check("[x](http://y)", "[x](http://y)", "\\[x\\](http://y)");
        check("a\n# b", "a # b", "a \\# b");
        let discord = config(NotifyKind::Discord(template("{{text}}")));
        let body = json_body(&gathered(&[(EventKind::NameDown, "x")], &discord), &discord);
        assert_eq!(body["allowed_mentions"], json!({ "parse": [] }));
    }

    #[test]
    fn a_chat_is_sent_no_more_than_it_takes() {
        for (kind, key, most) in [
            (NotifyKind::Discord(template(&"{{text}}".repeat(50))), "content", DISCORD_CHARACTERS),
            (NotifyKind::Slack(template(&"{{text}}".repeat(500))), "text", SLACK_CHARACTERS),
        ] {
            let config = config(kind);
            let body = json_body(&gathered(&[(EventKind::NameDown, &"ä".repeat(5000))], &config), &config);
            let text = body[key].as_str().unwrap();
            assert!(text.chars().count() == most && text.ends_with('…'), "{key}");
        }
    }

    #[test]
    fn a_body_of_ones_own_stays_json_whatever_happens() {
        let body = r#"{"text":"{{text}}","n":{{count}},"kind":"{{kind}}","at":"{{time}}","z":"{{zone}}","all":{{events}}}"#;
        let config = webhook(Some(body));
        let sent = json_body(&gathered(&[(EventKind::TargetFlip, "say \"no\"\\ \u{1}")], &config), &config);
        assert_eq!(sent["text"], "Hale on fra: say \"no\"\\");
        assert_eq!((&sent["n"], &sent["kind"], &sent["z"]), (&1.into(), &"target-flip".into(), &"".into()));
        assert_eq!((&sent["at"], &sent["all"][0]["id"]), (&"2026-11-20T16:00:00Z".into(), &1.into()));
    }
}
