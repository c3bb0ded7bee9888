//! The keys of `tcp`, `dns`, `icmp`, `exec` and `external` checks.

use serde_json::{Value as Json, json};

use super::check::HasPort;
use super::http::report_in;
use crate::config::json::{
    AbsoluteName, Boolean, Duration, Element, Int, Kind, Map, OneOrMany, Port, Read, Reader, Secret, Slot,
    Text, Value, Word,
};
use crate::config::schema::Definitions;
use crate::model::check::{CheckKind, DnsCheck, ExecCheck, ExternalCheck, IcmpCheck, TalkCheck};
use crate::model::diagnostic::Diagnostic;
use crate::model::name::Name;
use crate::model::rdata;
use crate::model::rrtype::RrType;
use crate::model::target::Verdict;

/// The longest id of an external check: it is part of a URL.
const MAX_ID: usize = 200;

object! {
    /// A TCP connection is accepted, and what comes over it is as wanted.
    pub(crate) struct TcpCheckKeys {
        /// Port to connect to, unless an endpoint's `probe` gives one.
        "port" port: Port,
        /// Text sent once connected; \r\n ends a line.
        "send" send: Text,
        /// Text that must be in the first 16 KiB that come; without "send" it is waited for at once.
        "expect" expect: Text,
    }
    later: []
}

impl HasPort for TcpCheckKeys {
    fn port(&mut self) -> &mut Slot<Port> {
        &mut self.port
    }
}

impl TcpCheckKeys {
    /// Port, which has no default, and check.
    pub(super) fn resolve(mut self, reader: &mut Reader<'_>) -> Option<(Option<u16>, CheckKind)> {
        let port = self.port.take().map(|port| port.value.0);
        let (send_at, expect_at) = (self.send.key_position(), self.expect.key_position());
        if let (Some(at), None) = (send_at, expect_at) {
            let hint = "add \"expect\": \"…\", or leave \"send\" out: that the connection is accepted is checked anyway";
            report_in(reader, &["tcp", "send"], at, "\"send\" needs \"expect\"".to_owned(), hint);
            return None;
        }
        if expect_at.is_none() {
            return Some((port, CheckKind::Tcp));
        }
        let expect = self.expect.take()?;
        if expect.value.0.is_empty() {
            let message = "an empty text is always there".to_owned();
            report_in(reader, &["tcp", "expect"], expect.position, message, "give a text, or leave it out");
            return None;
        }
        let send = self.send.take().map_or_else(String::new, |given| given.value.0);
        Some((port, CheckKind::Talk(Box::new(TalkCheck { send, expect: expect.value.0 }))))
    }
}

object! {
    /// A DNS query is answered as wanted.
    pub(crate) struct DnsKeys {
        /// Port to ask, unless an endpoint's `probe` gives one; 53 unless given.
        "port" port: Port,
        /// The absolute name to ask for.
        "name" (required) name: AbsoluteName,
        /// The RR type to ask for; A unless given.
        "type" rtype: QueryType,
        /// The response code that is wanted; NOERROR unless given.
        "rcode" rcode: Rcode,
        /// RDATA that must be in the answer, one or a list of them; names in it are absolute.
        "answer" answer: OneOrMany<Text>,
        /// Ask over TCP; false unless given.
        "tcp" tcp: Boolean,
        /// Set the RD bit; true unless given. An authoritative server ignores it.
        "recursion" recursion: Boolean,
    }
    later: []
}

impl DnsKeys {
    /// Port, if it is given, and check.
    pub(super) fn resolve(mut self, reader: &mut Reader<'_>) -> Option<(Option<u16>, DnsCheck)> {
        let port = self.port.take().map(|port| port.value.0);
        let rcode = self.rcode.take().map_or(Rcode(0), |given| given.value);
        if matches!(self.rtype, Slot::Bad(_)) {
            return None;
        }
        let rtype = self.rtype.take().map_or(RrType::A, |given| given.value.0);
        if let (Some(at), true) = (self.answer.key_position(), rcode.0 != 0) {
            let hint = "an answer comes with NOERROR; leave one of them out";
            let message = "\"answer\" and an error in \"rcode\" exclude each other".to_owned();
            report_in(reader, &["dns", "answer"], at, message, hint);
            return None;
        }
        let mut answer = Vec::new();
        for Element { value, position, index } in self.answer.take().into_iter().flat_map(|list| list.value.0)
        {
            match rdata::parse(rtype, &value.0, &Name::root()) {
                Ok(wire) => answer.push(wire),
                Err(error) => {
                    let path = format!("{}[{index}]", reader.path_below(&["dns", "answer"]));
                    reader.error_at(path, position, error.message, error.hint.unwrap_or_default());
                }
            }
        }
        Some((
            port,
            DnsCheck {
                name: self.name.take()?.value.0,
                rtype,
                rcode: rcode.0,
                answer,
                tcp: self.tcp.take().is_some_and(|given| given.value.0),
                recursion: self.recursion.take().is_none_or(|given| given.value.0),
            },
        ))
    }
}

