//! Response codes.

/// An extended response code (RFC 6895 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rcode(pub(super) u16);

impl Rcode {
    pub(super) const NOERROR: Self = Self(0);
    pub(super) const FORMERR: Self = Self(1);
    pub(super) const SERVFAIL: Self = Self(2);
    pub(super) const NXDOMAIN: Self = Self(3);
    pub(super) const NOTIMP: Self = Self(4);
    pub(super) const REFUSED: Self = Self(5);
    /// The name that a DNAME makes is too long (RFC 6672 §2.2).
    pub(super) const YXDOMAIN: Self = Self(6);
    pub(super) const NOTAUTH: Self = Self(9);
    /// An EDNS version that we do not speak (RFC 6891 §6.1.3).
    pub(super) const BADVERS: Self = Self(16);
}
