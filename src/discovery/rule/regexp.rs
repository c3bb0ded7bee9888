//! Regular expressions of hosts: the finite list of names that one stands for, or `*.x`, or why it is neither.
//!
//! Traefik's expressions are Go's (RE2 syntax). `regex-syntax` reads nearly the same language; what the two read differently is
//! refused ([`Differs`]), so that nothing is published by a misreading.

use regex_syntax::ast::{self, Ast};
use regex_syntax::hir::{Class, Hir, HirKind, Look, Repetition};

/// Names that one expression may stand for.
const MAX_NAMES: usize = 256;
/// Characters of a class that is taken as a list of alternatives: `[0-9a-f]` is one, `.` and `[^.]` are not.
const MAX_CLASS: usize = 64;
/// Items in all texts that an expression is written out to while it is read.
const MAX_ITEMS: usize = 16 * 1024;
/// Groups and repetitions that may stand in one another.
const MAX_NESTING: u32 = 50;
/// Go's bound of `{n,m}`.
const MAX_REPEAT: u32 = 1000;
/// Octets of the longest label: a class repeated as often is any label.
const LABEL: u32 = 63;

/// A piece of a text that an expression matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    Start,
    End,
    Octet(u8),
    /// Any label at least, and perhaps any number of them.
    Anything,
}

type Text = Vec<Item>;

/// What an expression stands for, in lower case; a wildcard begins with `*.`.
///
/// # Errors
/// Why it stands for no list of names; reads on after the quoted expression.
pub(super) fn names(pattern: &str) -> Result<Vec<String>, String> {
    let tree = ast::parse::ParserBuilder::new()
        .nest_limit(MAX_NESTING)
        .build()
        .parse(pattern)
        .map_err(|error| format!("cannot be read: {}", error.kind()))?;
    ast::visit(&tree, Differs)?;
    let hir = regex_syntax::hir::translate::TranslatorBuilder::new()
        .unicode(false)
        .utf8(false)
        .build()
        .translate(pattern, &tree)
        .map_err(|error| format!("cannot be read: {}", error.kind()))?;
    let mut names = Vec::new();
    for text in texts(&hir)? {
        names.extend(name(text)?);
    }
    names.sort();
    names.dedup();
    match names.len() {
        0 => Err("matches no host name; hosts are in lower case when they are compared".to_owned()),
        1..=MAX_NAMES => Ok(names),
        _ => Err(too_many()),
    }
}

/// Refuses what `regex-syntax` knows and Go does not, or reads otherwise.
struct Differs;

impl ast::Visitor for Differs {
    type Output = ();
    type Err = String;

    fn finish(self) -> Result<(), String> {
        Ok(())
    }

    fn visit_pre(&mut self, ast: &Ast) -> Result<(), String> {
        let differs = match ast {
            Ast::Flags(set) => has_other_flag(&set.flags),
            Ast::Group(group) => group.flags().is_some_and(has_other_flag),
            Ast::Assertion(assertion) => !matches!(
                assertion.kind,
                ast::AssertionKind::StartLine
                    | ast::AssertionKind::EndLine
                    | ast::AssertionKind::StartText
                    | ast::AssertionKind::EndText
                    | ast::AssertionKind::WordBoundary
                    | ast::AssertionKind::NotWordBoundary
            ),
            Ast::Repetition(repetition) => {
                let beyond = match &repetition.op.kind {
                    ast::RepetitionKind::Range(
                        ast::RepetitionRange::Exactly(most)
                        | ast::RepetitionRange::AtLeast(most)
                        | ast::RepetitionRange::Bounded(_, most),
                    ) => *most > MAX_REPEAT,
                    _ => false,
                };
                beyond || matches!(*repetition.ast, Ast::Repetition(_))
            }
            _ => false,
        };
        if differs { Err(OTHERWISE.to_owned()) } else { Ok(()) }
    }

    fn visit_class_set_item_pre(&mut self, item: &ast::ClassSetItem) -> Result<(), String> {
        if matches!(item, ast::ClassSetItem::Bracketed(_)) { Err(OTHERWISE.to_owned()) } else { Ok(()) }
    }

    fn visit_class_set_binary_op_pre(&mut self, _: &ast::ClassSetBinaryOp) -> Result<(), String> {
        Err(OTHERWISE.to_owned())
    }
}

const OTHERWISE: &str = "has what Go's regular expressions do not have, or read otherwise";