/// A type that can be asked for.
pub(crate) struct QueryType(RrType);

impl Value for QueryType {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        if reader.peek()? == Kind::String {
            let mark = reader.mark();
            if let Some(rtype) = reader.string()?.parse().ok().filter(|rtype: &RrType| !rtype.is_meta()) {
                return Ok(Some(Self(rtype)));
            }
            reader.rewind(mark);
        }
        reader.mismatch("an RR type", "such as \"A\", \"SOA\" or \"TYPE65\"")
    }

    fn schema(_: &mut Definitions) -> Json {
        json!({ "type": "string", "minLength": 1 })
    }
}

/// A response code by its name.
#[derive(Clone, Copy)]
pub(crate) struct Rcode(u16);

impl Word for Rcode {
    const WHAT: &'static str = "a response code";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("NOERROR", Self(0)),
        ("FORMERR", Self(1)),
        ("SERVFAIL", Self(2)),
        ("NXDOMAIN", Self(3)),
        ("NOTIMP", Self(4)),
        ("REFUSED", Self(5)),
        ("NOTAUTH", Self(9)),
    ];
    const LATER: &'static [&'static str] = &[];
}

object! {
    /// An ICMP echo request is answered.
    pub(crate) struct IcmpKeys {
        /// Octets of payload; 56 unless given. 1472 fill an IPv4 packet on Ethernet.
        "size" size: Int<8, 1472>,
    }
    later: []
}

/// `true`, or an object.
pub(crate) struct Icmp(pub(super) IcmpCheck);

/// Octets of payload unless given, as ping(8) sends them.
const DEFAULT_SIZE: u16 = 56;

impl Value for Icmp {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        match reader.peek()? {
            Kind::Object => Ok(IcmpKeys::read(reader)?.map(|mut keys| {
                // The type's limits make the conversion lossless.
                Self(IcmpCheck { size: keys.size.take().map_or(DEFAULT_SIZE, |given| given.value.0 as u16) })
            })),
            Kind::Bool => {
                let at = reader.position();
                if reader.boolean()? {
                    return Ok(Some(Self(IcmpCheck { size: DEFAULT_SIZE })));
                }
                reader.error(at, "\"icmp\": false checks nothing", "write \"icmp\": true, or another kind");
                Ok(None)
            }
            _ => reader.mismatch("an ICMP check", "write \"icmp\": true"),
        }
    }

    fn schema(definitions: &mut Definitions) -> Json {
        json!({ "anyOf": [{ "const": true }, IcmpKeys::schema(definitions)] })
    }
}

object! {
    /// A program ends with exit code 0.
    pub(crate) struct ExecKeys {
        /// The program and its arguments. A path is relative to this file; a bare word is looked up in PATH. No shell reads them.
        "argv" (required) argv: OneOrMany<Text>,
        /// Further variables of the program's environment.
        "env" env: Map<Secret>,
        /// HALE_PORT, unless an endpoint's `probe` gives one.
        "port" port: Port,
    }
    later: []
}

/// A list of the program and its arguments, or an object that holds it.
pub(crate) struct Exec(ExecKeys);

impl Value for Exec {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        if reader.peek()? == Kind::Object {
            return Ok(ExecKeys::read(reader)?.map(Self));
        }
        let at = reader.position();
        if reader.peek()? != Kind::Array {
            let hint = "a list such as [\"./check-db\", \"--fast\"]; no shell reads it";
            return reader.mismatch("a program and its arguments", hint);
        }
        let Some(value) = OneOrMany::<Text>::read(reader)? else { return Ok(None) };
        let argv = Slot::Given(at, crate::config::json::At { value, position: at });
        Ok(Some(Self(ExecKeys { argv, ..ExecKeys::default() })))
    }

    fn schema(definitions: &mut Definitions) -> Json {
        let list = json!({ "type": "array", "items": Text::schema(definitions), "minItems": 1 });
        json!({ "anyOf": [list, ExecKeys::schema(definitions)] })
    }
}

