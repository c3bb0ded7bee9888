//! Private keys as numbers, whatever file they came from: PKCS#8 (RFC 5958), PKCS#1 (RFC 8017 appendix A.1.2), SEC1
//! (RFC 5915), Ed25519 with and without its public part (RFC 8410 §7), or BIND's fields.

use p256::elliptic_curve::sec1::ToEncodedPoint;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    RsaKeyPair,
};

use super::algorithm::Algorithm;
use super::der;
use super::generate::RSA_BITS;

/// Content of the object identifier 1.2.840.113549.1.1.1, rsaEncryption.
const OID_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// 1.2.840.10045.2.1, id-ecPublicKey.
const OID_EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// 1.3.101.112, id-Ed25519.
const OID_ED25519: &[u8] = &[0x2b, 0x65, 0x70];
/// 1.2.840.10045.3.1.7, secp256r1.
const OID_P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// 1.3.132.0.34, secp384r1.
const OID_P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];

/// Why octets or fields are not a key that Hale signs with. `Display` ends a sentence that names the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum MaterialError {
    /// Not the DER of a private key.
    Malformed(&'static str),
    /// A kind of key that no offered algorithm uses.
    UnsupportedKind,
    /// An EC key on a curve other than P-256 and P-384.
    UnsupportedCurve,
    /// RSA of this many bits.
    RsaSize(usize),
    /// RSA that ring refuses; carries its word.
    RsaRejected(String),
    /// The public part in the file is another key's.
    PublicMismatch,
    /// A scalar that is zero or beyond the group's order.
    BadScalar,
    /// The algorithm that was asked for is of another kind of key.
    WrongAlgorithm(Algorithm, &'static str),
}

impl std::fmt::Display for MaterialError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Malformed(what) => write!(f, "not a readable {what}"),
            Self::UnsupportedKind => write!(f, "neither an RSA, an EC nor an Ed25519 key"),
            Self::UnsupportedCurve => write!(f, "an EC key on a curve other than P-256 and P-384"),
            Self::RsaSize(bits) => write!(f, "an RSA key of {bits} bits; 2048, 3072 and 4096 are supported"),
            Self::RsaRejected(why) => write!(f, "an RSA key that is not usable ({why})"),
            Self::PublicMismatch => write!(f, "its public part does not belong to its private part"),
            Self::BadScalar => write!(f, "its private number is out of range"),
            Self::WrongAlgorithm(algorithm, kind) => write!(f, "algorithm {algorithm} cannot use {kind} key"),
        }
    }
}

/// A curve of an offered algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
}

/// A private key.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Material {
    /// An RSA key in PKCS#1 form.
    Rsa { pkcs1: Vec<u8> },
    /// A scalar, at its curve's full width, and the point it makes, uncompressed.
    Ec { curve: Curve, scalar: Vec<u8>, point: Vec<u8> },
    /// A seed.
    Ed25519 { seed: [u8; 32] },
}

/// Ready to sign.
pub(super) enum Pair {
    Rsa(Box<RsaKeyPair>),
    Ecdsa(Box<EcdsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

/// The eight numbers of an RSA key, in the order of PKCS#1: n, e, d, p, q, d mod p−1, d mod q−1, 1/q mod p.
pub(super) type RsaNumbers<'a> = [&'a [u8]; 8];

impl Material {
    /// From PKCS#8, version 1 or 2.
    pub(super) fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, MaterialError> {
        let (oid, parameters, private, public) =
            read_pkcs8(pkcs8).ok_or(MaterialError::Malformed("PKCS#8 private key"))?;
        match oid {
            OID_RSA => Self::from_pkcs1(private),
            OID_EC => {
                let curve = der::Reader::new(parameters).read(der::OBJECT_IDENTIFIER);
                Self::from_sec1(private, curve)
            }
            OID_ED25519 => {
                let seed = der::Reader::new(private)
                    .read(der::OCTET_STRING)
                    .ok_or(MaterialError::Malformed("Ed25519 private key"))?;
                Self::from_ed25519(seed, public)
            }
            _ => Err(MaterialError::UnsupportedKind),
        }
    }

    /// From PKCS#1, "RSA PRIVATE KEY".
    pub(super) fn from_pkcs1(pkcs1: &[u8]) -> Result<Self, MaterialError> {
        let numbers = read_pkcs1(pkcs1).ok_or(MaterialError::Malformed("PKCS#1 private key"))?;
        Self::from_rsa_numbers(&numbers)
    }

    /// From the numbers of an RSA key.
    pub(super) fn from_rsa_numbers(numbers: &RsaNumbers<'_>) -> Result<Self, MaterialError> {
        let modulus = der::trim_zeros(numbers[0]);
        let bits = modulus.len() * 8 - modulus.first().map_or(0, |b| b.leading_zeros() as usize);
        // ring signs with primes of a multiple of 512 bits only.
        if !RSA_BITS.contains(&bits) {
            return Err(MaterialError::RsaSize(bits));
        }
        let mut parts = vec![der::unsigned(&[])];
        parts.extend(numbers.iter().map(|n| der::unsigned(n)));
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        Ok(Self::Rsa { pkcs1: der::value(der::SEQUENCE, &parts) })
    }

