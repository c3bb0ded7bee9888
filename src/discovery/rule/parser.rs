//! The grammar of rules: matchers joined by `!`, `&&` and `||`, of which only each matcher's sign is kept.
//!
//! Pushing `!` inward (De Morgan) exchanges `&&` and `||` and flips the sign of each matcher below it. Which matchers a rule has
//! with which sign is all that its host names depend on, so no tree is built.

use std::borrow::Cow;

use super::lexer::{Lexer, Token};
use super::{Fault, MAX_RULE_OCTETS};

/// Parentheses that may stand in one another.
const MAX_DEPTH: usize = 100;

/// One matcher of a rule.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Call<'a> {
    /// Its name as written.
    pub(super) matcher: &'a str,
    /// Where the name stands.
    pub(super) at: usize,
    /// Its arguments, each with its place.
    pub(super) arguments: Vec<(usize, Cow<'a, str>)>,
    /// Whether what it matches is excluded: an odd number of `!` stands above it.
    pub(super) negated: bool,
}

/// All matchers of a rule, in its order.
pub(super) fn parse(rule: &str) -> Result<Vec<Call<'_>>, Fault> {
    if rule.len() > MAX_RULE_OCTETS {
        return Err(Fault::new(0, format!("the rule is longer than {MAX_RULE_OCTETS} octets")));
    }
    // Go refuses both anywhere in a source text, also in strings and comments.
    if let Some(at) = rule.find('\0') {
        return Err(Fault::new(at, "a rule has no NUL characters"));
    }
    if let Some(at) = rule.rfind('\u{feff}').filter(|at| *at > 0) {
        return Err(Fault::new(at, "a byte order mark stands within the rule"));
    }
    let mut lexer = Lexer::new(rule);
    let (at, next) = lexer.next()?;
    let mut parser = Parser { lexer, at, next, depth: 0, calls: Vec::new() };
    parser.expression(false)?;
    if parser.next == Token::Newline {
        parser.advance()?;
    }
    match parser.next {
        Token::End => Ok(parser.calls),
        _ => Err(parser.unexpected("\"&&\", \"||\" or the end of the rule")),
    }
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    /// The token to be looked at, and where it starts.
    next: Token<'a>,
    at: usize,
    depth: usize,
    calls: Vec<Call<'a>>,
}

impl<'a> Parser<'a> {
    /// Operands joined by operators. That `&&` binds tighter than `||` changes no matcher's sign.
    fn expression(&mut self, negated: bool) -> Result<(), Fault> {
        self.operand(negated)?;
        while matches!(self.next, Token::And | Token::Or) {
            self.advance()?;
            self.operand(negated)?;
        }
        Ok(())
    }

    /// `!`s, and then a matcher or an expression in parentheses.
    fn operand(&mut self, mut negated: bool) -> Result<(), Fault> {
        while self.next == Token::Not {
            negated = !negated;
            self.advance()?;
        }
        match self.next {
            Token::Open => {
                if self.depth == MAX_DEPTH {
                    return Err(Fault::new(
                        self.at,
                        format!("more than {MAX_DEPTH} parentheses stand in one another"),
                    ));
                }
                self.depth += 1;
                self.advance()?;
                self.expression(negated)?;
                self.depth -= 1;
                self.take(&Token::Close, "\"&&\", \"||\" or \")\"")
            }
            Token::Word(matcher) => self.call(matcher, negated),
            _ => Err(self.unexpected("a matcher such as Host(`…`)")),
        }
    }

    fn call(&mut self, matcher: &'a str, negated: bool) -> Result<(), Fault> {
        let at = self.at;
        self.advance()?;
        self.take(&Token::Open, "\"(\" after the matcher's name")?;
        let mut arguments = Vec::new();
        while self.next != Token::Close {
            let (at, token) = (self.at, std::mem::replace(&mut self.next, Token::End));
            let Token::Text(text) = token else {
                self.next = token;
                return Err(self.unexpected("a string in backticks or double quotes"));
            };
            arguments.push((at, text));
            self.advance()?;
            let last = self.next == Token::Ellipsis;
            if last {
                self.advance()?;
            }
            if self.next != Token::Comma {
                break;
            }
            self.advance()?;
            if last {
                break;
            }
        }
        self.take(&Token::Close, "\",\" or \")\"")?;
        self.calls.push(Call { matcher, at, arguments, negated });
        Ok(())
    }

    fn advance(&mut self) -> Result<(), Fault> {
        (self.at, self.next) = self.lexer.next()?;
        Ok(())
    }

    fn take(&mut self, token: &Token<'a>, expected: &str) -> Result<(), Fault> {
        if self.next == *token { self.advance() } else { Err(self.unexpected(expected)) }
    }

    fn unexpected(&self, expected: &str) -> Fault {
        Fault::new(self.at, format!("{expected} is expected here, not {}", self.next.name()))
    }
}