impl Exec {
    /// Port if given, and check.
    pub(super) fn resolve(self, reader: &mut Reader<'_>) -> Option<(Option<u16>, ExecCheck)> {
        let mut keys = self.0;
        let argv = keys.argv.take()?;
        let mut words: Vec<String> = Vec::new();
        for Element { value, position, .. } in argv.value.0 {
            let is_program = words.is_empty();
            if value.0.contains('\0') || (is_program && value.0.is_empty()) {
                let message = if is_program { "this is no program" } else { "an argument holds a NUL" };
                report_in(
                    reader,
                    &["exec"],
                    position,
                    message.to_owned(),
                    "argv is a program and its arguments",
                );
                return None;
            }
            let is_path = is_program && value.0.contains('/');
            let path = is_path.then(|| reader.source().base.join(&value.0));
            if path.as_ref().is_some_and(|path| !path.is_file()) {
                let message = format!("there is no program {}", value.0);
                let hint = "until there is, the check has no verdict; a path is relative to this file";
                let warning = Diagnostic::warning(reader.source().file, message);
                let path = reader.path_below(&["exec"]);
                reader.report(warning.at(position, path).hint(hint));
            }
            words.push(match path {
                // A path that came out bare would be looked up in PATH.
                Some(path) if path.components().count() > 1 => path.to_string_lossy().into_owned(),
                Some(path) => format!("./{}", path.display()),
                None => value.0,
            });
        }
        let mut env = Vec::new();
        for (name, value) in keys.env.take().map_or_else(Vec::new, |given| given.value.0) {
            let at = value.position;
            let Some(Secret(text)) = value.value else { continue };
            let path = ["exec", "env", &name];
            if name.is_empty() || name.contains(['=', '\0']) || text.contains('\0') {
                let message = "this cannot be a variable".to_owned();
                report_in(reader, &path, at, message, "a name without '=', and no NUL in either");
            } else if name.starts_with("HALE_") {
                let hint = "HALE_ADDRESS, HALE_PORT, HALE_NAME and HALE_TIMEOUT_MS are set for each probe";
                report_in(reader, &path, at, "HALE_ variables are Hale's".to_owned(), hint);
            } else {
                env.push((name, text));
            }
        }
        let port = keys.port.take().map(|port| port.value.0);
        Some((port, ExecCheck { argv: words, env, name: String::new() }))
    }
}

object! {
    /// Nothing is probed: the verdict is pushed over the API, and holds for a time.
    pub(crate) struct ExternalKeys {
        /// What verdicts are pushed for: letters, digits, '-', '_', '.' and ':'. {name} and {address} in it stand for the checked ones.
        "id" (required) id: Text,
        /// How long a pushed verdict holds.
        "ttl" (required) ttl: Duration<1000, 2_592_000_000>,
        /// What holds before the first verdict, and once its time is over; unknown unless given.
        "expired" expired: Expired,
    }
    later: []
}

/// What an external check says when nothing was pushed.
#[derive(Clone, Copy)]
pub(crate) struct Expired(Verdict);

impl Word for Expired {
    const WHAT: &'static str = "a verdict";
    const WORDS: &'static [(&'static str, Self)] =
        &[("unknown", Self(Verdict::Unknown)), ("up", Self(Verdict::Up)), ("down", Self(Verdict::Down))];
    const LATER: &'static [&'static str] = &[];
}

impl ExternalKeys {
    /// The check; `{name}` and `{address}` still stand in its id.
    pub(super) fn resolve(mut self, reader: &mut Reader<'_>) -> Option<ExternalCheck> {
        let expired = self.expired.take().map_or(Verdict::Unknown, |given| given.value.0);
        let (id, ttl) = (self.id.take()?, self.ttl.take()?);
        let bare = id.value.0.replace("{name}", "n").replace("{address}", "a");
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':');
        if bare.is_empty() || bare.len() > MAX_ID || !bare.bytes().all(allowed) {
            let message = format!("{:?} cannot be an id", id.value.0);
            let hint = "up to 200 letters, digits, '-', '_', '.' and ':', since it becomes part of a URL";
            report_in(reader, &["external", "id"], id.position, message, hint);
            return None;
        }
        Some(ExternalCheck { id: id.value.0, ttl_ms: ttl.value.0, expired })
    }
}
