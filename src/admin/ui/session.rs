//! Who is logged in: session numbers that a browser keeps in a cookie, and what goes with each.
//!
//! A session lives in memory alone: a restart logs everybody out, and no file holds anything worth stealing. Time is passed in.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use data_encoding::BASE64URL_NOPAD;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};

/// How long a login lasts. A page that refreshes itself would keep an idle limit from ever being reached, so there is none.
pub(super) const LIFETIME: Duration = Duration::from_secs(12 * 3600);
/// Logins at once; the oldest is forgotten for one more.
const MOST: usize = 64;
/// What a session is found by: a digest of its number, so that looking one up tells nothing by the time it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct SessionId([u8; 32]);

/// Those who come by the unix socket need no login; all of them share what goes with a session.
pub(super) const LOCAL: SessionId = SessionId([0; 32]);

#[derive(Debug)]
struct Session {
    /// What each form must bring along, so that no other page can send one.
    csrf: String,
    /// The number of the token that it was begun with: with another one it is over. `None` for those who need no login.
    token: Option<u64>,
    since: Instant,
    /// What to say on the next page.
    note: Option<Note>,
}

/// What came of a change, for the page that follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    /// Whether it was done.
    pub(super) good: bool,
    /// In a sentence.
    pub(super) text: String,
}

/// Every session of one listener.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<HashMap<SessionId, Session>>);

/// The system gave no random numbers.
#[derive(Debug)]
pub(super) struct NoRandomness;

impl Sessions {
    /// Starts a session by a token and returns its number for the cookie.
    pub(super) fn start(&self, token: u64, now: Instant) -> Result<String, NoRandomness> {
        let number = random_text()?;
        self.put(id_of(&number), Some(token), now)?;
        Ok(number)
    }

    /// The session that everybody on the unix socket shares.
    pub(super) fn local(&self, now: Instant) -> Result<SessionId, NoRandomness> {
        if self.csrf(LOCAL, now).is_none() {
            self.put(LOCAL, None, now)?;
        }
        Ok(LOCAL)
    }

    fn put(&self, id: SessionId, token: Option<u64>, since: Instant) -> Result<(), NoRandomness> {
        let csrf = random_text()?;
        let mut all = self.lock();
        let is_of_now = |session: &Session| token.is_none() || session.token.is_none_or(|t| Some(t) >= token);
        all.retain(|_, session| since.duration_since(session.since) < LIFETIME && is_of_now(session));
        if all.len() >= MOST
            && let Some(oldest) = all.iter().min_by_key(|(_, session)| session.since).map(|(id, _)| *id)
        {
            all.remove(&oldest);
        }
        all.insert(id, Session { csrf, token, since, note: None });
        Ok(())
    }

    /// The session with the number that a cookie holds, if it is one and still lasts; `token` is the number of the token that counts.
    pub(super) fn find(&self, number: &str, token: u64, now: Instant) -> Option<SessionId> {
        let id = id_of(number);
        let began_with = self.lock().get(&id)?.token;
        self.csrf(id, now).filter(|_| began_with == Some(token)).map(|_| id)
    }

    /// What forms of this session bring along; `None` when it is over.
    pub(super) fn csrf(&self, id: SessionId, now: Instant) -> Option<String> {
        let all = self.lock();
        let session = all.get(&id)?;
        (now.duration_since(session.since) < LIFETIME).then(|| session.csrf.clone())
    }

    /// Ends a session.
    pub(super) fn end(&self, id: SessionId) {
        self.lock().remove(&id);
    }

    /// Keeps a note for the next page of a session.
    pub(super) fn tell(&self, id: SessionId, note: Note) {
        if let Some(session) = self.lock().get_mut(&id) {
            session.note = Some(note);
        }
    }

    /// The note for this page.
    pub(super) fn told(&self, id: SessionId) -> Option<Note> {
        self.lock().get_mut(&id)?.note.take()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SessionId, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn id_of(number: &str) -> SessionId {
    let mut id = [0; 32];
    id.copy_from_slice(digest(&SHA256, number.as_bytes()).as_ref());
    SessionId(id)
}

/// Whether two texts are equal, in a time that tells nothing of where they differ.
pub(super) fn same(a: &str, b: &str) -> bool {
    id_of(a) == id_of(b)
}

/// 256 random bits as text.
fn random_text() -> Result<String, NoRandomness> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(BASE64URL_NOPAD.encode(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_begin_and_end() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let number = sessions.start(0, start).unwrap();
        assert_eq!(number.len(), 43);
        let id = sessions.find(&number, 0, start).unwrap();
        assert!(sessions.find("", 0, start).is_none() && sessions.find(&number[1..], 0, start).is_none());
        let csrf = sessions.csrf(id, start).unwrap();
        assert_ne!(csrf, number);
        let last = start + LIFETIME - Duration::from_secs(1);
        assert_eq!(sessions.find(&number, 0, last), Some(id));
        assert_eq!(sessions.find(&number, 0, start + LIFETIME), None, "it is over");
        sessions.end(id);
        assert_eq!(sessions.find(&number, 0, start), None);
    }

    #[test]
    fn another_token_ends_them_all() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let numbers: Vec<String> = (0..3).map(|_| sessions.start(1, now).unwrap()).collect();
        let local = sessions.local(now).unwrap();
        assert!(numbers.iter().all(|number| sessions.find(number, 1, now).is_some()));
        assert!(numbers.iter().all(|number| sessions.find(number, 2, now).is_none()));
        let next = sessions.start(2, now).unwrap();
        assert!(sessions.find(&next, 2, now).is_some());
        assert_eq!(sessions.lock().len(), 2, "they are forgotten");
        assert!(sessions.csrf(local, now).is_some(), "nobody logged in there");
    }

    #[test]
    fn the_oldest_makes_room() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let at = |n: usize| start + Duration::from_secs(n as u64);
        let numbers: Vec<String> = (0..=MOST).map(|n| sessions.start(0, at(n)).unwrap()).collect();
        let now = at(MOST);
        assert_eq!(sessions.find(&numbers[0], 0, now), None);
        assert!(numbers[1..].iter().all(|number| sessions.find(number, 0, now).is_some()));
    }

    #[test]
    fn a_note_is_told_once() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let id = sessions.local(now).unwrap();
        assert_eq!(sessions.local(now).unwrap(), id);
        let note = Note { good: true, text: "done".into() };
        sessions.tell(id, note.clone());
        assert_eq!(sessions.told(id), Some(note));
        assert_eq!(sessions.told(id), None);
    }
}
