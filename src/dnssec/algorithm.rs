//! DNSSEC algorithms: those that RFC 8624 §3.1 still wants for signing.

use std::fmt;

/// A signing algorithm, by its number in the IANA registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Algorithm {
    /// RSA with SHA-256 (RFC 5702).
    RsaSha256 = 8,
    /// RSA with SHA-512 (RFC 5702).
    RsaSha512 = 10,
    /// ECDSA on P-256 with SHA-256 (RFC 6605).
    EcdsaP256Sha256 = 13,
    /// ECDSA on P-384 with SHA-384 (RFC 6605).
    EcdsaP384Sha384 = 14,
    /// Ed25519 (RFC 8080).
    Ed25519 = 15,
}

impl Algorithm {
    /// Every algorithm, by number.
    pub const ALL: [Self; 5] =
        [Self::RsaSha256, Self::RsaSha512, Self::EcdsaP256Sha256, Self::EcdsaP384Sha384, Self::Ed25519];

    /// The number in a DNSKEY record.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The algorithm of that number, if Hale signs with it.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.number() == number)
    }

    /// The registry's mnemonic.
    pub fn mnemonic(self) -> &'static str {
        match self {
            Self::RsaSha256 => "RSASHA256",
            Self::RsaSha512 => "RSASHA512",
            Self::EcdsaP256Sha256 => "ECDSAP256SHA256",
            Self::EcdsaP384Sha384 => "ECDSAP384SHA384",
            Self::Ed25519 => "ED25519",
        }
    }
}

/// `13 (ECDSAP256SHA256)`.
impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.number(), self.mnemonic())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip() {
        for a in Algorithm::ALL {
            assert_eq!(Algorithm::from_number(a.number()), Some(a));
        }
        // 5 and 7 are SHA-1, 12 is GOST, 16 is Ed448: none of them is offered.
        for number in [0, 5, 7, 12, 16, 255] {
            assert_eq!(Algorithm::from_number(number), None);
        }
        assert_eq!(Algorithm::EcdsaP256Sha256.to_string(), "13 (ECDSAP256SHA256)");
    }
}