    /// From SEC1, "EC PRIVATE KEY"; the curve may be named outside.
    pub(super) fn from_sec1(sec1: &[u8], curve: Option<&[u8]>) -> Result<Self, MaterialError> {
        let (scalar, inner_curve, point) =
            read_sec1(sec1).ok_or(MaterialError::Malformed("EC private key"))?;
        let curve = match curve.or(inner_curve) {
            Some(OID_P256) => Curve::P256,
            Some(OID_P384) => Curve::P384,
            _ => return Err(MaterialError::UnsupportedCurve),
        };
        let material = Self::from_scalar(curve, scalar)?;
        match (&material, point) {
            // A compressed point has another form; the private part decides then.
            (Self::Ec { point: made, .. }, Some(given)) if given.first() == Some(&4) && made != given => {
                Err(MaterialError::PublicMismatch)
            }
            _ => Ok(material),
        }
    }

    /// From an EC scalar alone; the public point is computed.
    pub(super) fn from_scalar(curve: Curve, scalar: &[u8]) -> Result<Self, MaterialError> {
        let width = if curve == Curve::P256 { 32 } else { 48 };
        let digits = der::trim_zeros(scalar);
        if digits.len() > width {
            return Err(MaterialError::BadScalar);
        }
        let mut scalar = vec![0; width - digits.len()];
        scalar.extend_from_slice(digits);
        let point = match curve {
            Curve::P256 => p256::SecretKey::from_slice(&scalar)
                .map(|key| key.public_key().to_encoded_point(false).as_bytes().to_vec()),
            Curve::P384 => p384::SecretKey::from_slice(&scalar)
                .map(|key| key.public_key().to_encoded_point(false).as_bytes().to_vec()),
        };
        Ok(Self::Ec { curve, scalar, point: point.map_err(|_| MaterialError::BadScalar)? })
    }

    /// From an Ed25519 seed, and the public part where there is one.
    pub(super) fn from_ed25519(seed: &[u8], public: Option<&[u8]>) -> Result<Self, MaterialError> {
        let seed = seed.try_into().map_err(|_| MaterialError::Malformed("Ed25519 private key"))?;
        let material = Self::Ed25519 { seed };
        if public.is_some_and(|given| material.public_key() != given) {
            return Err(MaterialError::PublicMismatch);
        }
        Ok(material)
    }

    /// The algorithm this key is used with unless told otherwise: 8 for RSA.
    pub(super) fn default_algorithm(&self) -> Algorithm {
        match self {
            Self::Rsa { .. } => Algorithm::RsaSha256,
            Self::Ec { curve: Curve::P256, .. } => Algorithm::EcdsaP256Sha256,
            Self::Ec { curve: Curve::P384, .. } => Algorithm::EcdsaP384Sha384,
            Self::Ed25519 { .. } => Algorithm::Ed25519,
        }
    }

    /// Whether this kind of key is used by `algorithm`.
    pub(super) fn check_algorithm(&self, algorithm: Algorithm) -> Result<(), MaterialError> {
        let default = self.default_algorithm();
        let fits =
            algorithm == default || (default == Algorithm::RsaSha256 && algorithm == Algorithm::RsaSha512);
        let kind = match default {
            Algorithm::RsaSha256 | Algorithm::RsaSha512 => "an RSA",
            Algorithm::EcdsaP256Sha256 => "a P-256",
            Algorithm::EcdsaP384Sha384 => "a P-384",
            Algorithm::Ed25519 => "an Ed25519",
        };
        if fits { Ok(()) } else { Err(MaterialError::WrongAlgorithm(algorithm, kind)) }
    }

    /// The public key as a DNSKEY record carries it (RFC 3110 §2, RFC 6605 §4, RFC 8080 §3).
    pub(super) fn public_key(&self) -> Vec<u8> {
        match self {
            Self::Rsa { pkcs1 } => {
                // Written by `from_rsa_numbers`, so it reads.
                let [modulus, exponent, ..] = read_pkcs1(pkcs1).unwrap_or_default();
                let mut out = Vec::with_capacity(modulus.len() + exponent.len() + 3);
                match u8::try_from(exponent.len()) {
                    Ok(length) => out.push(length),
                    Err(_) => {
                        out.push(0);
                        out.extend_from_slice(&(exponent.len() as u16).to_be_bytes());
                    }
                }
                out.extend_from_slice(exponent);
                out.extend_from_slice(modulus);
                out
            }
            // Without the octet that says "uncompressed".
            Self::Ec { point, .. } => point[1..].to_vec(),
            Self::Ed25519 { seed } => Ed25519KeyPair::from_seed_unchecked(seed)
                .map_or_else(|_| Vec::new(), |pair| pair.public_key().as_ref().to_vec()),
        }
    }