/// Whether a flag is set or cleared that Go does not have.
fn has_other_flag(flags: &ast::Flags) -> bool {
    use ast::{Flag, FlagsItemKind};
    flags.items.iter().any(|item| {
        matches!(item.kind, FlagsItemKind::Flag(Flag::Unicode | Flag::CRLF | Flag::IgnoreWhitespace))
    })
}

fn too_many() -> String {
    format!("stands for more than {MAX_NAMES} names")
}

/// All texts that an expression matches.
fn texts(hir: &Hir) -> Result<Vec<Text>, String> {
    match hir.kind() {
        HirKind::Empty => Ok(vec![Text::new()]),
        HirKind::Literal(literal) => Ok(vec![literal.0.iter().map(|octet| Item::Octet(*octet)).collect()]),
        HirKind::Class(class) => Ok(alternatives(class)?.into_iter().map(|c| vec![Item::Octet(c)]).collect()),
        HirKind::Look(Look::Start | Look::StartLF) => Ok(vec![vec![Item::Start]]),
        HirKind::Look(Look::End | Look::EndLF) => Ok(vec![vec![Item::End]]),
        HirKind::Look(_) => Err("has a word boundary, so it stands for no list of names".to_owned()),
        HirKind::Capture(capture) => texts(&capture.sub),
        HirKind::Concat(parts) => {
            parts.iter().try_fold(vec![Text::new()], |before, part| joined(&before, &texts(part)?))
        }
        HirKind::Alternation(parts) => {
            let mut all = Vec::new();
            for part in parts {
                all.extend(texts(part)?);
                bounded(&all)?;
            }
            Ok(all)
        }
        HirKind::Repetition(repetition) => repeated(repetition),
    }
}

/// Every text of the first followed by every text of the second.
fn joined(first: &[Text], second: &[Text]) -> Result<Vec<Text>, String> {
    if first.len().saturating_mul(second.len()) > MAX_ITEMS {
        return Err(too_many());
    }
    let mut all = Vec::with_capacity(first.len() * second.len());
    for left in first {
        for right in second {
            all.push([left.as_slice(), right].concat());
        }
        bounded(&all)?;
    }
    Ok(all)
}

/// Refuses what would take much memory to write out.
fn bounded(texts: &[Text]) -> Result<(), String> {
    // Each text counts itself, too: the empty ones take memory as well.
    let items: usize = texts.iter().map(|text| text.len() + 1).sum();
    if items > MAX_ITEMS { Err(too_many()) } else { Ok(()) }
}

fn repeated(repetition: &Repetition) -> Result<Vec<Text>, String> {
    let Repetition { min, max, ref sub, .. } = *repetition;
    if min <= 1 && max.is_none_or(|max| max >= LABEL) {
        if let HirKind::Class(class) = sub.kind()
            && has_every_label(class)
        {
            return Ok(vec![vec![Item::Anything]]);
        }
        // `([a-z0-9-]+\.)+` is any labels, too.
        if max.is_none() && !matches!(sub.kind(), HirKind::Class(_)) {
            let label = vec![Item::Anything, Item::Octet(b'.')];
            if texts(sub)? == [label.as_slice()] {
                let without = (min == 0).then(Text::new);
                return Ok(without.into_iter().chain([label]).collect());
            }
        }
    }
    let Some(max) = max.filter(|max| *max <= LABEL) else {
        return Err("repeats a part that is not any label, so it stands for no list of names".to_owned());
    };
    let sub = texts(sub)?;
    let mut times = vec![Text::new()];
    let mut all = Vec::new();
    for count in 0..=max {
        if count >= min {
            all.extend_from_slice(&times);
            bounded(&all)?;
        }
        if count < max {
            times = joined(&times, &sub)?;
        }
    }
    Ok(all)
}

/// Whether a class has all characters of host names' labels (RFC 1123 §2.1), in lower case.
fn has_every_label(class: &Class) -> bool {
    let ranges = ranges(class);
    let has = |c: u8| ranges.iter().any(|(from, to)| (*from..=*to).contains(&u32::from(c)));
    (b'a'..=b'z').chain(b'0'..=b'9').chain([b'-']).all(has)
}

/// The characters of a class that a host can have, if the class is a short list.
fn alternatives(class: &Class) -> Result<Vec<u8>, String> {
    let ranges = ranges(class);
    let size: u64 = ranges.iter().map(|(from, to)| u64::from(to - from) + 1).sum();
    if size > MAX_CLASS as u64 {
        return Err("has a place for any character, so it stands for no list of names; a dot is written \\."
            .to_owned());
    }
    let characters = ranges.iter().flat_map(|(from, to)| *from..=*to);
    Ok(characters.filter_map(|c| u8::try_from(c).ok()).filter(|c| is_host_octet(*c)).collect())
}

fn ranges(class: &Class) -> Vec<(u32, u32)> {
    match class {
        Class::Unicode(class) => class.ranges().iter().map(|r| (r.start().into(), r.end().into())).collect(),
        Class::Bytes(class) => class.ranges().iter().map(|r| (r.start().into(), r.end().into())).collect(),
    }
}

/// Whether a host can have the octet when it is compared.
fn is_host_octet(octet: u8) -> bool {
    octet.is_ascii_lowercase() || octet.is_ascii_digit() || matches!(octet, b'-' | b'_' | b'.')
}

/// The name of a text; nothing if no host can be that text.
fn name(text: Text) -> Result<Option<String>, String> {
    let Some(core) = anchored(text)? else { return Ok(None) };
    let (wildcard, rest) = match core.as_slice() {
        [Item::Anything] => return Err("matches every host, which has no name".to_owned()),
        [Item::Anything, rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let octets: Vec<u8> =
        rest.iter().map_while(|item| if let Item::Octet(c) = item { Some(*c) } else { None }).collect();
    if octets.len() < rest.len() {
        return Err("has a wildcard that is not the whole first part of the name".to_owned());
    }
    if octets.is_empty() || !octets.iter().all(|c| is_host_octet(*c)) {
        return Ok(None);
    }
    let name = String::from_utf8_lossy(&octets);
    match (wildcard, name.strip_prefix('.')) {
        (false, _) => Ok(Some(name.into_owned())),
        (true, Some(rest)) => Ok(Some(format!("*.{rest}"))),
        (true, None) => Err("is not anchored with ^ or a whole label before the name".to_owned()),
    }
}

/// A text without its anchors; where one is missing anything may stand. Nothing if an anchor stands where none can hold.
fn anchored(mut text: Text) -> Result<Option<Text>, String> {
    let starts = text.iter().take_while(|item| **item == Item::Start).count();
    text.drain(..starts);
    let ends = text.iter().rev().take_while(|item| **item == Item::End).count();
    text.truncate(text.len() - ends);
    if text.iter().any(|item| matches!(item, Item::Start | Item::End)) {
        return Ok(None);
    }
    if ends == 0 {
        return Err("is not anchored with $ at its end".to_owned());
    }
    if starts == 0 {
        text.insert(0, Item::Anything);
    }
    text.dedup_by(|a, b| *a == Item::Anything && *b == Item::Anything);
    Ok(Some(text))
}

/// Whether a text has `{name}` or `{name:…}` in it, as templates of Traefik 2 do and regular expressions do not.
pub(super) fn looks_like_template(text: &str) -> bool {
    text.split('{').skip(1).any(|rest| rest.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic()))
}

/// The regular expression of a template: `{name}` is one label, `{name:re}` what the expression says, all else literal.
///
/// # Errors
/// Braces that do not match, and parts without name or expression.
pub(super) fn of_template(template: &str) -> Result<String, String> {
    let mut pattern = String::from("(?i)^");
    let (mut depth, mut start) = (0_usize, 0);
    for (at, c) in template.char_indices() {
        match c {
            '{' => {
                depth += 1;
                if depth == 1 {
                    pattern.push_str(&regex_syntax::escape(&template[start..at]));
                    start = at + 1;
                }
            }
            '}' => {
                depth = depth.checked_sub(1).ok_or("the template has a } without its {")?;
                if depth == 0 {
                    let (name, expression) = match template[start..at].split_once(':') {
                        Some((name, expression)) => (name, expression),
                        None => (&template[start..at], "[^.]+"),
                    };
                    if name.is_empty() || expression.is_empty() {
                        return Err(format!(
                            "the part {{{}}} has no name or no expression",
                            &template[start..at]
                        ));
                    }
                    pattern.push_str("(?:");
                    pattern.push_str(expression);
                    pattern.push(')');
                    start = at + 1;
                }
            }
            _ => {}
        }
    }
    if depth > 0 {
        return Err("the template has a { without its }".to_owned());
    }
    pattern.push_str(&regex_syntax::escape(&template[start..]));
    pattern.push('$');
    Ok(pattern)
}