    /// A key pair that signs.
    pub(super) fn pair(&self) -> Result<Pair, MaterialError> {
        match self {
            Self::Rsa { pkcs1 } => RsaKeyPair::from_der(pkcs1)
                .map(|pair| Pair::Rsa(Box::new(pair)))
                .map_err(|e| MaterialError::RsaRejected(e.to_string())),
            Self::Ec { curve, scalar, point } => {
                let algorithm = match curve {
                    Curve::P256 => &ECDSA_P256_SHA256_FIXED_SIGNING,
                    Curve::P384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
                };
                let random = ring::rand::SystemRandom::new();
                EcdsaKeyPair::from_private_key_and_public_key(algorithm, scalar, point, &random)
                    .map(|pair| Pair::Ecdsa(Box::new(pair)))
                    .map_err(|_| MaterialError::BadScalar)
            }
            Self::Ed25519 { seed } => Ed25519KeyPair::from_seed_unchecked(seed)
                .map(|pair| Pair::Ed25519(Box::new(pair)))
                .map_err(|_| MaterialError::BadScalar),
        }
    }

    /// PKCS#8, version 1: the form that every tool reads.
    pub(super) fn to_pkcs8(&self) -> Vec<u8> {
        let (algorithm, private) = match self {
            Self::Rsa { pkcs1 } => {
                let oid = der::value(der::OBJECT_IDENTIFIER, &[OID_RSA]);
                (der::value(der::SEQUENCE, &[&oid, &der::value(der::NULL, &[])]), pkcs1.clone())
            }
            Self::Ec { curve, scalar, point } => {
                let oid = der::value(der::OBJECT_IDENTIFIER, &[OID_EC]);
                let curve = if *curve == Curve::P256 { OID_P256 } else { OID_P384 };
                let curve = der::value(der::OBJECT_IDENTIFIER, &[curve]);
                let public = der::value(der::CONTEXT_1, &[&der::value(der::BIT_STRING, &[&[0], point])]);
                let private = der::value(
                    der::SEQUENCE,
                    &[&der::unsigned(&[1]), &der::value(der::OCTET_STRING, &[scalar]), &public],
                );
                (der::value(der::SEQUENCE, &[&oid, &curve]), private)
            }
            Self::Ed25519 { seed } => {
                let oid = der::value(der::OBJECT_IDENTIFIER, &[OID_ED25519]);
                (der::value(der::SEQUENCE, &[&oid]), der::value(der::OCTET_STRING, &[seed]))
            }
        };
        let private = der::value(der::OCTET_STRING, &[&private]);
        der::value(der::SEQUENCE, &[&der::unsigned(&[]), &algorithm, &private])
    }
}

/// Object identifier, parameters, private key and, where there is one, the public key.
type Pkcs8Parts<'a> = (&'a [u8], &'a [u8], &'a [u8], Option<&'a [u8]>);

fn read_pkcs8(pkcs8: &[u8]) -> Option<Pkcs8Parts<'_>> {
    let mut outer = der::Reader::new(pkcs8);
    let mut body = outer.enter(der::SEQUENCE)?;
    // 0 for RFC 5208, 1 for RFC 5958 with a public key.
    if !matches!(body.unsigned()?, [] | [1]) || !outer.is_empty() {
        return None;
    }
    let mut algorithm = body.enter(der::SEQUENCE)?;
    let oid = algorithm.read(der::OBJECT_IDENTIFIER)?;
    let parameters = algorithm.rest();
    let private = body.read(der::OCTET_STRING)?;
    if body.peek() == Some(der::CONTEXT_0) {
        body.read(der::CONTEXT_0)?; // attributes
    }
    let public = match body.peek() {
        Some(der::CONTEXT_1_PRIMITIVE) => Some(der::whole_octets(body.read(der::CONTEXT_1_PRIMITIVE)?)?),
        Some(der::CONTEXT_1) => Some(body.enter(der::CONTEXT_1)?.bits()?),
        _ => None,
    };
    Some((oid, parameters, private, public))
}

fn read_pkcs1(pkcs1: &[u8]) -> Option<RsaNumbers<'_>> {
    let mut body = der::Reader::new(pkcs1).enter(der::SEQUENCE)?;
    // Version 1 has more than two primes, which nobody uses.
    if !body.unsigned()?.is_empty() {
        return None;
    }
    let mut numbers: RsaNumbers<'_> = Default::default();
    for number in &mut numbers {
        *number = body.unsigned()?;
    }
    body.is_empty().then_some(numbers)
}

/// Scalar, curve and point.
type Sec1Parts<'a> = (&'a [u8], Option<&'a [u8]>, Option<&'a [u8]>);

fn read_sec1(sec1: &[u8]) -> Option<Sec1Parts<'_>> {
    let mut body = der::Reader::new(sec1).enter(der::SEQUENCE)?;
    if body.unsigned()? != [1] {
        return None;
    }
    let scalar = body.read(der::OCTET_STRING)?;
    let curve = match body.peek() {
        // Curves spelled out as numbers instead of named have no identifier here, and are refused as unsupported.
        Some(der::CONTEXT_0) => body.enter(der::CONTEXT_0)?.read(der::OBJECT_IDENTIFIER),
        _ => None,
    };
    let point = match body.peek() {
        Some(der::CONTEXT_1) => Some(body.enter(der::CONTEXT_1)?.bits()?),
        _ => None,
    };
    Some((scalar, curve, point))
}
